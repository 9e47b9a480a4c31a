"""Opening picture files: limits before pixels, pages, orientation."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sensorium.errors import LoadError
from sensorium.pictures import on_white, silent

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")
# Pillow raises many kinds of errors for damaged files.
DAMAGED = (
    OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError, TypeError, OverflowError, struct.error,
)  # fmt: skip
_ORIENTATION = 0x0112


@contextmanager
def opened(path: Path, megapixels: float) -> Iterator["Image"]:
    """An opened picture whose header promises no more than `megapixels`.

    Raises:
        LoadError: not a picture, damaged, or too large.
    """
    import PIL.Image

    try:
        # Pillow's own limit says how many pixels, not how large; ours is checked right after the header.
        with silent():
            PIL.Image.init()
            limit, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
            try:
                picture = PIL.Image.open(path, formats=FORMATS)
            finally:
                PIL.Image.MAX_IMAGE_PIXELS = limit
    except DAMAGED as fault:
        raise LoadError(f"is no readable picture: {fault}") from fault
    with picture:
        check_size(picture, megapixels)
        yield picture


def check_size(picture: "Image", megapixels: float) -> None:
    """Refuse a picture by the size its header claims.

    Raises:
        LoadError: it has more pixels than the limit.
    """
    width, height = picture.size
    if width * height > megapixels * 1e6:
        raise LoadError(
            f"is {width} x {height} pixels ({width * height / 1e6:,.0f} million), over the limit of "
            f"{megapixels:g} million.",
            "Raise index.limits.pixels to read it.",
        )


def frame_count(picture: "Image") -> int:
    """Frames of an animation, pages of a TIFF; 1 for others."""
    with silent():
        return int(getattr(picture, "n_frames", 1)) if picture.format in ("TIFF", "GIF", "WEBP", "PNG") else 1


def is_turned(picture: "Image") -> bool:
    """Whether the file says that it is to be shown turned or mirrored."""
    with silent():
        return picture.getexif().get(_ORIENTATION, 1) not in (0, 1)


def upright(picture: "Image", number: int, megapixels: float) -> "Image":
    """Page `number` (from 1), loaded, as it is to be shown, 8-bit RGB on white.

    Raises:
        LoadError: damaged, or too large.
    """
    from PIL import ImageOps

    try:
        with silent():
            picture.seek(number - 1)
            check_size(picture, megapixels)
            picture.load()
            return on_white(ImageOps.exif_transpose(picture))
    except LoadError:
        raise
    except DAMAGED as fault:
        raise LoadError(f"is damaged: {fault}") from fault
