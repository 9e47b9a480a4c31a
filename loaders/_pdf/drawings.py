"""Line work of a page: ruling lines for tables, and shapes for figures."""

from dataclasses import dataclass, field
from typing import Any

from sensorium.loaders._pdf.geometry import Frame, inside, union
from sensorium.nodes import Box

THIN = 3.0  # points; a filled rectangle this thin is a line
_JOIN = 2.5  # points between collinear pieces of one line
MANY = 20_000  # paths beyond which a page is vector art (a map): no tables are looked for


@dataclass(slots=True)
class Shape:
    """A drawn path: its box, and whether it has curves or slanting lines (which tables do not)."""

    box: Box
    slanted: bool
    white: bool


@dataclass(slots=True)
class Drawings:
    """Horizontal rules as `(y, x0, x1)`, vertical ones as `(x, y0, y1)`, and all shapes."""

    across: list[tuple[float, float, float]] = field(default_factory=list)
    down: list[tuple[float, float, float]] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)


def read_drawings(page: Any, frame: Frame) -> Drawings:
    """Read the vector drawings of a page into reading coordinates."""
    paths = page.get_cdrawings(extended=True)
    found = Drawings()
    fills: list[tuple[Box, Any]] = []
    clips: list[tuple[int, Box]] = []  # what is drawn deeper than a clip shows only inside it
    for path in paths:
        level = path["level"]
        while clips and clips[-1][0] >= level:
            clips.pop()
        if path["type"] == "clip":
            box = frame.read(path["scissor"])
            clips.append((level, _common(box, clips[-1][1]) if clips else box))
        elif path["type"] != "group":
            _read_path(path, frame, found, fills, clips[-1][1] if clips else None, ruled=len(paths) <= MANY)
    for box, colour in fills:
        if not any(colour == c and other != box and inside(box, other) > 0.99 for other, c in fills):
            _edges(box, found)
    found.across = _joined(found.across)
    found.down = [(x, a, b) for x, a, b in _joined(found.down) if b - a >= 4]
    return found


def _common(a: Box, b: Box) -> Box:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def _read_path(
    path: Any, frame: Frame, found: Drawings, fills: list[tuple[Box, Any]], clip: Box | None, ruled: bool
) -> None:
    shown = frame.read(path["rect"])
    if clip is not None:
        shown = _common(shown, clip)
        if shown[2] < shown[0] or shown[3] < shown[1]:
            return
    stroked = "s" in path["type"]
    fill = path.get("fill")
    white = not stroked and fill is not None and min(fill) > 0.98
    slanted = _slanted(path["items"], frame)
    if ruled and not slanted and not stroked and not white and 4 <= len(path["items"]) <= 12:
        fills.append((shown, fill))  # a filled box with round corners
        ruled = False
    for item in path["items"] if ruled else ():
        if item[0] == "l":
            x0, y0, x1, y1 = frame.read(_between(item[1], item[2]))
            if stroked and (abs(y1 - y0) <= 1 or abs(x1 - x0) <= 1):
                _line((x0, y0, x1, y1), found)
        elif item[0] == "re" and not white:
            box = frame.read(item[1])
            if min(box[2] - box[0], box[3] - box[1]) <= THIN:
                _line(box, found)
            elif stroked or len(fills) > 3000:
                _edges(box, found)
            else:
                fills.append((box, fill))
    found.shapes.append(Shape(shown, slanted, white))


def _slanted(items: Any, frame: Frame) -> bool:
    """Whether a path has slanting lines, or curves larger than a rounded corner."""
    for item in items:
        if item[0] == "l":
            x0, y0, x1, y1 = frame.read(_between(item[1], item[2]))
            if x1 - x0 > 1 and y1 - y0 > 1:
                return True
        elif item[0] == "c":
            x0, y0, x1, y1 = frame.read(_between(item[1], item[4]))
            if max(x1 - x0, y1 - y0) > 8:
                return True
    return False


def _between(a: Any, b: Any) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])


def _line(box: Box, found: Drawings) -> None:
    if box[2] - box[0] >= box[3] - box[1]:
        found.across.append(((box[1] + box[3]) / 2, box[0], box[2]))
    else:
        found.down.append(((box[0] + box[2]) / 2, box[1], box[3]))


def _edges(box: Box, found: Drawings) -> None:
    x0, y0, x1, y1 = box
    found.across += [(y0, x0, x1), (y1, x0, x1)]
    found.down += [(x0, y0, y1), (x1, y0, y1)]


def _joined(lines: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Collinear pieces as one line each: positions within 1.2 points, ends within 2.5."""
    rows: list[list[tuple[float, float, float]]] = []
    for line in sorted(lines):
        if rows and line[0] - rows[-1][0][0] <= 1.2:
            rows[-1].append(line)
        else:
            rows.append([line])
    out = []
    for row in rows:
        at = sum(line[0] for line in row) / len(row)
        spans = sorted((line[1], line[2]) for line in row)
        low, high = spans[0]
        for a, b in spans[1:]:
            if a <= high + _JOIN:
                high = max(high, b)
            else:
                out.append((at, low, high))
                low, high = a, b
        out.append((at, low, high))
    return out


def clusters(boxes: list[Box], gap: float) -> list[list[int]]:
    """Groups of boxes that touch within `gap` points, as indices; a sweep along x with union-find."""
    parent = list(range(len(boxes)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    active: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda k: boxes[k][0]):
        x0, y0, _, y1 = boxes[i]
        active = [j for j in active if boxes[j][2] + gap >= x0]
        for j in active:
            if boxes[j][1] - gap <= y1 and y0 <= boxes[j][3] + gap:
                parent[root(i)] = root(j)
        active.append(i)
    groups: dict[int, list[int]] = {}
    for i in range(len(boxes)):
        groups.setdefault(root(i), []).append(i)
    return list(groups.values())


def reduced(boxes: list[Box], most: int = 3000) -> list[Box]:
    """At most about `most` boxes that cover the same ground: small ones are pooled on a grid of growing step."""
    step = 6.0
    while len(boxes) > most:
        pools: dict[tuple[int, int], list[Box]] = {}
        for b in boxes:
            pools.setdefault((int((b[0] + b[2]) / 2 / step), int((b[1] + b[3]) / 2 / step)), []).append(b)
        pooled = [union(p) for p in pools.values()]
        if len(pooled) == len(boxes):
            break
        boxes, step = pooled, step * 2
    return boxes
