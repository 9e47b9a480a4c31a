"""Everything that the rules find on one page, in reading order."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sensorium.loaders._pdf import captions, layout, ocr
from sensorium.loaders._pdf.blocks import CAPTION, Block, is_bare_caption, make_blocks
from sensorium.loaders._pdf.content import Line, PageContent, PlacedImage
from sensorium.loaders._pdf.drawings import Drawings, read_drawings
from sensorium.loaders._pdf.figures import Figure, find_figures
from sensorium.loaders._pdf.geometry import area, inside, x_overlap
from sensorium.loaders._pdf.order import reading_order
from sensorium.loaders._pdf.regions import Region
from sensorium.loaders._pdf.statistics import Statistics
from sensorium.loaders._pdf.tables import Table, find_tables, read_table
from sensorium.nodes import Box

Part = Block | Table | Figure
_MOST_TEXT = 0.55  # of a picture that the layout model sees: beyond it, it took running text for one


def analyse(page: Any, content: PageContent, statistics: Statistics, mode: layout.LayoutMode) -> list[Part]:
    """Tables, figures and blocks of a page in reading order.

    Args:
        page: PyMuPDF page.
        content: What was read of it.
        statistics: Of the document so far.
        mode: When to ask the layout model.
    """
    style = statistics.style()
    height = content.frame.size[1]
    lines = [li for li in content.lines if not statistics.is_furniture(li, height)]
    images = [i for i in content.images if not statistics.is_repeated(i) and not _is_backdrop(i, content)]
    drawings = read_drawings(page, content.frame)
    tables = find_tables(content.words, lines, drawings)
    figures, free = _figures(images, drawings, tables, lines, content, style.size)
    if mode == "always" or (mode == "auto" and layout.is_needed(lines, tables, figures)):
        boxes = layout.layout_boxes(page, content.frame)
        tables, figures, free = _with_layout(boxes, content, tables, figures, lines)
    blocks = captions.attach(make_blocks(free, style), tables, figures)
    parts: list[Part] = [*blocks, *tables, *figures]
    return reading_order(parts, lambda p: p.box)


def _is_backdrop(image: PlacedImage, content: PageContent) -> bool:
    """A picture behind the whole page, with text over it: a background, or a scan with a text layer."""
    page = content.frame.width * content.frame.height
    return area(image.box) > 0.85 * page and ocr.text_cover(content.lines, image.box) > 0.02


def _figures(
    images: Sequence[PlacedImage], drawings: Drawings, tables: Sequence[Table], lines: Sequence[Line],
    content: PageContent, body: float,
) -> tuple[list[Figure], list[Line]]:  # fmt: skip
    """Figures with their labels, and the lines that belong to neither a table nor a figure."""
    boxes = [t.box for t in tables]
    figures = find_figures(images, drawings, boxes, lines, content.frame.size, body)
    return figures, _share_out(lines, boxes, figures)


def _share_out(lines: Sequence[Line], tables: Sequence[Box], figures: Sequence[Figure]) -> list[Line]:
    free = []
    caption: Line | None = None  # the last line of a caption that is only its number, and of the title below it
    for line in lines:
        if any(inside(line.box, t) > 0.6 for t in tables):
            continue
        figure = next((f for f in figures if inside(line.box, f.box) > 0.8), None)
        goes_on = caption is not None and _is_title_of(caption, line)
        if figure is None or CAPTION.match(line.text) or goes_on:
            free.append(line)
            caption = line if goes_on or (figure and is_bare_caption(line.text)) else None
        else:
            figure.lines.append(line)
            caption = None
    return free


def _is_title_of(caption: Line, line: Line) -> bool:
    close = -1 < line.box[1] - caption.box[3] < 0.8 * line.size and x_overlap(caption.box, line.box) > 0
    return close and (line.bold or line.size > caption.size)


def _with_layout(
    boxes: Sequence[tuple[Box, str]], content: PageContent, tables: list[Table], figures: list[Figure],
    lines: Sequence[Line],
) -> tuple[list[Table], list[Figure], list[Line]]:  # fmt: skip
    """Tables and pictures that the layout model sees and the rules missed; its pictures replace merged ones."""
    for box, kind in boxes:
        if kind == "table" and not any(inside(box, t.box) > 0.5 or inside(t.box, box) > 0.5 for t in tables):
            table = read_table(content.words, lines, Region(box))
            if table is not None:
                tables = [*tables, table]
    seen = [b for b, kind in boxes if kind == "picture" and ocr.text_cover(lines, b) < _MOST_TEXT]
    kept = []
    for figure in figures:
        within = [b for b in seen if inside(b, figure.box) > 0.7]
        if any(inside(figure.box, t.box) > 0.5 for t in tables):
            continue
        if len(within) >= 2 and sum(map(area, within)) > 0.4 * area(figure.box):
            kept += [_cropped(figure, b) for b in within]
        else:
            kept.append(replace(figure, lines=[]))
    large = [b for b in seen if b[2] - b[0] >= 60 and b[3] - b[1] >= 50]
    kept += [Figure(b) for b in large if not any(inside(b, f.box) > 0.3 for f in kept)]
    return tables, kept, _share_out(lines, [t.box for t in tables], kept)


def _cropped(figure: Figure, box: Box) -> Figure:
    return Figure(box, [i for i in figure.images if inside(i.box, box) > 0.5], figure.drawn)
