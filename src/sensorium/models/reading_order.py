"""Reading order of text lines on a page: columns one after the other, rows of tables and forms across."""

from collections.abc import Sequence
from statistics import median

Box = tuple[float, float, float, float]
Chosen = list[int]

# Narrowest gap between two columns, as a share of the page's width.
_GUTTER = 0.012
# Lines of prose are long: median width over height of a column's lines. Labels and cells stay below.
_PROSE = 7.0
# So many lines of prose are a column even beside something else.
_MANY = 6
# A gutter counts when at least this share of the lines stands in columns beside it.
_IN_COLUMNS = 0.25
# How many gaps are looked at for each number of lines that may run across.
_CANDIDATES = 6


def reading_order(boxes: Sequence[Box]) -> list[int]:
    """Indices of the boxes in reading order.

    A gap is a gutter between columns only when both sides hold lines of prose beside each other; labels beside
    values, cells and form fields are read row by row, so that pairs stay together. Lines across a gutter end a
    band of columns.

    Args:
        boxes: `(x0, y0, x1, y1)` of upright lines, in one unit for both axes (pixels), y downwards.
    """
    if not boxes:
        return []
    width = max(b[2] for b in boxes) - min(b[0] for b in boxes)
    return _order(boxes, list(range(len(boxes))), _GUTTER * width)


def rows(boxes: Sequence[Box], chosen: Chosen) -> list[Chosen]:
    """Indices grouped into rows that share a baseline, top to bottom, each left to right.

    Args:
        boxes: As for `reading_order`.
        chosen: Which boxes.
    """
    groups: list[Chosen] = []
    for i in sorted(chosen, key=lambda i: _middle(boxes[i])):
        if groups and _same_row(boxes, groups[-1], i):
            groups[-1].append(i)
        else:
            groups.append([i])
    return [sorted(group, key=lambda i: boxes[i][0]) for group in groups]


def _same_row(boxes: Sequence[Box], row: Chosen, i: int) -> bool:
    box = boxes[i]
    centre = sum(_middle(boxes[k]) for k in row) / len(row)
    smallest = min(box[3] - box[1], *(boxes[k][3] - boxes[k][1] for k in row))
    if abs(_middle(box) - centre) > 0.5 * smallest:
        return False
    # Lines of one paragraph overlap in x, cells of one row do not.
    return all(min(box[2], boxes[k][2]) - max(box[0], boxes[k][0]) < 0.5 * smallest for k in row)


def _middle(box: Box) -> float:
    return (box[1] + box[3]) / 2


def _order(boxes: Sequence[Box], chosen: Chosen, gutter: float) -> Chosen:
    cut = _gutter(boxes, chosen, gutter)
    if cut is None:
        return [i for row in rows(boxes, chosen) for i in row]
    out: Chosen = []
    for band in _bands(boxes, chosen, cut):
        left, right, _ = _sides(boxes, band, cut)
        parts = (left, right) if _columns(boxes, left, right) else (band,)
        out += [i for part in parts for i in _order(boxes, part, gutter)]
    return out


def _gutter(boxes: Sequence[Box], chosen: Chosen, least: float) -> float | None:
    """Middle of a gap that parts columns of prose, the one that the fewest lines cross; None without one."""
    crossed = 0
    while crossed <= len(chosen) * (1 - _IN_COLUMNS):
        for x in _gaps(boxes, chosen, crossed, least)[:_CANDIDATES]:
            bands = [_sides(boxes, band, x) for band in _bands(boxes, chosen, x)]
            inside = sum(len(left) + len(right) for left, right, _ in bands if _columns(boxes, left, right))
            if inside >= _IN_COLUMNS * len(chosen):
                return x
        crossed = crossed + 1 + crossed // 2
    return None


def _gaps(boxes: Sequence[Box], chosen: Chosen, crossed: int, least: float) -> list[float]:
    """Middles of the x ranges that at most `crossed` lines cover, the widest first."""
    edges = sorted([(boxes[i][0], 1) for i in chosen] + [(boxes[i][2], -1) for i in chosen])
    gaps: list[tuple[float, float]] = []
    cover, start = 0, None
    for x, step in edges:
        cover += step
        if cover <= crossed and start is None:
            start = x
        elif cover > crossed and start is not None:
            if x - start >= least:
                gaps.append((x - start, (x + start) / 2))
            start = None
    return [x for _, x in sorted(gaps, reverse=True)]


def _bands(boxes: Sequence[Box], chosen: Chosen, x: float) -> list[Chosen]:
    """The lines between those that run across `x`, and these themselves, top to bottom."""
    left, right, crossing = _sides(boxes, chosen, x)
    rest = left + right
    bands: list[Chosen] = []
    for row in rows(boxes, crossing):
        end = min(_middle(boxes[i]) for i in row)
        # What stands beside a line that runs across belongs to its row.
        above = [i for i in rest if boxes[i][3] <= end or _middle(boxes[i]) < min(boxes[k][1] for k in row)]
        beside = [i for i in rest if i not in set(above) and _middle(boxes[i]) < max(boxes[k][3] for k in row)]
        rest = [i for i in rest if i not in set(above) | set(beside)]
        bands += [above, row + beside]
    return [band for band in [*bands, rest] if band]


def _sides(boxes: Sequence[Box], chosen: Chosen, x: float) -> tuple[Chosen, Chosen, Chosen]:
    left = [i for i in chosen if boxes[i][2] <= x]
    right = [i for i in chosen if boxes[i][0] >= x]
    return left, right, [i for i in chosen if boxes[i][0] < x < boxes[i][2]]


def _columns(boxes: Sequence[Box], left: Chosen, right: Chosen) -> bool:
    """Whether two sets of lines stand side by side without forming rows.

    Both are prose; or one is, and the lines of the other (labels in a figure) do not share its baselines as the
    amounts beside descriptions do.
    """
    if min(len(left), len(right)) < 3:
        return False
    spans = [(min(boxes[i][1] for i in side), max(boxes[i][3] for i in side)) for side in (left, right)]
    shared = min(end for _, end in spans) - max(top for top, _ in spans)
    if shared <= 0.5 * min(end - top for top, end in spans):
        return False
    prose = [side for side in (left, right) if _is_prose(boxes, side)]
    if len(prose) != 1:
        return len(prose) == 2
    other = right if prose[0] is left else left
    return len(prose[0]) >= _MANY and _aligned(boxes, other, prose[0]) < 0.5


def _is_prose(boxes: Sequence[Box], side: Chosen) -> bool:
    return median((boxes[i][2] - boxes[i][0]) / max(boxes[i][3] - boxes[i][1], 1e-9) for i in side) >= _PROSE


def _aligned(boxes: Sequence[Box], side: Chosen, other: Chosen) -> float:
    """Share of the lines of one side that share a baseline with a line of the other."""
    middles = [_middle(boxes[i]) for i in other]
    near = [min(abs(_middle(boxes[i]) - m) for m in middles) < 0.2 * (boxes[i][3] - boxes[i][1]) for i in side]
    return sum(near) / len(near)
