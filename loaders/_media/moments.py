"""Pictures of a recording at fixed intervals, or its key pictures, in place of scenes."""

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np

from sensorium.loaders._media.frames import Damage, Film, Still, stills
from sensorium.loaders._media.pace import Paced
from sensorium.loaders._media.scenes import Scene, ready
from sensorium.loaders._media.screen_text import Shown, lines_of
from sensorium.loaders.base import Advance
from sensorium.ocr_types import OcrEngine

_JUMP_S = 5.0  # intervals from which on it is quicker to jump than to decode what lies between
_CHANGED = 1.5  # mean difference in shades from which on a picture is read again
_TELL_S = 20.0


def moments(film: Film, ocr: OcrEngine | None, every_s: float | None, picture_px: int,
            damage: Damage, start_s: float = 0.0) -> Generator[Scene | Advance, None, None]:  # fmt: skip
    """Pictures as scenes that last until the next one.

    Args:
        film: Which.
        ocr: Reads the text on the screen; None: nobody does.
        every_s: Seconds from one to the next; None: the key pictures.
        picture_px: Longer side of the pictures.
        damage: Is told about pictures that cannot be decoded.
        start_s: Where to begin.

    Raises:
        LoadError: the file cannot be opened.
    """
    pictures = stills(film, damage, start_s, keys=True) if every_s is None else _every(film, every_s, damage, start_s)
    told = start_s
    held: Still | None = None
    reader = _Reader(film, ocr)
    for still in pictures:
        if held is not None:
            yield reader.scene(held, still.time_s, picture_px)
        held = still
        if still.time_s - told >= _TELL_S:
            told = still.time_s
            yield Advance(told, film.media.duration_s)
    if held is not None:
        yield reader.scene(held, max(film.end_s, held.time_s + film.frame_s), picture_px)


def _every(film: Film, every_s: float, damage: Damage, start_s: float) -> Iterator[Still]:
    time = max(start_s, film.video.start_s)
    if every_s < _JUMP_S:
        for still in stills(film, damage, start_s):
            if still.time_s >= time - film.frame_s / 2:
                yield still
                time += every_s * max(1, round((still.time_s - time) / every_s) + 1)
        return
    last = -1.0
    while time < film.end_s:
        found = next(stills(film, damage, max(0.0, time - film.frame_s / 2)), None)
        if found is None:
            return
        if found.time_s > last:
            yield found
        last = found.time_s
        time += every_s


class _Reader:
    """Reads the text of pictures, of equal ones once."""

    def __init__(self, film: Film, ocr: OcrEngine | None) -> None:
        self._film = film
        self._ocr = Paced(ocr) if ocr is not None else None
        self._gray: Any = None
        self._lines: tuple[Shown, ...] = ()

    def scene(self, still: Still, end_s: float, picture_px: int) -> Scene:
        """A picture with its text and the time until the next one."""
        look = ready(self._film, still)
        if self._ocr is not None and self._is_new(look.gray):
            self._ocr.at(still.time_s)
            self._lines = lines_of(self._ocr, look.image())
            self._gray = look.gray
        texts = tuple(Shown(line.text, line.box, line.score, still.time_s, end_s) for line in self._lines)
        return Scene(still.time_s, end_s, still.time_s, *look.jpeg(picture_px), texts)

    def _is_new(self, gray: Any) -> bool:
        if self._gray is None or self._gray.shape != gray.shape:
            return True
        return float(np.abs(self._gray.astype(np.int16) - gray).mean()) > _CHANGED
