"""Cuts and dissolves in a stream of small pictures.

A hard cut is a picture that differs from the one before it far more than its neighbours do, also when the picture
is shifted to fit, and after which the stream does not return at once to what it showed (a flash). A dissolve is a
stretch in which every picture is a mixture of the first and the last one, and these two have little in common:
pans, zooms and moving things are no mixtures, changes of the light keep the structure.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE = (64, 36)
"""Width and height of the small pictures."""

Small = NDArray[np.uint8]
"""A small picture: planes Y, U and V at `SIZE`, shape (3, 36, 64)."""

Vector = NDArray[np.float32]

_CHROMA = 1.5  # weight of colour against brightness
_NOISE = 6.0  # shades by which pictures differ that show the same
_CUT = 0.3  # difference of two neighbours from which on they may lie in different scenes
_AHEAD_S = 0.5  # what follows a picture decides: a flash is over by then
_RATIO = 3.0  # a cut differs so many times more than its neighbours do, by their median,
_RATIO_MOST = 1.8  # and so many times more than the third largest of them (a flash makes two)
_NEIGHBOURS = 6
_SHIFT = (6, 4)  # pixels across and down by which a moving camera shifts a picture from one to the next
_SHIFTED = 0.15  # difference that is left after shifting: below it, the camera moved
_RETURN = 0.4  # share of a cut's difference at which the picture of before is back
_RELIT = 0.85  # correlation at which it is back in another light
_LIGHT = 10.0  # shades by which the light of a scene may change from one picture to the next
_STEP_S = 0.1  # grid on which dissolves are looked for
_HALVES = (3, 5, 7)  # half the length of a dissolve, in steps
_APART = 0.55  # difference of a dissolve's ends
_LIKE = 0.65  # correlation from which on two pictures show the same in another light
_MIXED = 0.16  # what no mixture explains, as a share of the ends' difference
_TRAVEL = (16, 9)  # pixels across and down by which the camera may move meanwhile
# Contours of a mixture against those of its ends: of two pictures laid over each other, about half is left. The
# better one end fits on the other when shifted, the less is allowed.
_SOFT = (0.35, 0.5, 0.8)  # at least, times the share of the difference left after shifting, at most
_BENT = 0.3  # how far the middle may be from half and half
_FADE = 0.9  # how sure a fade through black or white is, against a dissolve
_FLAT = 8.0  # spread in shades of a picture that shows nothing: a fade goes through one
_REST = 2  # steps before and after a dissolve,
_CHANGED = 0.8  # during which less than that changes
_PEAK = 6  # steps around a dissolve within which there is no second one
_GAP_S = 0.4  # of cuts nearer than that, the first counts
LAG_S = (2 * _HALVES[-1] + _REST + _PEAK) * _STEP_S
"""Seconds after which a cut is certain: those before it are given out by then."""
_KEPT_S = 2 * LAG_S


@dataclass(frozen=True, slots=True)
class Cut:
    """A change of scene.

    Attributes:
        at_s: Time of the first picture of the new scene; the middle of a dissolve.
        from_s: Where the change begins; `at_s` for a hard cut.
        to_s: Where it is over.
    """

    at_s: float
    from_s: float
    to_s: float


@dataclass(slots=True)
class _Seen:
    """A picture with what is computed of it once."""

    time: float
    vector: Vector
    spread: float
    step: float = 0.0  # difference to the picture before


@dataclass(frozen=True, slots=True)
class _Mixture:
    """A place that may be the middle of a dissolve."""

    time: float
    half_s: float
    score: float


class CutFinder:
    """Finds cuts in a stream; holds a few seconds of small pictures, whatever the length."""

    def __init__(self) -> None:
        self._seen: deque[_Seen] = deque()
        self._judged = 0  # pictures of `_seen` already judged as hard cuts
        self._grid: deque[_Seen] = deque(maxlen=2 * (_HALVES[-1] + _REST) + 1)
        self._grid_times: deque[float] = deque(maxlen=2 * (_HALVES[-1] + _REST) + 1)
        self._mixtures: list[_Mixture] = []
        self._cuts: list[Cut] = []
        self._last = -1e9

    def add(self, time: float, small: Small) -> list[Cut]:
        """Take the next picture; gives the cuts that are certain by now, in order.

        Args:
            time: In seconds, rising.
            small: See `Small`.
        """
        if self._seen:
            self._fill_grid(time)
        else:
            self._last = time  # nothing is cut off right at the start
        seen = _Seen(time, _vector(small), 0.0)
        seen.spread = _spread(seen.vector)
        if self._seen:
            seen.step = _difference(self._seen[-1], seen)
        self._seen.append(seen)
        self._judge(time - _AHEAD_S)
        found = self._settle(time - LAG_S)
        self._forget(time - _KEPT_S)
        return found

    def finish(self) -> list[Cut]:
        """The stream has ended: the cuts that are left."""
        if self._seen:
            self._fill_grid(self._seen[-1].time + 2 * LAG_S)
        self._judge(np.inf)
        return self._settle(np.inf)

    def _fill_grid(self, until: float) -> None:
        """Repeat the last picture on the grid up to a time."""
        last = self._seen[-1]
        start = self._grid_times[-1] + _STEP_S if self._grid_times else last.time
        # A picture that stands for minutes (a slide) needs no more places than the grid holds.
        start = max(start, until - (self._grid.maxlen or 0) * _STEP_S) if start < until else start
        while start < until:
            self._grid.append(last)
            self._grid_times.append(start)
            self._mix()
            start += _STEP_S

    def _mix(self) -> None:
        """Judge the middle of the grid as a dissolve."""
        grid = self._grid
        middle = len(grid) // 2
        if len(grid) < (grid.maxlen or 0) or grid[0] is grid[-1]:
            return
        runs = [*grid]
        best = max((_mixed(runs[middle - half - _REST : middle + half + _REST + 1]), half) for half in _HALVES)
        if best[0] > 0:
            self._mixtures.append(_Mixture(self._grid_times[middle], best[1] * _STEP_S, best[0]))

    def _judge(self, until: float) -> None:
        """Judge pictures up to a time as the first after a hard cut."""
        while self._judged < len(self._seen) and self._seen[self._judged].time <= until:
            at = self._judged
            if at and self._is_cut(at):
                time = self._seen[at].time
                self._cuts.append(Cut(time, time, time))
            self._judged += 1

    def _is_cut(self, at: int) -> bool:
        seen, step = self._seen, self._seen[at].step
        if step < _CUT:
            return False
        near = [k for k in range(max(1, at - _NEIGHBOURS), min(len(seen), at + _NEIGHBOURS + 1)) if k != at]
        steps = sorted(seen[k].step for k in near if abs(seen[k].time - seen[at].time) <= _AHEAD_S)
        if steps and step < _RATIO * steps[len(steps) // 2]:
            return False
        if len(steps) > 2 and step < _RATIO_MOST * steps[-3]:
            return False
        before, after = seen[at - 1], seen[at]
        return step * _shifted(before, after, _SHIFT) >= _SHIFTED and not self._is_flash(at)

    def _is_flash(self, at: int) -> bool:
        """Whether what stood before is back after a moment, or this picture is itself the return."""
        seen, step = self._seen, self._seen[at].step
        time = seen[at].time
        for k in range(at + 1, len(seen)):
            if seen[k].time - time > _AHEAD_S:
                break
            if _same(seen[at - 1], seen[k], step):
                return True
        for k in range(at - 2, -1, -1):
            if time - seen[k].time > _AHEAD_S:
                break
            if _same(seen[k], seen[at], step):
                return True
        return False

    def _settle(self, until: float) -> list[Cut]:
        """The cuts before a time; dissolves are the highest peaks between the hard ones."""
        hard = [cut.at_s for cut in self._cuts]
        while self._mixtures and self._mixtures[0].time < until:
            first = self._mixtures[0]
            peak = max((m for m in self._mixtures if m.time - first.time <= _PEAK * _STEP_S), key=lambda m: m.score)
            if peak.time >= until:
                break
            start, end = peak.time - peak.half_s, peak.time + peak.half_s
            if not any(start - _GAP_S <= at <= end + _GAP_S for at in (*hard, self._last)):
                self._cuts.append(Cut(peak.time, start, end))
                hard.append(peak.time)
            self._mixtures = [m for m in self._mixtures if m.time > peak.time + _PEAK * _STEP_S]
        self._cuts.sort(key=lambda cut: cut.at_s)
        found = []
        while self._cuts and self._cuts[0].at_s < until:
            cut = self._cuts.pop(0)
            if cut.at_s - self._last >= _GAP_S:
                found.append(cut)
                self._last = cut.at_s
        return found

    def _forget(self, before: float) -> None:
        while len(self._seen) > 3 * _NEIGHBOURS and self._seen[0].time < before and self._judged > _NEIGHBOURS:
            self._seen.popleft()
            self._judged -= 1


def _vector(small: Small) -> Vector:
    vector = small.astype(np.float32)
    vector[1:] *= _CHROMA
    return vector


def _spread(vector: Vector) -> float:
    """Sum of squares around the mean of each plane."""
    return float((vector.var((1, 2)) * (vector.shape[1] * vector.shape[2])).sum())


def _difference(a: _Seen, b: _Seen) -> float:
    """0 for the same picture, about 1 for two that have nothing in common, more where the mean differs too."""
    gap = a.vector - b.vector
    size = gap[0].size
    light = gap.mean((1, 2))
    lit = np.maximum(np.abs(light) - _LIGHT, 0)
    squares = float(np.vdot(gap, gap)) + size * float(np.vdot(lit, lit) - np.vdot(light, light))
    return float(squares / (a.spread + b.spread + 2 * _NOISE**2 * size))


def _likeness(a: Vector, b: Vector) -> float:
    """Correlation of the brightness, whatever the light and the contrast; 0 where one is uniform."""
    x, y = a[0] - a[0].mean(), b[0] - b[0].mean()
    floor = _NOISE**2 * x.size
    return float(np.vdot(x, y) / np.sqrt((np.vdot(x, x) + floor) * (np.vdot(y, y) + floor)))


def _same(a: _Seen, b: _Seen, step: float) -> bool:
    """Whether the picture of before is back: as it was, in another light, or moved on meanwhile."""
    limit = _RETURN * min(step, 1.0)
    difference = _difference(a, b)
    if difference < limit or _likeness(a.vector, b.vector) > _RELIT:
        return True
    return difference * _shifted(a, b, _SHIFT) < limit / 2


def _shifted(a: _Seen, b: _Seen, most: tuple[int, int]) -> float:
    """The difference left when one picture is shifted over the other, as a share of the one without shifting."""
    import cv2

    dx, dy = most
    inner: Any = b.vector[0][dy:-dy, dx:-dx]
    if float(inner.std()) < _NOISE:
        return 1.0
    # Squared differences of the inner part at every shift.
    errors = cv2.matchTemplate(np.ascontiguousarray(a.vector[0]), np.ascontiguousarray(inner), cv2.TM_SQDIFF)
    still = float(errors[dy, dx])
    return float(errors.min()) / max(still, 1.0) if still else 1.0


def _mixed(run: Sequence[_Seen]) -> float:
    """How surely a run of pictures is a dissolve, with rest before and after: 0 for no, up to about 1."""
    first, last = run[_REST], run[-1 - _REST]
    apart = _difference(first, last)
    if apart < _APART:
        return 0.0
    changed = _CHANGED * min(apart, 1.0)
    if _difference(run[0], first) > changed or _difference(last, run[-1]) > changed:
        return 0.0
    if _likeness(first.vector, last.vector) > _LIKE:
        return 0.0
    middle = run[_REST + 1 : -1 - _REST]
    if any(_is_flat(seen) for seen in middle[1:-1]) and not (_is_flat(first) or _is_flat(last)):
        return _FADE - _skew([_is_flat(seen) for seen in middle])
    rest, bent = _unmixed(first, last, middle)
    if rest > _MIXED or bent > _BENT or _is_shift(first, last, middle):
        return 0.0
    return max(min(apart, 1.0) - rest - bent, 0.0)


def _is_shift(first: _Seen, last: _Seen, middle: Sequence[_Seen]) -> bool:
    """Whether a moving camera explains the change better than a dissolve."""
    contours = (_contours(first.vector) + _contours(last.vector)) / 2
    softest = min(_contours(seen.vector) for seen in middle) / max(contours, 1.0)
    least, slope, most = _SOFT
    if softest > most:
        return True
    return softest > least and softest > least + slope * _shifted(first, last, _TRAVEL)


def _is_flat(seen: _Seen) -> bool:
    return bool(seen.spread < _FLAT**2 * seen.vector[0].size)


def _skew(flags: Sequence[bool]) -> float:
    """How far from the middle the flags are set, as a share of the length."""
    set_ = [at for at, flag in enumerate(flags) if flag]
    return abs(sum(set_) / len(set_) - (len(flags) - 1) / 2) / len(flags)


def _unmixed(first: _Seen, last: _Seen, middle: Sequence[_Seen]) -> tuple[float, float]:
    """The largest part of a picture that no mixture of the ends gives, and how far the middle is from half and half.

    The part is 1 where the new picture comes in unsteadily.
    """
    start = _coarse(first.vector)
    way = (_coarse(last.vector) - start).ravel()
    length = float(np.vdot(way, way))
    shares, rest = [0.0], 0.0
    for seen in middle:
        x = (_coarse(seen.vector) - start).ravel()
        shares.append(float(np.vdot(x, way)) / length)
        left = x - shares[-1] * way
        rest = max(rest, float(np.vdot(left, left)) / length)
    steps = np.diff([*shares, 1.0])
    steady = steps.min() > -0.1 and steps.max() < 0.6
    return (rest if steady else 1.0), abs(shares[len(shares) // 2] - 0.5)


def _contours(vector: Vector) -> float:
    """Sum of squares of the steps from pixel to pixel."""
    return float((np.diff(vector[0], axis=0) ** 2).sum() + (np.diff(vector[0], axis=1) ** 2).sum())


def _coarse(vector: Vector) -> Vector:
    planes, height, width = vector.shape
    half: Vector = vector.reshape(planes, height // 2, 2, width // 2, 2).mean((2, 4))
    return half
