"""The layout model that comes with PyMuPDF: asked only for pages on which the rules fail.

It costs about nine times the CPU of the rules and 141 MB, and is not thread safe (it gives other boxes, without an
error), so it is imported on first use and run on one thread.
"""

import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal

from sensorium.loaders._pdf.content import Line
from sensorium.loaders._pdf.figures import Figure
from sensorium.loaders._pdf.geometry import Frame, x_overlap
from sensorium.loaders._pdf.tables import Table
from sensorium.nodes import Box

LayoutMode = Literal["auto", "off", "always"]
_TABLE_CAPTION = re.compile(r"\s*(?i:table|tabelle|tableau)\s*\d{1,3}([.\-–]\d+)*\s*([.:—–|]|$)")

_SWALLOWED = 400  # characters of running text inside a drawing


def is_needed(lines: Sequence[Line], tables: Sequence[Table], figures: Sequence[Figure]) -> bool:
    """Whether the rules seem to have failed: a table's caption without a table, or a drawing full of text."""
    for line in lines:
        boxes = [*(t.box for t in tables), *(f.box for f in figures)]
        if _TABLE_CAPTION.match(line.text) and not any(_near(line.box, box) for box in boxes):
            return True
    return any(sum(len(li.text) for li in f.lines if len(li.text.split()) >= 5) > _SWALLOWED for f in figures)


def _near(caption: Box, box: Box) -> bool:
    gap = max(box[1] - caption[3], caption[1] - box[3])
    return gap < 80 and x_overlap(caption, box) > 0


def layout_boxes(page: Any, frame: Frame) -> list[tuple[Box, str]]:
    """Boxes and classes ("table", "picture", "text", ...) by the layout model, in reading coordinates."""
    import_module("pymupdf.layout")  # registers the model

    page.get_layout()
    return [(frame.read(item[:4]), str(item[4])) for item in page.layout_information or []]
