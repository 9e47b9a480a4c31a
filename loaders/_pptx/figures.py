"""Picture nodes of a deck: which pictures count, their text, their stored file."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.loaders._pptx.geometry import area
from sensorium.loaders._pptx.office import Office, OfficeError
from sensorium.loaders._pptx.package import Deck
from sensorium.loaders._pptx.pictures import PictureError, decode, for_ocr, page_region, stored_form
from sensorium.loaders._pptx.shapes import PictureRef, Shape
from sensorium.loaders.base import Fault, Item, NodeMaker, OcrLine, Tools
from sensorium.loaders.mupdf import import_pymupdf

if TYPE_CHECKING:
    from PIL import Image

# Below this mean character score a line is more often noise than text (measured with the bundled models).
_MIN_SCORE = 0.5
# From this many words on, the text in a picture is a node of its own.
_OCR_WORDS = 3
_OFFICE_DPI = 150


@dataclass(frozen=True)
class Place:
    """What the nodes of one slide share."""

    slide: int
    title: str
    extra: dict[str, str | int | float | bool] = field(default_factory=dict)


class Figures:
    """Makes the picture nodes of one deck.

    Args:
        deck: The deck.
        path: Its file.
        sha256: Digest of the file.
        tools: OCR, asset store, limits.
        min_area: Smallest share of the slide that a picture must cover.
        every: Read every picture, also small ones and those that repeat on most slides.
        office: Draws what Pillow cannot; None when it shall not be used.
    """

    def __init__(self, deck: Deck, path: Path, sha256: str, tools: Tools, *, min_area: float, every: bool,
                 office: Office | None) -> None:  # fmt: skip
        self._deck, self._path, self._sha256, self._tools = deck, path, sha256, tools
        self._min_area = 0.0 if every else min_area
        self._office = office
        self._read: dict[tuple[object, ...], list[OcrLine]] = {}
        self._digests: dict[str, str] = {}
        self._shown: set[object] = set()
        self._repeated = set() if every else self._on_most_slides()
        self._inches = (deck.width / 914_400, deck.height / 914_400)

    def items(self, shape: Shape, place: Place, index: int, make: NodeMaker) -> Iterator[Item]:
        """Nodes of one picture (figure, and ocr when it holds text), or the fault that prevented them."""
        if shape.box is None or area(shape.box) < self._min_area or self._seen_before(shape.picture):
            return
        try:
            picture = self._picture(shape, place.slide)
        except PictureError as fault:
            yield Fault(str(fault), f"slide {place.slide}, picture {index}")
            return
        lines = self._ocr(shape, picture)
        yield from self._nodes(shape, place, picture, lines, make)

    def _nodes(self, shape: Shape, place: Place, picture: "Image.Image", lines: list[OcrLine],
               make: NodeMaker) -> Iterator[Item]:  # fmt: skip
        asset = path = ""
        if self._tools.assets is not None:
            asset = self._tools.assets.put(*self._stored(shape, picture))
            path = self._tools.assets.path(asset)
        read = "\n".join(line.text for line in lines)
        text = "\n".join(part for part in (shape.alt, read) if part)
        common: dict[str, Any] = {"section": place.title, "slide": place.slide, "bbox": shape.box, **place.extra}
        yield make.picture("figure", text, image_path=path, asset=asset, **common)
        if len(re.findall(r"\w{2,}", read)) >= _OCR_WORDS:
            score = sum(line.score for line in lines) / len(lines)
            yield make.text("ocr", read, **common, ocr_score=round(score, 3))

    def _stored(self, shape: Shape, picture: "Image.Image") -> tuple[bytes, str]:
        return stored_form(shape.picture or PictureRef(None), picture)

    def _picture(self, shape: Shape, slide: int) -> "Image.Image":
        if shape.picture is None:
            raise PictureError("the picture has no content")
        try:
            return decode(shape.picture, self._tools.limits.pixels)
        except PictureError as fault:
            if not fault.needs_office or self._office is None:
                raise
            return self._drawn(shape, slide, fault)

    def _drawn(self, shape: Shape, slide: int, reason: PictureError) -> "Image.Image":
        pymupdf = import_pymupdf()

        assert self._office is not None
        try:
            pdf = self._office.pdf(self._path, self._sha256, len(self._deck))
        except OfficeError as fault:
            raise PictureError(f"{reason} ({fault})") from fault
        with pymupdf.open(pdf) as document:
            return page_region(document[slide - 1], shape.box, _OFFICE_DPI)

    def _ocr(self, shape: Shape, picture: "Image.Image") -> list[OcrLine]:
        if self._tools.ocr is None:
            return []
        key = self._key(shape.picture)
        if key is None or key not in self._read:
            lines = self._tools.ocr.read(for_ocr(picture, shape.box, self._inches))
            lines = [line for line in lines if line.score >= _MIN_SCORE and line.text.strip()]
            if key is None:
                return lines
            self._read[key] = lines
        return self._read[key]

    def _key(self, ref: PictureRef | None) -> tuple[object, ...] | None:
        return (self._digest(ref.part), ref.crop, ref.turn) if ref is not None and ref.part is not None else None

    def _digest(self, part: Any) -> str:
        name = str(part.partname)
        if name not in self._digests:
            self._digests[name] = hashlib.sha256(part.blob).hexdigest()
        return self._digests[name]

    def _seen_before(self, ref: PictureRef | None) -> bool:
        """Whether this is a logo that an earlier slide showed; the first of them stays."""
        key = self._key(ref)
        if key is None or key[0] not in self._repeated:
            return False
        if key[0] in self._shown:
            return True
        self._shown.add(key[0])
        return False

    def _on_most_slides(self) -> set[object]:
        seen: Counter[object] = Counter()
        for slide in filter(None, self._deck):
            images = {self._digest(relation.target_part) for relation in slide.part.rels.values()
                      if relation.reltype.endswith("/image") and not relation.is_external}  # fmt: skip
            seen.update(images)
        return {digest for digest, count in seen.items() if count >= 3 and count > len(self._deck) / 2}
