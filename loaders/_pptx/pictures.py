"""Pictures in a deck: bytes to pixels, cropped and turned as they are shown."""

import io
from typing import TYPE_CHECKING

from sensorium.loaders._pptx.shapes import PictureRef
from sensorium.loaders.mupdf import import_pymupdf
from sensorium.nodes import Box
from sensorium.pictures import on_white, silent

if TYPE_CHECKING:
    from PIL import Image

# Formats that browsers and models read; others are stored as PNG.
_KEPT = {"PNG": ".png", "JPEG": ".jpg", "GIF": ".gif", "WEBP": ".webp"}
_METAFILES = {"EMF", "WMF"}
_OCR_DPI = 200
_SMALL_MEGAPIXELS = 0.5


class PictureError(Exception):
    """A picture cannot be decoded; the message says why. `needs_office`: LibreOffice can draw it."""

    def __init__(self, message: str, needs_office: bool = False) -> None:
        super().__init__(message)
        self.needs_office = needs_office


def decode(ref: PictureRef, megapixels: float) -> "Image.Image":
    """The shown part of a picture, upright.

    Args:
        ref: The picture.
        megapixels: Largest size that is decoded.

    Raises:
        PictureError: linked, of a format that Pillow cannot read, damaged, or too large.
    """
    if ref.part is None:
        if ref.embedded:
            raise PictureError(f"the embedded {ref.embedded} has no preview picture", needs_office=True)
        linked = f" ({ref.link})" if ref.link else ""
        raise PictureError(f"the picture is linked, not embedded{linked}; it is not fetched")
    blob: bytes = ref.part.blob
    name = str(ref.part.partname).lower()
    picture = _vector(blob) if name.endswith(".svg") else _raster(blob, name, megapixels)
    left, top, right, bottom = ref.crop
    if any(ref.crop) and left + right < 1 and top + bottom < 1:
        wide, high = picture.size
        picture = picture.crop((int(left * wide), int(top * high), _end(right, wide), _end(bottom, high)))
    quarter = round(ref.turn / 90) % 4
    return picture.rotate(-90 * quarter, expand=True) if quarter else picture


def _end(share: float, pixels: int) -> int:
    return max(1, round((1 - share) * pixels))


def _raster(blob: bytes, name: str, megapixels: float) -> "Image.Image":
    from PIL import Image, UnidentifiedImageError

    suffix = name.rpartition(".")[2].upper()
    try:
        with silent():  # our own limit follows
            picture = Image.open(io.BytesIO(blob))
            if picture.format in _METAFILES:
                raise PictureError(f"picture in {suffix} format needs LibreOffice", needs_office=True)
            wide, high = picture.size
            if wide * high > megapixels * 1e6:
                raise PictureError(f"the picture has {wide} x {high} pixels, over the limit of {megapixels:g} million")
            picture.load()
    except UnidentifiedImageError as fault:
        raise PictureError(f"picture in {suffix} format needs LibreOffice", needs_office=True) from fault
    except Image.DecompressionBombError as fault:
        raise PictureError(f"the picture is too large: {fault}") from fault
    except (OSError, ValueError, SyntaxError, EOFError) as fault:
        raise PictureError(f"the picture is damaged: {fault}") from fault
    return picture


def _vector(blob: bytes) -> "Image.Image":
    pymupdf = import_pymupdf()

    try:
        with pymupdf.open(stream=blob, filetype="svg") as drawing:
            page = drawing[0]
            zoom = min(4.0, 1600 / max(page.rect.width, page.rect.height, 1))
            return _from_pixmap(page.get_pixmap(matrix=pymupdf.Matrix(zoom, zoom)))
    except (RuntimeError, ValueError, IndexError, pymupdf.mupdf.FzErrorBase) as fault:
        raise PictureError(f"the SVG picture cannot be drawn: {fault}", needs_office=True) from fault


def stored_form(ref: PictureRef, picture: "Image.Image") -> tuple[bytes, str]:
    """Bytes and suffix to keep: the original file where it shows just this and is widely read, else a PNG."""
    if ref.part is not None and not any(ref.crop) and not ref.turn and picture.format in _KEPT:
        return ref.part.blob, _KEPT[picture.format]
    buffer = io.BytesIO()
    kept = picture if picture.mode in ("1", "L", "LA", "P", "RGB", "RGBA") else on_white(picture)
    kept.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue(), ".png"


def for_ocr(picture: "Image.Image", box: Box | None, slide_inches: tuple[float, float]) -> "Image.Image":
    """Scaled down to 200 dpi of its size on the slide (never up); larger costs time and finds no more."""
    wide = (box[2] - box[0]) * slide_inches[0] if box else slide_inches[0]
    high = (box[3] - box[1]) * slide_inches[1] if box else slide_inches[1]
    longest = min(4000, max(1000, round(max(wide, high) * _OCR_DPI)))
    if max(picture.size) <= longest:
        return picture
    small = on_white(picture).copy()
    small.thumbnail((longest, longest))
    return small


def page_region(page: object, box: Box | None, dpi: int) -> "Image.Image":
    """A region of a PyMuPDF page as a picture, at most 25 million pixels.

    Args:
        page: `pymupdf.Page`.
        box: Region in fractions; None is the whole page.
        dpi: Resolution.
    """
    pymupdf = import_pymupdf()

    assert isinstance(page, pymupdf.Page)
    width, height = page.rect.width, page.rect.height
    x0, y0, x1, y1 = box or (0.0, 0.0, 1.0, 1.0)
    clip = pymupdf.Rect(x0 * width, y0 * height, x1 * width, y1 * height)
    zoom = min(dpi / 72, (25e6 / max(1.0, clip.width * clip.height)) ** 0.5)
    return _from_pixmap(page.get_pixmap(matrix=pymupdf.Matrix(zoom, zoom), clip=clip, alpha=False))


def _from_pixmap(pixmap: object) -> "Image.Image":
    pymupdf = import_pymupdf()
    from PIL import Image

    assert isinstance(pixmap, pymupdf.Pixmap)
    plain = pixmap if not pixmap.alpha else pymupdf.Pixmap(pixmap, 0)
    return Image.frombytes("RGB", (plain.width, plain.height), plain.samples)


def encode(picture: "Image.Image") -> tuple[bytes, str]:
    """JPEG at quality 85, or PNG for small crops; with the media type."""
    buffer = io.BytesIO()
    if picture.width * picture.height < _SMALL_MEGAPIXELS * 1e6:
        picture.save(buffer, "PNG", compress_level=3)
        return buffer.getvalue(), "image/png"
    on_white(picture).save(buffer, "JPEG", quality=85)
    return buffer.getvalue(), "image/jpeg"
