"""Slide pictures by LibreOffice: the deck as a PDF, one page a slide, hidden slides with it."""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

from sensorium.loaders.mupdf import import_pymupdf

_FILTER = 'pdf:impress_pdf_Export:{"ExportHiddenSlides":{"type":"boolean","value":"true"}}'
_MAC = "/Applications/LibreOffice.app/Contents/MacOS/soffice"
_KEPT = 32
# Two conversions with one profile disturb each other: the second ends without a file.
_LOCK = threading.Lock()
# LibreOffice fetches linked pictures while it opens a deck. Nothing is fetched, and no macro runs.
_PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="BlockUntrustedRefererLinks"
 oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="MacroSecurityLevel"
 oor:op="fuse"><value>3</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="DisableMacrosExecution"
 oor:op="fuse"><value>true</value></prop></item>
</oor:items>
"""


class OfficeError(Exception):
    """LibreOffice is missing or did not produce the pages; the message says which."""


def program() -> str | None:
    """Path of LibreOffice's command, or None."""
    for name in ("soffice", "libreoffice"):
        if found := shutil.which(name):
            return found
    return _MAC if os.path.exists(_MAC) else None


class Office:
    """Converts decks to PDF and keeps the results.

    Args:
        cache_dir: Folder for the PDFs, one a deck, named by its digest; None is a temporary one of this process.
        timeout: Seconds for one conversion.
    """

    def __init__(self, cache_dir: str | None = None, timeout: float = 120) -> None:
        self._cache_dir = cache_dir
        self._timeout = timeout
        self._failed: dict[str, str] = {}

    def cached(self, sha256: str) -> Path | None:
        """The PDF of a deck, when it was converted before."""
        path = self._folder() / f"{sha256}.pdf"
        return path if path.exists() else None

    def pdf(self, deck: Path, sha256: str, slides: int) -> Path:
        """The PDF of a deck, converted on first use.

        Args:
            deck: The file; it must have passed `check_package`.
            sha256: Digest of its bytes: the key of the cache.
            slides: Slides it has; the PDF must have as many pages.

        Raises:
            OfficeError: LibreOffice is not installed, failed, or was too slow. A deck is tried once a process.
        """
        with _LOCK:
            if found := self.cached(sha256):
                return found
            if sha256 in self._failed:
                raise OfficeError(self._failed[sha256])
            try:
                return self._convert(deck, sha256, slides)
            except OfficeError as fault:
                self._failed[sha256] = str(fault)
                raise

    def _folder(self) -> Path:
        if self._cache_dir is None:
            return _process_folder(os.getpid())
        folder = Path(self._cache_dir)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _convert(self, deck: Path, sha256: str, slides: int) -> Path:
        command = program()
        if command is None:
            raise OfficeError("LibreOffice is not installed")
        with tempfile.TemporaryDirectory(prefix="sensorium-office-") as work:
            copy = Path(work, "deck.pptx")  # a name that is no option and has no odd characters
            shutil.copyfile(deck, copy)
            _write_profile(Path(work, "profile"))
            _run([command, f"-env:UserInstallation={Path(work, 'profile').as_uri()}", "--headless", "--norestore",
                  "--convert-to", _FILTER, "--outdir", work, str(copy)], self._timeout)  # fmt: skip
            made = Path(work, "deck.pdf")
            _check_pages(made, slides)
            return self._keep(made, sha256)

    def _keep(self, made: Path, sha256: str) -> Path:
        folder = self._folder()
        target = folder / f"{sha256}.pdf"
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as stream:
            stream.write(made.read_bytes())
        os.replace(stream.name, target)
        if self._cache_dir is None:
            old = sorted(folder.glob("*.pdf"), key=lambda path: path.stat().st_mtime)
            for path in old[:-_KEPT]:
                path.unlink(missing_ok=True)
        return target


@functools.cache
def _temporary(pid: int) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="sensorium-slides-")


def _process_folder(pid: int) -> Path:
    # Keyed by the process: a forked worker must not share, and at its end delete, its parent's folder.
    return Path(_temporary(pid).name)


def _write_profile(folder: Path) -> None:
    user = folder / "user"
    user.mkdir(parents=True)
    (user / "registrymodifications.xcu").write_text(_PROFILE, encoding="utf-8")


def _run(command: list[str], timeout: float) -> None:
    # `soffice` is a script that starts the program: a new session lets the timeout end both.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip
    try:
        _, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as fault:
        _end(process)
        raise OfficeError(f"LibreOffice did not finish in {timeout:g} s") from fault
    if process.returncode != 0:
        detail = errors.decode(errors="replace").strip().splitlines()[-1:] or [""]
        raise OfficeError(f"LibreOffice failed with status {process.returncode}. {detail[0]}".strip())


def _end(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()


def _check_pages(made: Path, slides: int) -> None:
    pymupdf = import_pymupdf()

    if not made.exists():
        raise OfficeError("LibreOffice wrote no PDF")
    try:
        with pymupdf.open(made) as document:
            pages = len(document)
    except (RuntimeError, ValueError) as fault:
        raise OfficeError(f"LibreOffice wrote a PDF that cannot be read: {fault}") from fault
    if pages != slides:
        raise OfficeError(f"LibreOffice drew {pages} pages for {slides} slides")
