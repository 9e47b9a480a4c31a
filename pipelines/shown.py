"""What citations show: the picture of their evidence, and where in it the quoted words stand."""

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sensorium.errors import EvidenceError
from sensorium.loaders.base import Loader, OcrEngine, Picture, Word
from sensorium.nodes import FULL, Box, Evidence
from sensorium.pipelines.evidence import PictureDrawer
from sensorium.pipelines.locate import lines_of
from sensorium.pipelines.results import Form

if TYPE_CHECKING:
    from PIL.Image import Image

_MARGIN = 0.015  # around a highlighted region, as a share of the page
_MARKER = (255, 236, 130)  # multiplied onto the picture: white becomes yellow, ink stays dark
_WITHOUT_PICTURES = ("audio/", "text/")
_KEPT = 64  # regions whose words are remembered


class Shown:
    """Draws evidence as `PictureDrawer` does, and finds quotes in it. Safe to use from several threads.

    Args:
        drawer: Draws evidence.
        loader: Gives the loader of a media type.
        ocr: Gives what recognises text, for quotes that stand in a picture.
    """

    def __init__(self, drawer: PictureDrawer, loader: Callable[[str], Loader], ocr: Callable[[], OcrEngine]) -> None:
        self._drawer, self._loader, self._ocr = drawer, loader, ocr
        self._words: OrderedDict[tuple[Any, ...], list[Word]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, evidence: Evidence, metadata: Mapping[str, Any], form: Form = "picture", /) -> Picture:
        """As `PictureDrawer.draw`."""
        return self._drawer.draw(evidence, metadata, form)

    def lines(self, evidence: Evidence, metadata: Mapping[str, Any], quote: str) -> tuple[Box, ...]:
        """Where in its region a quote stands: boxes of its lines, in fractions of the page; none when it is not found.

        The text layer is looked at first (some milliseconds), then the region's picture is read (a second or so).

        Raises:
            EvidenceError: the source vanished or changed, or cannot be read.
        """
        if not quote:
            return ()
        ways = (False,) if evidence.media_type.startswith(_WITHOUT_PICTURES) else (False, True)
        return next(filter(None, (lines_of(quote, self._read(evidence, metadata, ocr)) for ocr in ways)), ())

    def _read(self, evidence: Evidence, metadata: Mapping[str, Any], ocr: bool) -> list[Word]:
        key = (evidence.sha256, evidence.page, evidence.slide, evidence.bbox, evidence.start_s, evidence.end_s, ocr)
        with self._lock:
            known = self._words.get(key)
        if known is None:
            file = self._drawer.file(evidence, metadata)
            known = self._loader(evidence.media_type).words(file, evidence, self._ocr() if ocr else None)
        with self._lock:
            self._words[key] = known
            self._words.move_to_end(key)
            while len(self._words) > _KEPT:
                self._words.popitem(last=False)
        return known

    def highlighted(self, evidence: Evidence, metadata: Mapping[str, Any], quote: str) -> Picture:
        """The picture of evidence with the lines of a quote marked; unmarked, with a note, where they are not found.

        Raises:
            EvidenceError: as `PictureDrawer.draw`.
        """
        from PIL import Image

        lines = self.lines(evidence, metadata, quote)
        if not lines:
            plain = self(evidence, metadata)
            return replace(plain, note=", ".join(filter(None, [plain.note, "the quote was not found in it"])))
        whole = self(evidence.model_copy(update={"bbox": None}), metadata)
        if not whole.media_type.startswith("image/"):
            raise EvidenceError(f"{evidence.source}: it has no picture ({whole.media_type})")
        with Image.open(io.BytesIO(whole.data)) as picture:
            data = _marked(picture.convert("RGB"), lines, evidence.bbox or FULL)
        return Picture(data, "image/png", whole.note)


def _marked(page: "Image", lines: tuple[Box, ...], region: Box) -> bytes:
    """PNG of a region of a page, with lines marked."""
    from PIL import Image, ImageChops

    marker = Image.new("RGB", page.size, "white")
    for line in lines:
        marker.paste(_MARKER, _pixels(line, page.size, 0.002))
    page = ImageChops.multiply(page, marker)
    out = io.BytesIO()
    page.crop(_pixels(region, page.size, _MARGIN)).save(out, "PNG", compress_level=3)
    return out.getvalue()


def _pixels(box: Box, size: tuple[int, int], margin: float) -> tuple[int, int, int, int]:
    """A box in pixels with a margin, inside the picture and not empty."""
    width, height = size
    left, top = int(max(0.0, box[0] - margin) * width), int(max(0.0, box[1] - margin) * height)
    right, bottom = round(min(1.0, box[2] + margin) * width), round(min(1.0, box[3] + margin) * height)
    return min(left, width - 1), min(top, height - 1), max(right, left + 1), max(bottom, top + 1)
