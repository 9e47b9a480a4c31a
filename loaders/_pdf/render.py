"""Pictures of pages and page regions: rendered within a pixel limit, encoded as PNG or JPEG."""

import io
import math
from collections.abc import Sequence
from typing import Any

from sensorium.nodes import Box

DPI = 150
_MOST_PIXELS = 25e6
_SMALL = 0.5e6  # pixels below which a picture is stored as PNG
_FEW_COLOURS = 256


def render(page: Any, box: Box | None, pixels: float, dpi: int = DPI) -> Any:
    """A region of a page as a `PIL.Image`.

    Args:
        page: PyMuPDF page.
        box: Region in points of the displayed page; the whole page when None.
        pixels: Most pixels, in millions; the resolution is lowered to keep within them.
        dpi: Resolution.

    Raises:
        ValueError: the region is empty.
    """
    import pymupdf
    from PIL import Image

    clip = pymupdf.Rect(box) & page.rect if box else page.rect
    if clip.is_empty or clip.width < 0.5 or clip.height < 0.5:
        raise ValueError("the region is empty")
    most = min(pixels * 1e6, _MOST_PIXELS)
    scale = min(dpi / 72, math.sqrt(most / (clip.width * clip.height)))
    pixmap = page.get_pixmap(matrix=pymupdf.Matrix(scale, scale), clip=clip, alpha=False, colorspace=pymupdf.csRGB)
    return Image.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples)


def upright(picture: Any, turn: int) -> Any:
    """A picture turned so that text that runs along `turn` (see `Frame`) runs to the right."""
    return picture.rotate(90 * turn, expand=True) if turn else picture


def encode(picture: Any) -> tuple[bytes, str, str]:
    """Encoded bytes, media type and file suffix: PNG when small or of few colours, else JPEG at quality 85."""
    out = io.BytesIO()
    small = picture.width * picture.height < _SMALL
    if small or picture.getcolors(_FEW_COLOURS) is not None:
        picture.save(out, "PNG", compress_level=3)
        return out.getvalue(), "image/png", ".png"
    picture.save(out, "JPEG", quality=85)
    return out.getvalue(), "image/jpeg", ".jpg"


def with_margin(box: Sequence[float], width: float, height: float, points: float) -> Box:
    """A box in fractions of a page as points, with a margin, inside the page."""
    return (
        max(0.0, box[0] * width - points), max(0.0, box[1] * height - points),
        min(width, box[2] * width + points), min(height, box[3] * height + points),
    )  # fmt: skip
