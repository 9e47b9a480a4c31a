"""Figures of a page: raster pictures and clusters of drawings, with the labels that belong to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sensorium.loaders._pdf.blocks import CAPTION
from sensorium.loaders._pdf.content import Line, PlacedImage
from sensorium.loaders._pdf.drawings import Drawings, Shape, clusters, reduced
from sensorium.loaders._pdf.geometry import area, grow, inside, overlap, union
from sensorium.nodes import Box


@dataclass(slots=True)
class Figure:
    """A figure: its box in reading coordinates, the raster pictures in it, and the lines of its labels."""

    box: Box
    images: list[PlacedImage] = field(default_factory=list)
    drawn: bool = False
    lines: list[Line] = field(default_factory=list)
    caption: str = ""

    @property
    def text(self) -> str:
        """Its labels, those at one height on a line."""
        rows: list[list[Line]] = []
        for line in sorted(self.lines, key=lambda li: li.box[1] + li.box[3]):
            middle = (line.box[1] + line.box[3]) / 2
            first = rows[-1][0] if rows else line
            if rows and line.upright and first.upright and first.box[1] <= middle <= first.box[3]:
                rows[-1].append(line)
            else:
                rows.append([line])
        return "\n".join(" ".join(li.text for li in sorted(row, key=lambda li: li.box[0])) for row in rows)


def find_figures(
    images: Sequence[PlacedImage], drawings: Drawings, tables: Sequence[Box], lines: Sequence[Line],
    size: tuple[float, float], body: float,
) -> list[Figure]:  # fmt: skip
    """Figures of a page.

    Args:
        images: Pictures that are drawn, without repeated ones (logos) and page backgrounds.
        drawings: Vector drawings.
        tables: Boxes of the tables found.
        lines: Text lines.
        size: Width and height of the page in reading coordinates.
        body: Type size of the running text.
    """
    page = size[0] * size[1]
    drawn = [b for b in _drawn(drawings, size, tables) if not _is_text_box(b, drawings, lines, images)]
    # A picture's box is reported without its clip: what lies mostly in a drawing does not widen it.
    found = [
        Figure(i.box, [i]) for i in images
        if i.box[2] - i.box[0] >= 40 and i.box[3] - i.box[1] >= 30 and not any(inside(i.box, b) > 0.5 for b in drawn)
    ]  # fmt: skip
    found += [Figure(box, drawn=True) for box in drawn]
    figures = [f for f in _merged(found) if area(f.box) > 0.01 * page]
    small = [i for i in images if not any(i in f.images for f in figures)]
    for figure in figures:
        figure.images += [i for i in small if inside(i.box, figure.box) > 0.5]
        if figure.drawn:
            figure.box = _with_labels(figure.box, lines, body, tables)
    return [f for f in figures if not any(inside(f.box, t) > 0.5 for t in tables)]


def _drawn(drawings: Drawings, size: tuple[float, float], tables: Sequence[Box]) -> list[Box]:
    """Boxes of drawings that touch each other, of a figure's size."""
    width, height = size
    boxes = []
    for shape in drawings.shapes:
        x0, y0, x1, y1 = shape.box
        box = max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height)
        if box[2] < box[0] or box[3] < box[1] or _is_background(shape, box, size):
            continue
        if not any(inside(grow(box, 0.5), t) > 0.5 for t in tables):
            boxes.append(box)
    boxes = reduced(boxes)
    found = []
    for group in clusters(boxes, 3.0):
        box = union(boxes[i] for i in group)
        if box[2] - box[0] < 60 or box[3] - box[1] < 50 or area(box) > 0.9 * width * height:
            continue
        if not any(inside(box, t) > 0.5 or inside(t, box) > 0.8 for t in tables):
            found.append(box)
    return found


def _is_background(shape: Shape, box: Box, size: tuple[float, float]) -> bool:
    """White patches, page backgrounds, rules across the page, and marks at its edges."""
    width, height = size
    w, h = box[2] - box[0], box[3] - box[1]
    if shape.white or w * h > 0.9 * width * height:
        return True
    if (h <= 3 and w > 0.5 * width) or (w <= 3 and h > 0.5 * height):
        return True
    edge = box[1] > 0.93 * height or box[3] < 0.07 * height or box[2] < 0.03 * width or box[0] > 0.97 * width
    return edge


def _is_text_box(box: Box, drawings: Drawings, lines: Sequence[Line], images: Sequence[PlacedImage]) -> bool:
    """Shaded or framed running text: text covers most of it, or there is little drawing and much prose."""
    within = [li for li in lines if inside(li.box, box) > 0.7]
    covered = sum(area(li.box) for li in within) / area(box)
    if covered > 0.55:
        return True
    shapes = [s for s in drawings.shapes if inside(grow(s.box, 0.5), box) > 0.8 and not s.white]
    prose = sum(len(li.text) for li in within if len(li.text.split()) >= 4)
    if any(inside(i.box, box) > 0.8 and area(i.box) > 0.05 * area(box) for i in images):
        return False
    if not covered:
        return len(shapes) <= 2 and not any(s.slanted for s in shapes)
    return (len(shapes) <= 6 and prose > 60) or (prose > 300 and covered > 0.2)


def _merged(figures: list[Figure]) -> list[Figure]:
    """Figures that touch and fill most of the box around both become one."""
    merged = True
    while merged and len(figures) <= 400:
        merged = False
        for i, a in enumerate(figures):
            for j in range(i + 1, len(figures)):
                b = figures[j]
                both = union([a.box, b.box])
                touch = overlap(grow(a.box, 4), b.box) > 0
                if touch and area(both) < 1.25 * (area(a.box) + area(b.box) - overlap(a.box, b.box)):
                    figures[i] = Figure(both, a.images + b.images, a.drawn or b.drawn)
                    del figures[j]
                    merged = True
                    break
            if merged:
                break
    return [f for f in figures if not any(_swallows(g, f) for g in figures)]


def _swallows(large: Figure, small: Figure) -> bool:
    """Whether the smaller one lies in the larger; its pictures go along."""
    if large is small or area(small.box) >= area(large.box) or inside(small.box, large.box) <= 0.9:
        return False
    large.images += [i for i in small.images if i not in large.images]
    return True


def _with_labels(box: Box, lines: Sequence[Line], body: float, tables: Sequence[Box]) -> Box:
    """The box with short lines in small type close by: axis labels and call-outs, no captions."""
    for _ in range(2):
        reach = grow(box, 28, 20)
        near = [
            li.box for li in lines
            if _is_label(li, body) and inside(li.box, reach) > 0.99 and not any(inside(li.box, t) > 0.5 for t in tables)
        ]  # fmt: skip
        if not near:
            break
        box = union([box, *near])
    return box


def _is_label(line: Line, body: float) -> bool:
    small = line.size < body or not line.upright
    return small and len(line.text) <= (40 if line.upright else 80) and not CAPTION.match(line.text)
