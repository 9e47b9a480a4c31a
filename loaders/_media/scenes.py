"""Scenes of a recording: from cut to cut and from page to page, each with its best picture and the text on the screen.

Pictures are decided upon some seconds after they were decoded, when it is known whether they lie in a dissolve or
beside a cut. What waits is bounded: small pictures, and two full ones a second.

Three stages work at once: decoding and shrinking, looking for cuts, and choosing pictures and reading them.
"""

import io
import math
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from sensorium.loaders._media.ahead import ahead
from sensorium.loaders._media.cuts import LAG_S, Cut, CutFinder, Small
from sensorium.loaders._media.frames import Damage, Film, Shrinker, Still, stills
from sensorium.loaders._media.pace import Paced
from sensorium.loaders._media.pages import PageFinder
from sensorium.loaders._media.screen_text import WIDTH, Gray, ScreenText
from sensorium.loaders._media.screen_text import Shown as ShownText
from sensorium.loaders._media.spans import Shown
from sensorium.loaders.base import Advance
from sensorium.ocr_types import OcrEngine

if TYPE_CHECKING:
    from PIL.Image import Image

LOOK_S = 0.4
"""Seconds between the pictures of which a scene's picture is chosen, and in which text is looked for."""
_DELAY_S = LAG_S + 0.8  # a dissolve is known by then, its beginning too
_LONGEST = 1920  # pixels of the longer side of what waits and is read
_EDGE_S = 0.25  # pictures beside a cut are worse
_SAME_S = 0.0005
_TELL_S = 20.0  # seconds of the recording after which is told how far it is
_BLACK_S = 3.0  # a shorter black scene is part of the next one
_LONGEST_LAST_S = 60.0  # for which the last picture is shown at most
_SNAP_S = 0.1  # from the end of the pictures as the header says
_LOOKS_AHEAD = 12  # pictures that wait while others are read
_STILLS_AHEAD, _PIXELS_AHEAD = 4, 8_000_000  # decoded pictures that wait, and their pixels
# What a picture's score loses: in a dissolve, beside a cut, where nothing is to be seen.
_MIXED_COSTS, _BESIDE_COSTS, _EMPTY_COSTS = 6.0, 1.0, 4.0
_DARK = 24.0  # mean shade below which nothing is to be seen
_FLAT = 8.0  # spread of the shades below which nothing is to be seen
_LEAST = 16  # pixels of the shades, of bands much wider than high


@dataclass(frozen=True, slots=True)
class Scene:
    """A stretch between two cuts or changes of page.

    Attributes:
        start_s: Time of its first picture.
        end_s: When the next scene begins, or the pictures end.
        at_s: Time of the chosen picture.
        picture: The chosen picture, upright, as JPEG.
        width: Its pixels.
        height: Its pixels.
        texts: What stood on the screen, in order of time.
    """

    start_s: float
    end_s: float
    at_s: float
    picture: bytes
    width: int
    height: int
    texts: tuple[ShownText, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """A picture that may be chosen.

    Attributes:
        time_s: When it is shown.
        still: The picture, at most `_LONGEST` pixels wide and high, upright.
        gray: Its shades, `screen_text.WIDTH` pixels across.
        score: How good a picture it is; see `_goodness`.
        empty: Whether nothing is to be seen.
    """

    time_s: float
    still: Any
    gray: NDArray[np.uint8]
    score: float
    empty: bool

    def image(self) -> "Image":
        """The picture for Pillow."""
        return cast("Image", self.still.to_image())

    def jpeg(self, longest: int) -> tuple[bytes, int, int]:
        """The picture as JPEG, its longer side at most `longest` pixels, and its width and height."""
        image = self.image()
        image.thumbnail((longest, longest))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=85)
        return buffer.getvalue(), image.width, image.height


@dataclass(frozen=True, slots=True)
class _Passed:
    """A picture of which is known what lies around it.

    Attributes:
        time_s: When it is shown.
        look: The picture, if it may be chosen.
    """

    time_s: float
    look: Look | None


@dataclass(frozen=True, slots=True)
class _Over:
    """The pictures end, with this one, at this time."""

    still: Still
    end_s: float


_Event = Cut | _Passed | Advance | _Over


@dataclass(slots=True)
class _Open:
    """The scene that goes on."""

    start_s: float
    text: ScreenText
    best: Look | None = None
    score: float = -1e9


class SceneFinder:
    """Finds the scenes of a film.

    Args:
        film: Which.
        ocr: Reads the text on the screen; None: nobody does.
        max_scene_s: Longer scenes are cut.
        picture_px: Longer side of the chosen pictures.
    """

    def __init__(self, film: Film, ocr: OcrEngine | None, max_scene_s: float, picture_px: int) -> None:
        self._film, self._ocr = film, ocr
        self._max_scene_s, self._picture_px = max_scene_s, picture_px
        self._shrinker = Shrinker(film)
        self._passed: list[Cut] = []

    def scenes(self, damage: Damage, start_s: float = 0.0) -> Generator[Scene | Advance, None, None]:
        """Scenes from a time on, which is the start of a scene, and from time to time how far it is.

        Args:
            damage: Is told about pictures that cannot be decoded.
            start_s: Where to begin.

        Raises:
            LoadError: the file cannot be opened.
        """
        cuts = deque[Cut]()
        self._open: _Open | None = None
        self._reader = Paced(self._ocr, start_s) if self._ocr is not None else None
        with closing(ahead(self._watched(damage, start_s), _LOOKS_AHEAD)) as watched:
            for event in chain.from_iterable(watched):
                if isinstance(event, _Passed):
                    yield from self._take(event.time_s, event.look, cuts)
                elif isinstance(event, Cut):
                    cuts.append(event)
                elif isinstance(event, Advance):
                    yield event
                elif self._open is not None:
                    if self._open.best is None:
                        self._open.best = ready(self._film, event.still)
                    yield from self._close(event.end_s, last=True)

    def _watched(self, damage: Damage, start_s: float) -> "Generator[Sequence[_Event], None, None]":
        """What is to be seen, in order; a list holds at most one picture that may be chosen, at its end."""
        finder, pages, events = CutFinder(), PageFinder(LOOK_S), list[_Event]()
        waiting: deque[_Passed] = deque()
        told, last, length = start_s, start_s, self._film.frame_s
        before = still = None
        next_look = _next_look(start_s - 3 * _SAME_S)
        with closing(ahead(self._shrunk(damage, start_s), _stills_ahead(self._film))) as shrunk:
            for still, small, shades in shrunk:
                if before is not None and waiting[-1].look is None and still.time_s - last > LOOK_S:
                    waiting[-1] = _Passed(last, self._look(before, pages))  # it stood for long
                length = still.time_s - last if waiting else length
                before, last = still, still.time_s
                pages.pass_by(last, shades)
                look = None
                if last >= next_look:
                    look, next_look = self._look(still, pages), _next_look(last)
                events += pages.settle(finder.add(last, small), last)
                waiting.append(_Passed(last, look))
                while waiting[0].time_s < last - _DELAY_S:
                    events.append(passed := waiting.popleft())
                    if passed.look is not None:
                        yield events
                        events = []
                if last - told >= _TELL_S:
                    told = last
                    events.append(Advance(last, self._film.media.duration_s))
        pages.stand(last + length)
        yield [*events, *pages.settle(finder.finish(), math.inf)]
        yield from ([passed] for passed in waiting)
        if still is not None:
            yield [_Over(still, _end(self._film, still, length))]

    def _shrunk(self, damage: Damage, start_s: float) -> "Generator[tuple[Still, Small, Gray], None, None]":
        for still in stills(self._film, damage, start_s):
            yield still, *self._shrinker.both(still.frame)

    def _look(self, still: Still, pages: PageFinder) -> Look:
        look = ready(self._film, still)
        pages.look(still.time_s, look.gray)
        return look

    def _take(self, time: float, look: Look | None, cuts: deque[Cut]) -> Iterator[Scene]:
        """Add a picture to its scene; gives the scene that ended before it."""
        self._passed = [cut for cut in self._passed if cut.to_s + _EDGE_S >= time]
        while cuts and cuts[0].at_s <= time + _SAME_S:
            self._passed.append(cuts.popleft())
            yield from self._close(time)
        if self._open is not None and time - self._open.start_s >= self._max_scene_s - _SAME_S:
            yield from self._close(time)
        if self._reader is not None:
            self._reader.at(time)
        scene = self._open = self._open or _Open(time, ScreenText(self._reader, time))
        if look is None:
            return
        beside = any(cut.from_s - _EDGE_S <= time <= cut.to_s + _EDGE_S for cut in (*self._passed, *cuts))
        mixed = any(cut.from_s <= time < cut.to_s for cut in (*self._passed, *cuts))
        score = look.score - (_MIXED_COSTS if mixed else _BESIDE_COSTS if beside else 0.0)
        if scene.best is None or score > scene.score:
            scene.best, scene.score = look, score
        if not mixed:
            scene.text.see(time, look.gray, look.image)

    def _close(self, end_s: float, last: bool = False) -> Iterator[Scene]:
        """End the open scene; one of which no picture was looked at goes on, and so does a short black one."""
        scene = self._open
        if scene is None or scene.best is None:
            return
        if scene.best.empty and not last and end_s - scene.start_s < _BLACK_S:
            return
        self._open = None
        texts = scene.text.finish(end_s)
        yield Scene(scene.start_s, end_s, scene.best.time_s, *scene.best.jpeg(self._picture_px), texts)


def _end(film: Film, still: Still, length: float) -> float:
    """When the last picture is over: after its own length or that of the one before it; or as the header says.

    The header of a file that was cut off says nothing true.
    """
    own = float((still.frame.duration or 0) * (still.frame.time_base or 0))
    end = still.time_s + min(own or length, _LONGEST_LAST_S)
    return film.end_s if abs(film.end_s - end) < _SNAP_S else end


def _stills_ahead(film: Film) -> int:
    """How many decoded pictures may wait: fewer large ones."""
    return max(1, min(_STILLS_AHEAD, _PIXELS_AHEAD // max(1, film.video.width * film.video.height)))


def _next_look(time: float) -> float:
    """The first time after this one at which a picture is looked at, wherever the stream began."""
    return (math.floor((time + 2 * _SAME_S) / LOOK_S) + 1) * LOOK_S - _SAME_S


def ready(film: Film, still: Still) -> Look:
    """A picture made upright, with its shades."""
    upright = Shown(still.frame, still.time_s, film.video.rotation).upright(_LONGEST)
    height = max(_LEAST, round(WIDTH * upright.height / upright.width))
    gray = upright.reformat(width=WIDTH, height=height, format="gray", interpolation="AREA").to_ndarray()
    return Look(still.time_s, upright, gray, *_goodness(gray))


def _goodness(gray: NDArray[np.uint8]) -> tuple[float, bool]:
    """How much there is to be seen, sharply: the logarithm of the contours' energy; and whether there is nothing."""
    import cv2

    sharp = float(cv2.Laplacian(gray, cv2.CV_32F).var())
    empty = float(gray.std()) < (3 * _FLAT if float(gray.mean()) < _DARK else _FLAT)
    return float(np.log1p(sharp)) - (_EMPTY_COSTS if empty else 0.0), empty
