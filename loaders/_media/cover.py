"""The cover of a recording as a node: the picture, and the text in it."""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sensorium.errors import EvidenceError
from sensorium.loaders.base import Fault, Item, NodeMaker, Picture, Tools
from sensorium.loaders.ocr_text import ocr_blocks
from sensorium.nodes import FULL, Evidence

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

_LONGEST = 1600


def cover(data: bytes, maker: NodeMaker, tools: Tools) -> Iterator[Item]:
    """A `figure` node of a cover, with its text where OCR is on; a fault where it cannot be read.

    Args:
        data: Encoded picture.
        maker: Of the source.
        tools: With the asset store; without one there is nowhere to keep the picture.
    """
    from PIL import Image, UnidentifiedImageError

    if tools.assets is None:
        return
    try:
        encoded, picture = _shown(data, tools.limits.pixels)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as fault:
        yield Fault(f"its cover cannot be read: {fault}")
        return
    words = ""
    if tools.ocr is not None:
        words = "\n".join(b.text for b in ocr_blocks(tools.ocr.read(picture), picture.width / picture.height))
    name = tools.assets.put(encoded, ".jpg")
    yield maker.picture(
        "figure", words, image_path=tools.assets.path(name), asset=name, bbox=FULL, width=picture.width,
        height=picture.height, cover=True,
    )  # fmt: skip


def cover_picture(data: bytes, evidence: Evidence) -> Picture:
    """The cover as a JPEG.

    Raises:
        EvidenceError: it cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        encoded, _ = _shown(data, 500)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as fault:
        raise EvidenceError(f"{evidence.source}: its cover cannot be read: {fault}") from fault
    return Picture(encoded, "image/jpeg")


def _shown(data: bytes, megapixels: float) -> tuple[bytes, "PilImage"]:
    from PIL import Image

    from sensorium.pictures import on_white

    with Image.open(io.BytesIO(data)) as source:
        if source.width * source.height > megapixels * 1e6:
            raise ValueError(f"has {source.width}x{source.height} pixels; the limit is {megapixels:g} million")
        picture = on_white(source).copy()
    picture.thumbnail((_LONGEST, _LONGEST))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=88)
    return out.getvalue(), picture
