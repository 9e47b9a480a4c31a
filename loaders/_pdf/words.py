"""The words of a page or region with their boxes, for finding a quote: from the text layer, or recognised."""

from typing import Any

from sensorium.loaders._pdf.geometry import covers, transform
from sensorium.loaders._pdf.ocr import LEAST_SCORE
from sensorium.loaders._pdf.render import render
from sensorium.loaders.base import Word
from sensorium.loaders.ocr_text import words_of_lines
from sensorium.nodes import FULL, Box
from sensorium.ocr_types import OcrEngine

_ROOM = 0.004  # of the page: boxes of regions are rounded


def written(page: Any, region: Box | None) -> list[Word]:
    """Words of the text layer whose middle lies in a region, in the order of the page's text.

    Args:
        page: PyMuPDF page.
        region: In fractions of the displayed page; None: all of it.
    """
    x0, y0, x1, y1 = region or FULL
    wide = (x0 - _ROOM, y0 - _ROOM, x1 + _ROOM, y1 + _ROOM)
    width, height = page.rect.width, page.rect.height
    matrix = tuple(page.rotation_matrix)
    found = []
    for raw in page.get_text("words"):
        left, top, right, bottom = transform(raw[:4], matrix)
        box = (left / width, top / height, right / width, bottom / height)
        if covers(wide, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2):
            found.append(Word(raw[4], box))
    return found


def recognised(page: Any, region: Box | None, engine: OcrEngine) -> list[Word]:
    """Words recognised in the picture of a region."""
    x0, y0, x1, y1 = region or FULL
    width, height = page.rect.width, page.rect.height
    picture = render(page, (x0 * width, y0 * height, x1 * width, y1 * height), pixels=25)
    lines = [line for line in engine.read(picture) if line.score >= LEAST_SCORE]
    return words_of_lines(lines, (x0, y0, x1, y1))
