"""Changes of page in still material: slides of one template, windows of a screen recording.

Slides of one template hardly differ in the small pictures in which cuts are looked for. Here two pictures are compared
in cells, each picture after it stood still for a while: what stood written or drawn in one and is something else in
the other is lost, and where much of what was there is lost within a moment, a page was turned. What is only added (a
slide that is built up) loses nothing; cells that move most of the time (a camera's inset, a ticker) and the bottom,
where captions stand, do not count.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensorium.loaders._media.cells import CELL, cell_means, grid
from sensorium.loaders._media.cuts import LAG_S, Cut

Gray = NDArray[np.uint8]
Cells = NDArray[np.bool_]
Values = NDArray[np.float32]

_HOLD = 2  # steps from look to look during which a picture stands still, before and after
_GAPS = (1, 2, 3, 4, 5)  # steps that a change may take
_MEMORY = 25  # looks after which it is forgotten what moved
_BUSY, _BUSY_LEAST = 0.4, 3  # share and number of looks with movement from which on a cell is busy
_MOVED = 3.5  # mean difference in shades of a cell in which something moved
_INK = 6.0  # spread in shades of a cell in which something is written or drawn,
_FILLED = 14.0  # or difference between its mean shade and the paper's
_OTHER = 6.0  # mean difference in shades of a cell that shows something else,
_LIKE = 0.6  # unless it correlates that much: dimmed or highlighted, but the same
_CAPTIONS = 0.24  # share of the height at the bottom that belongs to captions
_LOST = 0.15  # share of what was there that is lost when a page is turned,
_LOST_LEAST = 0.005  # and as a share of the picture
# Correlation after shifting up or down, and share of the difference that is left: the page was scrolled.
_ALIGNED, _LEFT = 0.75, 0.35
_SUDDEN = 5.0  # times as many cells change at each step as move before and after
_JUDGED = 0.35  # share of the picture that has to stand still for a judgement
_NEAR_S = 0.5  # from another cut: it is the same change
_CERTAIN_S = LAG_S + _NEAR_S + 0.05  # by then other cuts nearby are known


@dataclass(frozen=True, slots=True)
class _Looked:
    """A picture that was looked at.

    Attributes:
        time_s: When it is shown.
        gray: Its shades.
        moved: Cells in which it differs from the one before it.
    """

    time_s: float
    gray: Gray
    moved: Cells


class PageFinder:
    """Finds changes of page in a stream; holds some seconds of shades, whatever the length.

    Args:
        look_s: Seconds from one look to the next.
    """

    def __init__(self, look_s: float) -> None:
        self._look_s = look_s
        self._looks: deque[_Looked] = deque(maxlen=_MEMORY)
        self._smalls: deque[tuple[float, Values]] = deque()
        self._since_s = -1e9  # since when the last page found is shown
        self._template: Cells | None = None  # what stayed when pages were turned: their title bar
        self._found: list[Cut] = []
        self._cuts: deque[Cut] = deque(maxlen=8)  # others, found by other means

    def pass_by(self, time_s: float, small: NDArray[np.uint8]) -> None:
        """Take a picture by which the time of a change is told.

        Args:
            time_s: When it is shown.
            small: Its shades, upright, a few dozen pixels across.
        """
        self._smalls.append((time_s, small.astype(np.float32)))
        while self._smalls[0][0] < time_s - _CERTAIN_S and len(self._smalls) > 2 * _MEMORY:
            self._smalls.popleft()

    def look(self, time_s: float, gray: Gray) -> None:
        """Look at a picture.

        Args:
            time_s: When it is shown; rising.
            gray: Its shades, `screen_text.WIDTH` pixels across.
        """
        self.stand(time_s)
        same = bool(self._looks) and self._looks[-1].gray.shape == gray.shape
        if not same:
            self._looks.clear()
        moved = cell_means(_gap(gray, self._looks[-1].gray)) > _MOVED if same else np.zeros(grid(gray.shape), bool)
        self._add(_Looked(time_s, gray, moved))

    def stand(self, until_s: float) -> None:
        """The last picture stands until then: look at it again where a look is due."""
        for _ in range(_HOLD + max(_GAPS)):
            if not self._looks or until_s - self._looks[-1].time_s < 1.75 * self._look_s:
                return
            last = self._looks[-1]
            self._add(_Looked(last.time_s + self._look_s, last.gray, np.zeros_like(last.moved)))

    def settle(self, cuts: list[Cut], time_s: float) -> list[Cut]:
        """All cuts that are certain, in order of time.

        Args:
            cuts: The next ones found by other means, which are more exact.
            time_s: Of the last picture.
        """
        self._cuts.extend(cuts)
        certain = [cut for cut in self._found if cut.at_s < time_s - _CERTAIN_S]
        self._found = [cut for cut in self._found if cut.at_s >= time_s - _CERTAIN_S]
        own = [c for c in certain if not any(o.from_s - _NEAR_S <= c.at_s <= o.to_s + _NEAR_S for o in self._cuts)]
        return sorted([*cuts, *own], key=lambda cut: cut.at_s)

    def _add(self, looked: _Looked) -> None:
        self._looks.append(looked)
        for gap in _GAPS:
            before = len(self._looks) - 1 - _HOLD - gap
            if before < _HOLD or self._looks[before - _HOLD].time_s < self._since_s:
                return
            lost = _lost([*self._looks], before, self._template)
            if lost is not None:
                self._template = ~lost & _stayed(self._looks[before].gray, self._looks[-1].gray)
                cut = self._timed(self._looks[before].time_s, self._looks[-1 - _HOLD].time_s, lost)
                self._since_s = cut.to_s
                self._found.append(cut)
                return

    def _timed(self, from_s: float, to_s: float, lost: Cells) -> Cut:
        """When a change between two looks took place: at the first picture that is more like the later one."""
        run = [(time, small) for time, small in self._smalls if from_s - 1e-6 <= time <= to_s + 1e-6]
        if len(run) < 2:
            return Cut(to_s, from_s, to_s)
        weights = _weights(lost, run[0][1].shape)
        start, way = run[0][1], (run[-1][1] - run[0][1]) * weights
        length = max(float(np.vdot(way, way)), 1e-6)
        shares = np.array([float(np.vdot((small - start) * weights, way)) / length for _, small in run])
        times = [time for time, _ in run]
        first, middle, last = (times[int(np.argmax(shares > share))] for share in (0.1, 0.5, 0.9))
        return Cut(middle, min(first, middle), max(last, middle))


def _lost(looks: list[_Looked], before: int, template: Cells | None) -> Cells | None:
    """Cells that show something else after a change than in the look before it; None where no page was turned."""
    after = len(looks) - 1 - _HOLD
    held = [looks[k].moved for k in (*_held(before), *_held(len(looks) - 1))]
    still = ~np.any(held, 0)
    still[round(len(still) * (1 - _CAPTIONS)) :] = False
    changed = np.any([looks[k].moved for k in range(before + 1, after + 1)], 0) & still
    if changed.mean() < _LOST_LEAST:
        return None
    calm = ~_busy([look.moved for k, look in enumerate(looks) if not before < k <= after])
    calm[round(len(calm) * (1 - _CAPTIONS)) :] = False
    moving = np.mean([(moved & calm).sum() for moved in held])
    if (calm & still).mean() < _JUDGED or (changed & calm).sum() < _SUDDEN * (after - before) * moving:
        return None
    one, other = looks[before].gray, looks[-1].gray
    ink = calm & _inked(one, changed)
    lost = ink & changed & _differ(one, other)
    if template is not None and template.shape == ink.shape:
        ink &= ~template | lost
    if lost.mean() < _LOST_LEAST or lost.sum() < _LOST * ink.sum():
        return None
    return None if _is_scrolled(one, other, lost) else lost


def _held(last: int) -> Iterator[int]:
    """Looks before which nothing may move up to this one."""
    return iter(range(last - _HOLD + 1, last + 1))


def _busy(moved: list[Cells]) -> Cells:
    """Cells that move most of the time, and those beside them."""
    import cv2

    often = np.sum(moved, 0) >= max(_BUSY_LEAST, _BUSY * len(moved))
    return np.asarray(cv2.dilate(often.astype(np.uint8), np.ones((3, 3), np.uint8)), bool)


def _inked(gray: Gray, changed: Cells) -> Cells:
    """Cells in which something is written or drawn; of those filled evenly only changed ones: others are paper."""
    means, spread = cell_means(gray), np.sqrt(_variance(gray))
    return np.asarray((spread > _INK) | (changed & (np.abs(means - np.median(means)) > _FILLED)), bool)


def _differ(one: Gray, other: Gray) -> Cells:
    """Cells that show something else, not the same lighter or darker."""
    a, b = one.astype(np.float32), other.astype(np.float32)
    shared = cell_means(a * b) - cell_means(a) * cell_means(b)
    like = np.abs(shared) / np.sqrt((_variance(one) + 1) * (_variance(other) + 1))
    return np.asarray((cell_means(_gap(one, other)) > _OTHER) & (like < _LIKE), bool)


def _stayed(one: Gray, other: Gray) -> Cells:
    """Cells with something written or drawn that is the same in both."""
    return np.asarray((_variance(one) > _INK**2) & (cell_means(_gap(one, other)) < _MOVED), bool)


def _is_scrolled(one: Gray, other: Gray, lost: Cells) -> bool:
    """Whether what seems lost only stands higher or lower now."""
    import cv2

    rows, columns = (np.flatnonzero(lost.any(axis)) * CELL for axis in (1, 0))
    top, bottom, left, right = rows[0], rows[-1] + CELL, columns[0], columns[-1] + CELL
    quarter = (bottom - top) // 4
    middle = np.ascontiguousarray(one[top + quarter : bottom - quarter, left:right])
    if float(middle.std()) < _INK:
        return False
    whole = np.ascontiguousarray(other[top:bottom, left:right])
    errors = cv2.matchTemplate(whole, middle, cv2.TM_SQDIFF)
    if float(errors.min()) > _LEFT * float(errors[quarter, 0]):
        return False
    return float(cv2.matchTemplate(whole, middle, cv2.TM_CCOEFF_NORMED).max()) > _ALIGNED


def _gap(one: Gray, other: Gray) -> Gray:
    import cv2

    return np.asarray(cv2.absdiff(one, other), np.uint8)


def _variance(gray: Gray) -> Values:
    shades = gray.astype(np.float32)
    return np.asarray(np.maximum(cell_means(shades**2) - cell_means(shades) ** 2, 0), np.float32)


def _weights(lost: Cells, shape: tuple[int, ...]) -> Values:
    """Where a change is to be seen in a small picture."""
    import cv2

    wider = cv2.dilate(lost.astype(np.float32), np.ones((3, 3), np.uint8))
    return np.asarray(cv2.resize(wider, (shape[1], shape[0]), interpolation=cv2.INTER_AREA), np.float32)
