"""Boxes `(x0, y0, x1, y1)` in points, and the frame that maps a page's coordinates to upright reading ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sensorium.nodes import Box

Matrix = tuple[float, float, float, float, float, float]
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
_SMALLEST = 0.0005  # fraction of the page below which a box would round to nothing


def area(box: Sequence[float]) -> float:
    """Area; 0 for an inverted box."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Area that both boxes share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def inside(a: Sequence[float], b: Sequence[float]) -> float:
    """Share of `a` that lies in `b`."""
    return overlap(a, b) / (area(a) or 1e-9)


def covers(box: Sequence[float], x: float, y: float) -> bool:
    """Whether a point lies in the box."""
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def holds(box: Sequence[float], part: Sequence[float]) -> bool:
    """Whether the centre of `part` lies in the box."""
    return covers(box, (part[0] + part[2]) / 2, (part[1] + part[3]) / 2)


def union(boxes: Iterable[Sequence[float]]) -> Box:
    """Smallest box around all of them."""
    x0, y0, x1, y1 = zip(*(b[:4] for b in boxes), strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def grow(box: Sequence[float], dx: float, dy: float | None = None) -> Box:
    """The box with a margin on every side."""
    dy = dx if dy is None else dy
    return box[0] - dx, box[1] - dy, box[2] + dx, box[3] + dy


def x_overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Length that both boxes share along x; negative is the gap."""
    return min(a[2], b[2]) - max(a[0], b[0])


def y_overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Length that both boxes share along y; negative is the gap."""
    return min(a[3], b[3]) - max(a[1], b[1])


def transform(box: Sequence[float], m: Matrix) -> Box:
    """The box under an affine matrix (by quarter turns), normalised."""
    x = (m[0] * box[0] + m[2] * box[1] + m[4], m[0] * box[2] + m[2] * box[3] + m[4])
    y = (m[1] * box[0] + m[3] * box[1] + m[5], m[1] * box[2] + m[3] * box[3] + m[5])
    return min(x), min(y), max(x), max(y)


@dataclass(frozen=True)
class Frame:
    """Maps MuPDF's page coordinates to upright reading coordinates, and those to fractions of the displayed page.

    MuPDF reports text in the unrotated page, with the corner of the crop box as origin. `matrix` turns that into the
    frame in which most of the text runs from left to right; `turn` is by how many quarter turns that frame differs
    from the displayed page (a table printed sideways on an upright page).

    Attributes:
        matrix: From page coordinates to reading coordinates.
        width: Of the displayed page, in points.
        height: Of the displayed page.
        turn: Direction in which the text runs on the displayed page: 0 right, 1 down, 2 left, 3 up.
    """

    matrix: Matrix
    width: float
    height: float
    turn: int = 0

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the reading frame."""
        return (self.height, self.width) if self.turn % 2 else (self.width, self.height)

    def read(self, box: Sequence[float]) -> Box:
        """Page coordinates to reading coordinates."""
        if self.matrix == IDENTITY:
            return box[0], box[1], box[2], box[3]
        return transform(box, self.matrix)

    def displayed(self, box: Sequence[float]) -> Box:
        """Reading coordinates to points of the displayed page."""
        x0, y0, x1, y1 = box[:4]
        w, h = self.width, self.height
        if self.turn == 1:
            return w - y1, x0, w - y0, x1
        if self.turn == 2:
            return w - x1, h - y1, w - x0, h - y0
        if self.turn == 3:
            return y0, h - x1, y1, h - x0
        return x0, y0, x1, y1

    def fractions(self, box: Sequence[float]) -> Box:
        """Reading coordinates to a valid box in fractions of the displayed page."""
        x0, y0, x1, y1 = self.displayed(box)
        left, right = _span(x0 / self.width, x1 / self.width)
        top, bottom = _span(y0 / self.height, y1 / self.height)
        return left, top, right, bottom


def frame_of(page: Any, run: tuple[float, float] = (1.0, 0.0)) -> Frame:
    """The frame of a PyMuPDF page whose text mostly runs along `run` (in unrotated page coordinates)."""
    m: Matrix = tuple(page.rotation_matrix)
    width, height = page.rect.width, page.rect.height
    dx, dy = m[0] * run[0] + m[2] * run[1], m[1] * run[0] + m[3] * run[1]
    if abs(dx) >= abs(dy):
        turn = 0 if dx >= 0 else 2
    else:
        turn = 1 if dy > 0 else 3
    upright: Matrix = {
        0: IDENTITY,
        1: (0.0, -1.0, 1.0, 0.0, 0.0, width),
        2: (-1.0, 0.0, 0.0, -1.0, width, height),
        3: (0.0, 1.0, -1.0, 0.0, height, 0.0),
    }[turn]
    return Frame(_product(m, upright), width, height, turn)


def _product(a: Matrix, b: Matrix) -> Matrix:
    return (
        a[0] * b[0] + a[1] * b[2], a[0] * b[1] + a[1] * b[3],
        a[2] * b[0] + a[3] * b[2], a[2] * b[1] + a[3] * b[3],
        a[4] * b[0] + a[5] * b[2] + b[4], a[4] * b[1] + a[5] * b[3] + b[5],
    )  # fmt: skip


def _span(low: float, high: float) -> tuple[float, float]:
    low, high = min(max(low, 0.0), 1.0 - _SMALLEST), min(max(high, 0.0), 1.0)
    return low, max(high, low + _SMALLEST)
