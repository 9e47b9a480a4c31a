"""Pictures (PNG, JPEG, WebP, TIFF, GIF, BMP): the picture, what its file says about it, and the text in it."""

import io
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from sensorium.errors import EvidenceError, LoadError
from sensorium.loaders._image.captions import caption
from sensorium.loaders._image.frames import DAMAGED, frame_count, is_turned, opened, upright
from sensorium.loaders.base import Fault, Item, Loader, NodeMaker, OcrEngine, Picture, SourceFile, Tools, Word
from sensorium.loaders.ocr_text import OcrBlock, ocr_blocks, words_of_lines
from sensorium.nodes import FULL, Box, Evidence

if TYPE_CHECKING:
    from PIL.Image import Image

# Formats, modes and sizes that browsers and vision models take as they are.
_SHOWN_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF")
_SHOWN_MODES = ("1", "L", "P", "RGB")
_LONGEST = 2000  # Longest side of a picture for a citation, in pixels.
_LONGEST_ASSET = 4000
_MARGIN = 0.01  # Around the region of a citation, as a share of the picture.
_SMALL = 500_000  # Pixels below which a PNG is small enough.
_SHOW_MEGAPIXELS = 500  # What was indexed under a raised limit can be shown.


class ImageLoader(Loader):
    """Loads pictures; each page of a TIFF is a picture, of an animation the first frame.

    Yields a `figure` node for each picture, with the text in it and the caption of the file (EXIF, IPTC, XMP, PNG
    fields), and `ocr` nodes for passages of that text, each with its box.

    Args:
        ocr: "auto" reads the text in every picture, "off" in none.
        words: Length of an `ocr` passage; a picture with little more text than that gives one.
    """

    name: ClassVar[str] = "image"

    def __init__(self, ocr: Literal["auto", "off"] = "auto", words: Annotated[int, Field(ge=1)] = 150) -> None:
        self._ocr = ocr
        self._words = words

    def load(self, file: SourceFile, tools: Tools) -> Iterator[Item]:
        """See `Loader.load`."""
        make = NodeMaker(file)
        with opened(file.path, tools.limits.pixels) as picture:
            count = _count(picture)
            if count > 1 and picture.format != "TIFF":
                yield Fault(f"an animation: only the first of its {count} frames is read")
                count = 1
            if self._ocr == "off" or tools.ocr is None:
                yield Fault("text in the picture was not read: OCR is switched off")
            if count > tools.limits.pages:
                yield Fault(f"only {tools.limits.pages} of its {count} pages are read, as the limit says")
            yield from self._pages(picture, count, make, tools)

    def _pages(self, picture: "Image", count: int, make: NodeMaker, tools: Tools) -> Iterator[Item]:
        last: LoadError | None = None
        done = 0
        for number in range(1, min(count, tools.limits.pages) + 1):
            try:
                items = self._page(picture, number if count > 1 else None, make, tools)
            except LoadError as fault:
                last = fault
                if count > 1:
                    yield Fault(str(fault), f"page {number}")
                continue
            done += 1
            yield from items
        if last is not None and not done:
            raise last

    def _page(self, picture: "Image", page: int | None, make: NodeMaker, tools: Tools) -> list[Item]:
        shown = upright(picture, page or 1, tools.limits.pixels)
        items: list[Item] = []
        try:
            about = caption(picture)
        except DAMAGED as fault:
            about = ""
            items.append(Fault(f"its caption fields (EXIF, XMP, IPTC) are damaged: {fault}"))
        blocks = self._blocks(shown, tools)
        path, asset = str(make.file.path), ""
        if tools.assets is not None and not _shown_as_is(picture):
            asset = tools.assets.put(*_encoded(shown, _LONGEST_ASSET, photo=picture.format in ("JPEG", "MPO")))
            path = tools.assets.path(asset)
        text = "\n".join(block.text for block in blocks) or about
        # A photograph says nothing that a text search could find, but people name their files.
        make.title = "" if text else _file_words(make.file.source)
        figure = make.picture(
            "figure",
            text,
            image_path=path,
            asset=asset,
            caption=about,
            page=page,
            bbox=FULL,
            width=shown.width,
            height=shown.height,
        )
        return [*items, figure, *(_ocr_node(block, page, about, make) for block in blocks)]

    def _blocks(self, shown: "Image", tools: Tools) -> list[OcrBlock]:
        if self._ocr == "off" or tools.ocr is None:
            return []
        return ocr_blocks(tools.ocr.read(shown), shown.width / shown.height, self._words)

    def picture(self, file: SourceFile, evidence: Evidence) -> Picture:
        """The picture, upright and on white, cropped to the evidence's box."""
        shown = _shown(file, evidence)
        crop = shown.crop(_pixel_box(evidence.bbox or FULL, shown.size))
        data, suffix = _encoded(crop, _LONGEST, photo=crop.width * crop.height > _SMALL)
        return Picture(data, "image/jpeg" if suffix == ".jpg" else "image/png")

    def words(self, file: SourceFile, evidence: Evidence, ocr: OcrEngine | None = None) -> list[Word]:
        """See `Loader.words`; a picture has none but those that are recognised."""
        if ocr is None:
            return []
        shown = _shown(file, evidence)
        left, top, right, bottom = _pixel_box(evidence.bbox or FULL, shown.size)
        region = (left / shown.width, top / shown.height, right / shown.width, bottom / shown.height)
        return words_of_lines(ocr.read(shown.crop((left, top, right, bottom))), region)


def _shown(file: SourceFile, evidence: Evidence) -> "Image":
    try:
        with opened(file.path, _SHOW_MEGAPIXELS) as source:
            return upright(source, evidence.page or 1, _SHOW_MEGAPIXELS)
    except LoadError as fault:
        raise EvidenceError(f"{file.source} {fault}") from fault


def _file_words(source: str) -> str:
    return re.sub(r"[\W_]+", " ", PurePosixPath(source).stem).strip()


def _count(picture: "Image") -> int:
    try:
        return frame_count(picture)
    except DAMAGED as fault:
        raise LoadError(f"is damaged: {fault}") from fault


def _ocr_node(block: OcrBlock, page: int | None, about: str, make: NodeMaker) -> Item:
    return make.text("ocr", block.text, caption=about, page=page, bbox=block.box, ocr_score=block.score)


def _shown_as_is(picture: "Image") -> bool:
    """Whether the file itself shows what the node is about, to a browser or a vision model."""
    plain = picture.format in _SHOWN_FORMATS and picture.mode in _SHOWN_MODES
    return plain and frame_count(picture) == 1 and not picture.has_transparency_data and not is_turned(picture)


def _encoded(picture: "Image", longest: int, photo: bool) -> tuple[bytes, str]:
    """Encoded bytes and suffix: JPEG for photographs, PNG where every pixel counts."""
    picture = picture.copy()
    picture.thumbnail((longest, longest))
    buffer = io.BytesIO()
    if photo:
        picture.save(buffer, "JPEG", quality=85)
        return buffer.getvalue(), ".jpg"
    picture.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue(), ".png"


def _pixel_box(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A region in pixels, with a small margin, at least one pixel wide and high."""
    x0, y0, x1, y1 = box
    left, top = int(max(0.0, x0 - _MARGIN) * size[0]), int(max(0.0, y0 - _MARGIN) * size[1])
    right, bottom = round(min(1.0, x1 + _MARGIN) * size[0]), round(min(1.0, y1 + _MARGIN) * size[1])
    return min(left, size[0] - 1), min(top, size[1] - 1), max(right, left + 1), max(bottom, top + 1)
