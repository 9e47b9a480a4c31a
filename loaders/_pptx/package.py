"""Opens a deck, after a check that it is safe to: python-pptx reads the whole package into memory."""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sensorium.errors import LoadError
from sensorium.loaders._pptx.markup import BROKEN
from sensorium.loaders.base import Limits

MAX_PARTS = 20_000
MAX_PART_MB = 64
MAX_RATIO = 200
# Media are compressed already: a large part that hardly shrank is a video, not a bomb.
MEDIA_RATIO = 2
_SMALL = 1 << 20
_MB = 1 << 20
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


class Deck:
    """An opened deck.

    Args:
        presentation: A `pptx.presentation.Presentation`.

    Attributes:
        width: Slide width in EMU (914,400 an inch).
        height: Slide height in EMU.
    """

    def __init__(self, presentation: Any) -> None:
        self._presentation = presentation
        self.width = int(presentation.slide_width)
        self.height = int(presentation.slide_height)
        # Not `presentation.slides`: that fails as a whole when one slide's part is missing.
        listed = presentation.part._element.sldIdLst
        self._keys = [item.rId for item in listed] if listed is not None else []

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Any]:
        """The slides in order; None for one whose part is missing or broken."""
        for key in self._keys:
            try:
                yield self._presentation.part.related_slide(key)
            except BROKEN:
                yield None

    @property
    def title(self) -> str:
        """The title in the file's properties."""
        return " ".join((self._presentation.core_properties.title or "").split())


def open_deck(path: Path, limits: Limits) -> Deck:
    """Check the package and open it.

    Raises:
        LoadError: not a deck, damaged, encrypted, or over a limit.
    """
    check_package(path, limits)
    from pptx.exc import PythonPptxError
    from pptx.package import Package

    try:
        # `pptx.Presentation` refuses slide shows and templates (.ppsx, .potx), which are built alike.
        deck = Deck(Package.open(str(path)).main_document_part.presentation)
    except (PythonPptxError, zipfile.BadZipFile, *BROKEN) as fault:
        raise LoadError(f"not a readable PowerPoint deck: {type(fault).__name__}: {fault}") from fault
    if deck.width <= 0 or deck.height <= 0:
        raise LoadError("not a readable PowerPoint deck: its slides have no size")
    return deck


def check_package(path: Path, limits: Limits) -> None:
    """Refuse archives that cost too much to unpack, without unpacking them into memory.

    Raises:
        LoadError: the message has the numbers.
    """
    _check_container(path)
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            _check_totals(parts, limits)
            _check_names(parts)
            for part in parts:
                _check_part(part)
            for part in parts:
                _check_content(archive, part)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeError) as fault:
        raise LoadError(f"the deck is damaged: {fault}") from fault
    except OSError as fault:
        raise LoadError(f"cannot be read: {fault.strerror or fault}") from fault


def _check_container(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            magic = stream.read(8)
            if magic == _OLE_MAGIC:
                _refuse_ole(stream.read(64 * _MB))
    except OSError as fault:
        raise LoadError(f"cannot be read: {fault.strerror or fault}") from fault
    if not magic.startswith(b"PK"):
        raise LoadError("not a PowerPoint deck (.pptx): the file is no zip package")


def _refuse_ole(data: bytes) -> None:
    # An encrypted .pptx is an OLE container that holds a stream of this name; an old .ppt holds the other.
    if "EncryptedPackage".encode("utf-16-le") in data:
        raise LoadError("the deck is encrypted and needs a password", "Save a copy without a password.")
    if "PowerPoint Document".encode("utf-16-le") in data:
        raise LoadError("a PowerPoint 97-2003 deck (.ppt) is not supported", "Save it as .pptx.")
    raise LoadError("not a PowerPoint deck (.pptx): an OLE container without slides")


def _check_totals(parts: list[zipfile.ZipInfo], limits: Limits) -> None:
    if len(parts) > MAX_PARTS:
        raise LoadError(f"the deck has {len(parts):,} parts, over the limit of {MAX_PARTS:,}")
    total = sum(part.file_size for part in parts)
    if total > limits.unpacked_mb * _MB:
        raise LoadError(
            f"the deck unpacks to {total / _MB:,.0f} MiB, over the limit of {limits.unpacked_mb:,} MiB",
            "Raise index.limits.unpacked_mb if you trust the file.",
        )


def _check_names(parts: list[zipfile.ZipInfo]) -> None:
    names = [part.filename.lower() for part in parts]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise LoadError(f"the package holds the part {twice!r} more than once")
    for name in names:
        pieces = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in pieces or ":" in pieces[0]:
            raise LoadError(f"the package holds a part whose name leads outside it: {name!r}")
    if "[content_types].xml" not in names or not any(name.startswith("ppt/") for name in names):
        raise LoadError("not a PowerPoint deck (.pptx): the package holds no presentation")


def _check_part(part: zipfile.ZipInfo) -> None:
    if part.flag_bits & 0x1:
        raise LoadError(f"the part {part.filename!r} is encrypted and needs a password")
    ratio = part.file_size / max(1, part.compress_size)
    size = f"the part {part.filename!r} unpacks from {part.compress_size / _MB:.1f} to {part.file_size / _MB:.1f} MiB"
    if part.file_size > _SMALL and ratio > MAX_RATIO:
        raise LoadError(f"{size}: a ratio of {ratio:,.0f}, over the limit of {MAX_RATIO}")
    if part.file_size > MAX_PART_MB * _MB and ratio > MEDIA_RATIO:
        raise LoadError(f"{size}, over the limit of {MAX_PART_MB} MiB a part")


def _check_content(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    # The sizes above are what the archive claims. Reading in pieces stops at the claim and then compares the
    # checksum, so that a part that lies about its size is found here, in bounded memory, not in python-pptx.
    with archive.open(part) as stream:
        while stream.read(_MB):
            pass
