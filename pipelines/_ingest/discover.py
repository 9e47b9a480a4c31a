"""Finds the files to index, and names what is no file or cannot be read.

Nothing is opened here: a named pipe would block for ever.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sensorium.errors import LoadError
from sensorium.nodes import source_id

_LITTER = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX"})
_SPECIAL = {
    stat.S_IFIFO: "is a named pipe, not a file",
    stat.S_IFSOCK: "is a socket, not a file",
    stat.S_IFCHR: "is a device, not a file",
    stat.S_IFBLK: "is a device, not a file",
}


@dataclass(frozen=True, slots=True)
class Found:
    """Something under an indexed folder.

    Attributes:
        path: Where it is.
        root: Absolute path of the indexed folder, readable.
        source: Path inside it, readable, with forward slashes.
        size: Bytes.
        mtime_ns: Modification time.
        reason: Why it is not indexed; empty for a file that may be.
        skipped: With a reason: left out on purpose, rather than failed.
    """

    path: Path
    root: str
    source: str
    size: int = 0
    mtime_ns: int = 0
    reason: str = ""
    skipped: bool = False

    @property
    def doc_id(self) -> str:
        """Identity of the source."""
        return source_id(self.root, self.source)


@dataclass
class Discovery:
    """What was found.

    Attributes:
        found: Everything, by identity, in order of root and source.
        folders: The indexed folders that were walked, readable.
        unlisted: (root, source) of folders whose contents could not be listed; what lies there is unknown.
        hidden: Hidden files and folders that were left out.
        notes: What else a person should know.
    """

    found: dict[str, Found] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    unlisted: list[tuple[str, str]] = field(default_factory=list)
    hidden: int = 0
    notes: list[str] = field(default_factory=list)

    def vanished(self, root: str, source: str) -> bool:
        """Whether a source known from before is surely gone from a folder that was walked."""
        if root not in self.folders or source_id(root, source) in self.found:
            return False
        return not any(at == root and source.startswith(below) for at, below in self.unlisted)


def discover(paths: Sequence[str | Path], data_folder: str | Path | None = None) -> Discovery:
    """Find the files under some files and folders.

    A folder is walked with everything below it; its files are named by their path inside it. A file is named
    inside its own folder. Hidden files (".git", "~$report.docx", ...) inside folders are left out and counted.

    Args:
        paths: Files and folders.
        data_folder: Sensorium's own, which is left out.

    Raises:
        LoadError: a path does not exist.
    """
    missing = [str(path) for path in paths if not os.path.lexists(path)]
    if missing:
        raise LoadError(f"No such file or folder: {', '.join(map(readable, missing))}.", "Nothing was indexed.")
    walk = _Walk(os.path.realpath(data_folder) if data_folder is not None else "")
    for path in paths:
        walk.enter(Path(os.path.abspath(path)))
    walk.result.found = dict(sorted(walk.result.found.items(), key=lambda item: (item[1].root, item[1].source)))
    return walk.result


def readable(name: str) -> str:
    r"""A file name as valid text: bytes that are no UTF-8 are shown as `\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def locate(root: str, source: str) -> Path:
    r"""The file behind a source; also one whose name had to be made readable.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(root)
    for part in source.split("/"):
        if not (path / part).exists() and "\\x" in part:
            path = next((p for p in path.iterdir() if readable(p.name) == part), path / part)
        else:
            path = path / part
    if not os.path.lexists(path):
        raise FileNotFoundError(f"{root}: {source} does not exist")
    return path


class _Walk:
    def __init__(self, data_folder: str) -> None:
        self.result = Discovery()
        self._data_folder = data_folder
        self._reached: set[tuple[str, str]] = set()
        self._walked: set[str] = set()

    def enter(self, path: Path) -> None:
        """A path that the user named."""
        if os.path.isdir(path):
            self.result.folders.add(readable(str(path)))
            self._folder(path, path)
        else:
            self._file(path, path.parent)

    def _folder(self, folder: Path, root: Path) -> None:
        real = os.path.realpath(folder)
        if real == self._data_folder or real in self._walked:
            return
        self._walked.add(real)
        try:
            with os.scandir(folder) as entries:
                ordered = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        except OSError as fault:
            below = "" if folder == root else _inside(folder, root) + "/"
            self.result.unlisted.append((readable(str(root)), below))
            self._add(folder, root, f"folder cannot be read: {fault.strerror}")
            return
        for folder_or_file in self._visible(ordered):
            self._entry(folder_or_file, root, real)

    def _visible(self, entries: Sequence[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
        for entry in entries:
            if entry.name.startswith((".", "~$")) or entry.name in _LITTER:
                self.result.hidden += os.path.realpath(entry.path) != self._data_folder
            else:
                yield entry

    def _entry(self, entry: os.DirEntry[str], root: Path, real_folder: str) -> None:
        path = Path(entry.path)
        if not os.path.isdir(path):
            self._file(path, root)
        elif entry.is_symlink() and self._known(path, root, real_folder):
            self.result.notes.append(f"{_inside(path, root)}: link to a folder that is indexed under its own name")
        else:
            self._folder(path, root)

    def _known(self, link: Path, root: Path, real_folder: str) -> bool:
        """Whether a linked folder lies in the indexed one, or holds it, so that it is walked anyway."""
        target, home = os.path.realpath(link), os.path.realpath(root)
        return target in self._walked or os.path.commonpath([target, home]) in (target, home)

    def _file(self, path: Path, root: Path) -> None:
        # The folder by its real path, the file by its name: links to a file are sources of their own.
        key = (os.path.realpath(path.parent), path.name)
        if key in self._reached:
            return
        self._reached.add(key)
        try:
            facts = path.stat()
        except FileNotFoundError:
            self._add(path, root, "is a broken link")
        except OSError as fault:
            self._add(path, root, f"cannot be read: {fault.strerror}")
        else:
            kind = stat.S_IFMT(facts.st_mode)
            reason = "" if kind == stat.S_IFREG else _SPECIAL.get(kind, "is no regular file")
            self._add(path, root, reason, facts, skipped=True)

    def _add(
        self, path: Path, root: Path, reason: str, facts: os.stat_result | None = None, skipped: bool = False
    ) -> None:
        found = Found(
            path, readable(str(root)), _inside(path, root), facts.st_size if facts else 0,
            facts.st_mtime_ns if facts else 0, reason, skipped and bool(reason),
        )  # fmt: skip
        twin = self.result.found.get(found.doc_id)
        if twin is not None and twin.path != path:
            self.result.notes.append(f"{found.source}: two files have this readable name; one was indexed")
            return
        self.result.found[found.doc_id] = found


def _inside(path: Path, root: Path) -> str:
    return readable(path.relative_to(root).as_posix())
