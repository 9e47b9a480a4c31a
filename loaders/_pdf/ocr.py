"""Which parts of a page have to be recognised, and the recognised lines in the page's coordinates."""

import re
from collections.abc import Sequence
from typing import Any, Literal

from sensorium.loaders._pdf.content import Line, PageContent, PlacedImage
from sensorium.loaders._pdf.geometry import Frame, area, overlap
from sensorium.loaders._pdf.render import render, upright
from sensorium.nodes import Box
from sensorium.ocr_types import OcrEngine, OcrLine

OcrMode = Literal["auto", "off", "always"]
LEAST_SCORE = 0.5
_LEAST_AREA = 0.03  # of the page; measured: the smallest useful picture 6.6 %, a logo 1.9 %
_LEAST_DPI = 70
_MOST_COVER = 0.02  # measured: pictures of text 0.00, labelled drawings .04-.06
_GARBAGE = 0.1
_MEANINGLESS = re.compile("[\ufffd\ue000-\uf8ff\U000f0000-\U0010ffff]")


def is_scan(content: PageContent) -> bool:
    """No text worth the name, and a picture over half the page."""
    page = content.frame.width * content.frame.height
    letters = sum(len(line.text) for line in content.lines)
    return letters < 20 and any(area(i.box) >= 0.5 * page for i in content.images)


def is_garbage(content: PageContent) -> bool:
    """More than a tenth of the characters have no meaning (fonts without a character map)."""
    text = "".join(line.text for line in content.lines)
    return len(text) >= 20 and len(_MEANINGLESS.findall(text)) > _GARBAGE * len(text)


def needs_ocr(image: PlacedImage, content: PageContent) -> bool:
    """Whether a picture may hold text that the page's text layer does not."""
    w, h = image.box[2] - image.box[0], image.box[3] - image.box[1]
    page = content.frame.width * content.frame.height
    if w < 40 or h < 30 or w * h < _LEAST_AREA * page:
        return False
    if min(image.width / w, image.height / h) * 72 < _LEAST_DPI:
        return False
    return text_cover(content.lines, image.box) < _MOST_COVER


def text_cover(lines: Sequence[Line], box: Box) -> float:
    """Share of a box that text covers."""
    return sum(overlap(line.box, box) for line in lines) / (area(box) or 1e-9)


def recognise(page: Any, frame: Frame, box: Box, engine: OcrEngine, pixels: float) -> list[OcrLine]:
    """Recognised lines of a region, boxes in fractions of it; weak lines are left out."""
    picture = upright(render(page, frame.displayed(box), pixels), frame.turn)
    return [line for line in engine.read(picture) if line.score >= LEAST_SCORE and line.text.strip()]


def placed(part: Box, region: Box) -> Box:
    """A box in fractions of a region as reading coordinates."""
    w, h = region[2] - region[0], region[3] - region[1]
    return region[0] + part[0] * w, region[1] + part[1] * h, region[0] + part[2] * w, region[1] + part[3] * h


def as_labels(lines: Sequence[OcrLine], region: Box) -> list[Line]:
    """Recognised lines as labels of a figure."""
    return [Line(box := placed(li.box, region), li.text, round(1.6 * (box[3] - box[1])) / 2) for li in lines]


def is_prose(lines: Sequence[OcrLine]) -> bool:
    """Whether a picture is one of text (a boxed procedure), rather than a figure with labels or a screenshot."""
    score = sum(line.score for line in lines) / max(len(lines), 1)
    words = sum(len(line.text.split()) for line in lines)
    return score >= 0.85 and words >= 15 and words >= 3.2 * len(lines)
