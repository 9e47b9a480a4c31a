"""Pictures and clips that were drawn once, kept in the data folder: the next process does not draw them again.

A page takes some 50 ms, and the first slide of a deck seconds, in which LibreOffice converts it.
"""

import hashlib
import json
import os
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from sensorium.loaders.base import Picture
from sensorium.nodes import Evidence

MOST_BYTES = 256_000_000
LARGEST = 16_000_000
_FREED = 0.8
"""Share of the bound that is left when it was reached, so that not every new picture has to make room."""


class Drawn:
    """Drawn pictures by what they show; those that were not used longest go first. Any number of processes may use it.

    Args:
        folder: Made when the first one is kept.
        settings: What else decides how they look: a digest of the loaders' options.
        most_bytes: Bound of the folder.
    """

    def __init__(self, folder: Path, settings: str = "", most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._settings, self._most = folder, settings, most_bytes
        self._lock = threading.Lock()
        self._bytes: int | None = None

    def get(self, evidence: Evidence, form: Literal["picture", "clip"], draw: Callable[[], Picture]) -> Picture:
        """A kept picture, or else the one that `draw` makes, which is then kept.

        One with a note is not: it says that it could be better (a schematic slide, without LibreOffice).

        Args:
            evidence: What it shows; of a source that was seen to be unchanged.
            form: Of which form.
            draw: Draws it; what it raises is passed on.
        """
        path = self._path(evidence, form)
        if (found := _read(path)) is not None:
            return found
        made = draw()
        if not made.note and len(made.data) <= LARGEST:
            # A full disk is no reason to go without the picture.
            with suppress(OSError):
                self._keep(path, made)
        return made

    def clear(self) -> None:
        """Delete all of them."""
        for path, _, _ in self._entries():
            path.unlink(missing_ok=True)
        self._bytes = None

    def _path(self, evidence: Evidence, form: str) -> Path:
        place = evidence.model_dump(include={"sha256", "media_type", "page", "slide", "bbox", "start_s", "end_s"})
        key = json.dumps([form, self._settings, place], sort_keys=True, default=list)
        return self._folder / hashlib.sha256(key.encode()).hexdigest()

    def _keep(self, path: Path, picture: Picture) -> None:
        data = picture.media_type.encode() + b"\n" + picture.data
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{uuid.uuid4().hex}")
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        with self._lock:
            if self._bytes is None:
                self._bytes = sum(size for _, size, _ in self._entries())
            else:
                self._bytes += len(data)
            if self._bytes > self._most:
                self._bytes = self._make_room()

    def _make_room(self) -> int:
        entries = sorted(self._entries(), key=lambda entry: entry[2])
        left = sum(size for _, size, _ in entries)
        for path, size, _ in entries:
            if left <= self._most * _FREED:
                break
            path.unlink(missing_ok=True)
            left -= size
        return left

    def _entries(self) -> list[tuple[Path, int, float]]:
        """Path, size and time of last use."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another process makes room, too
                    stat = entry.stat()
                    found.append((Path(entry.path), stat.st_size, stat.st_mtime))
        return found


def _read(path: Path) -> Picture | None:
    with suppress(OSError):
        media_type, end, data = path.read_bytes().partition(b"\n")
        if end and data:
            os.utime(path)  # it was used
            return Picture(data, media_type.decode("ascii", "replace"))
    return None
