"""Text on the screen: read once for each stable text, not for each picture.

Text stands still while it is read; most else moves. So what is watched are contours that stay in place from one look
to the next: where new ones come up, the picture is read again, and a line is gone when its contours are. Of a build-up
slide or of captions over a moving picture every text is found, and a still picture is read once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sensorium.loaders._media.cells import CELL, cell_means
from sensorium.nodes import Box
from sensorium.ocr_types import OcrEngine, OcrLine
from sensorium.speech_types import Timed

if TYPE_CHECKING:
    from PIL.Image import Image

Gray = NDArray[np.uint8]
Mask = NDArray[np.bool_]

WIDTH = 480
"""Pixels across of the shades in which contours are looked for."""

_CONTOUR = 40  # shades from a pixel to the next but one at a contour
_STEADY = 20  # shades by which what stands still may change
_MOST_STILL = 0.7  # share of a cell's contours that stand still
_DENSE = 0.12  # share of a cell's pixels that are new contours where text came up
_NEW_CELLS = 2
_LEFT = 0.55  # share of a line's contours that are left while it is shown
_FEW = 6  # contours below which nothing can be said
_ALIKE = 0.8  # likeness of two readings of one line
# Least time between two readings, and factor by which it grows with each that found nothing new.
_WAIT_S, _LONGEST_WAIT_S, _PATIENCE = 1.0, 8.0, 3.0
_LINE_S = 0.04  # and that a full page adds for each of its lines
_SCORE = 0.6  # lines below it are no text
_MOST_PLACES = 150  # rows of contours that are looked at closely
_CONTRAST = 40.0  # shades between ink and paper
_EVEN = 40.0  # spread of the shades of one of them
_CHANGES = 1.0  # from ink to paper and back, across a row as wide as high


@dataclass(frozen=True, slots=True)
class Shown:
    """A line of text on the screen.

    Attributes:
        text: What it says.
        box: Where, in fractions of the upright picture.
        score: Mean score of its characters, 0..1.
        start_s: When it was first seen.
        end_s: When it was gone.
    """

    text: str
    box: Box
    score: float
    start_s: float
    end_s: float


@dataclass(slots=True)
class _Line:
    """A line that is still shown, with its place in the shades and the contours there."""

    shown: Shown
    place: tuple[slice, slice]
    contours: Mask


class ScreenText:
    """Follows the text in one scene.

    Args:
        ocr: Reads it; None: nobody does.
        start_s: Where the scene begins.
    """

    def __init__(self, ocr: OcrEngine | None, start_s: float) -> None:
        self._ocr = ocr
        self._start_s = start_s
        self._before: Gray | None = None
        self._known: Mask | None = None  # contours that were there at a reading
        self._seen_s = start_s
        self._read_s = -1e9
        self._wait_s = _WAIT_S
        self._shown: list[_Line] = []
        self._gone: list[Shown] = []
        self._last: tuple[Gray, Any] | None = None  # for a scene that ends before anything was read
        self._unread: tuple[Mask, float, Any] | None = None  # news that came too soon after a reading

    def see(self, time_s: float, gray: Gray, picture: Any) -> None:
        """Look at the next picture.

        Args:
            time_s: When it is shown.
            gray: Its upright shades, `WIDTH` pixels across.
            picture: Makes the upright picture, if it has to be read: called without arguments, gives a
                `PIL.Image.Image`.
        """
        if self._ocr is None:
            return
        import cv2

        if self._before is not None and self._before.shape != gray.shape:
            self._begin_anew(time_s)
        elif self._before is not None:
            still = _settled(_contours(gray), cv2.absdiff(gray, self._before) < _STEADY)
            self._end_lines(still)
            if self._has_news(still, gray):
                self._unread = (still, self._seen_s, picture)
            if self._unread is not None and time_s - self._read_s >= self._wait_s:
                self._catch_up(time_s)
        self._before, self._seen_s = gray, time_s
        self._last = (gray, picture) if self._known is None else None

    def _catch_up(self, time_s: float) -> None:
        if self._unread is not None:
            still, since_s, picture = self._unread
            self._unread = None
            self._read(picture(), still, since_s)
            self._read_s = time_s

    def _begin_anew(self, time_s: float) -> None:
        """The picture has another shape from now on: nothing in it can be compared with what was there."""
        self._catch_up(time_s)
        self._gone += [replace(line.shown, end_s=time_s) for line in self._shown]
        self._shown, self._known, self._start_s = [], None, time_s

    def finish(self, end_s: float) -> tuple[Shown, ...]:
        """The scene has ended: all that stood on the screen, in order of time and of reading."""
        self._catch_up(end_s)
        if self._known is None and self._last is not None:
            gray, picture = self._last
            if looks_like_text(gray):
                self._read(picture(), _contours(gray), self._start_s)
        lines = [*self._gone, *(replace(line.shown, end_s=end_s) for line in self._shown)]
        return tuple(sorted(lines, key=lambda line: line.start_s))

    def _has_news(self, still: Mask, gray: Gray) -> bool:
        if self._known is None:
            return looks_like_text(gray, still)
        new = still & ~_wider(self._known)
        return int((_cells(new) > _DENSE).sum()) >= _NEW_CELLS and looks_like_text(gray, new)

    def _end_lines(self, still: Mask) -> None:
        kept = []
        for line in self._shown:
            total = int(line.contours.sum())
            if total >= _FEW and (line.contours & still[line.place]).sum() < _LEFT * total:
                self._gone.append(replace(line.shown, end_s=max(self._seen_s, line.shown.start_s)))
                if self._known is not None:  # what comes up in its place is news
                    self._known[line.place] = False
            else:
                kept.append(line)
        self._shown = kept

    def _read(self, picture: "Image", still: Mask, since_s: float) -> None:
        assert self._ocr is not None
        found = _found(self._ocr, picture)
        since_s = self._start_s if self._known is None else since_s
        news = 0
        for line in found:
            twin = next((old for old in self._shown if _is_same(old.shown, line)), None)
            if twin is None:
                place, shown = _place(still.shape, line.box), Shown(line.text, line.box, line.score, since_s, since_s)
                self._shown.append(_Line(shown, place, still[place].copy()))
                news += 1
            elif line.score > twin.shown.score:
                twin.shown = replace(twin.shown, text=line.text, score=line.score)
        self._known = still
        self._wait_s = max(_WAIT_S, _LINE_S * len(found)) if news else min(_PATIENCE * self._wait_s, _LONGEST_WAIT_S)


def lines_of(ocr: OcrEngine, picture: "Image") -> tuple[Shown, ...]:
    """The text in one picture, without times."""
    return tuple(Shown(line.text, line.box, line.score, 0.0, 0.0) for line in _found(ocr, picture))


def _found(ocr: OcrEngine, picture: "Image") -> list[OcrLine]:
    # Single characters are read into leaves and windows.
    return [line for line in ocr.read(picture) if line.score >= _SCORE and sum(c.isalnum() for c in line.text) > 1]


def looks_like_text(gray: Gray, where: Mask | None = None) -> bool:
    """Whether there may be text: contours close to each other in a row, of two shades that alternate like strokes.

    It is wrong often enough about pictures without text, seldom about those with some.

    Args:
        gray: Shades, `WIDTH` pixels across.
        where: Only contours set here count.
    """
    import cv2

    contours = _contours(gray) if where is None else where
    joined = cv2.morphologyEx(contours.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((1, 11), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=4)
    left, top, width, height, area = stats[1:].T
    row = (height >= 4) & (height <= 110) & (width >= 1.2 * height) & (area >= 0.3 * width * height)
    places = sorted(zip(left[row], top[row], width[row], height[row], strict=True), key=lambda p: -p[2] * p[3])
    return any(_has_strokes(gray[y : y + h, x : x + w]) for x, y, w, h in places[:_MOST_PLACES])


def _has_strokes(shades: Gray) -> bool:
    """Whether a row of contours is of two shades that alternate across it."""
    import cv2

    _, ink = cv2.threshold(shades, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    dark, light = shades[ink == 0], shades[ink == 1]
    if not dark.size or not light.size or float(light.mean()) - float(dark.mean()) < _CONTRAST:
        return False
    if min(float(dark.std()), float(light.std())) > _EVEN:
        return False
    height, width = shades.shape
    changes = np.abs(np.diff(ink.astype(np.int8), axis=1)).sum(1)
    return bool(np.quantile(changes, 0.7) >= max(3.0, _CHANGES * width / height))


def joined_text(lines: Sequence[Shown]) -> tuple[str, list[Timed]]:
    """The different texts of a scene, one a line, in order of time and of reading, and when each was shown."""
    kept: list[Shown] = []
    for line in lines:
        twin = next((at for at, old in enumerate(kept) if _alike(old.text, line.text)), None)
        if twin is None:
            kept.append(line)
        else:
            kept[twin] = replace(kept[twin], end_s=max(kept[twin].end_s, line.end_s))
    text, times = "", list[Timed]()
    for line in kept:
        text += "\n" if text else ""
        times.append((len(text), len(text) + len(line.text), line.start_s, line.end_s))
        text += line.text
    return text, times


def _contours(gray: Gray) -> Mask:
    """Pixels at which the shade changes sharply across or down."""
    import cv2

    mask = np.zeros(gray.shape, bool)
    mask[:, 1:-1] = cv2.absdiff(gray[:, 2:], gray[:, :-2]) > _CONTOUR
    mask[1:-1] |= cv2.absdiff(gray[2:], gray[:-2]) > _CONTOUR
    return mask


def _wider(mask: Mask) -> Mask:
    import cv2

    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)), bool)


def _settled(contours: Mask, steady: Mask) -> Mask:
    """Contours that stand still, in cells in which most do: in a moving picture some do by chance everywhere."""
    still = contours & steady
    share = _cells(still) / np.maximum(_cells(contours), 1e-9) >= _MOST_STILL
    kept = np.zeros(contours.shape, bool)
    rows, columns = share.shape
    kept[: rows * CELL, : columns * CELL] = share.repeat(CELL, 0).repeat(CELL, 1)
    return still & kept


def _cells(mask: Mask) -> NDArray[np.float32]:
    """Share of set pixels in each cell."""
    return cell_means(mask.view(np.uint8), np.uint8)


def _place(shape: tuple[int, ...], box: Box) -> tuple[slice, slice]:
    """Rows and columns of a box."""
    height, width = shape
    top, bottom = int(box[1] * height), max(int(box[1] * height) + 1, round(box[3] * height))
    left, right = int(box[0] * width), max(int(box[0] * width) + 1, round(box[2] * width))
    return slice(top, bottom), slice(left, right)


def _is_same(old: Shown, line: OcrLine) -> bool:
    """Whether a line read now is one read before: much the same words in the same place."""
    a, b = old.box, line.box
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return across > 0 and down > 0.3 * min(a[3] - a[1], b[3] - b[1]) and _alike(old.text, line.text)


def _alike(one: str, other: str) -> bool:
    return one == other or SequenceMatcher(None, one, other, autojunk=False).ratio() >= _ALIKE
