"""A picture of a stretch of sound: its level over time, with the cited span marked."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sensorium.clock import clock, span
from sensorium.errors import EvidenceError, LoadError
from sensorium.loaders._media.probe import Media, SoundStream
from sensorium.loaders._media.spans import Cut, samples
from sensorium.loaders.base import Picture

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

WIDTH, HEIGHT = 1200, 320
_LEFT, _TOP, _BOTTOM = 20, 44, 40  # pixels around the drawn sound
_RATE = 8_000
_AROUND_S = 8.0  # least sound before and behind the span
_MOST_S = 900.0  # most sound that is decoded for one picture
_QUIET = 0.02  # sound below this peak is drawn as quiet as it is
_STEPS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300)
_INK, _MARK, _FAINT, _SPAN = (96, 104, 116), (20, 82, 160), (205, 210, 216), (255, 241, 200)


@dataclass(frozen=True)
class _Window:
    """What is drawn: seconds and the lowest and highest sample of each column, shape (columns,)."""

    start_s: float
    end_s: float
    low: NDArray[np.float32]
    high: NDArray[np.float32]

    def x(self, time_s: float) -> int:
        """The column of a time, in pixels of the picture."""
        share = (time_s - self.start_s) / (self.end_s - self.start_s)
        return _LEFT + round(min(1.0, max(0.0, share)) * (len(self.low) - 1))


def waveform(path: Path, start_s: float, end_s: float, media: Media, sound: SoundStream | None = None) -> Picture:
    """Draw the sound around a span, as PNG.

    Args:
        path: The recording.
        start_s: Start of the span, in seconds from the start of the presentation.
        end_s: Its end.
        media: What `probe` says of it.
        sound: Which sound; `media.sound` by default.

    Raises:
        EvidenceError: it has no sound, or none there can be decoded.
    """
    sound = sound or media.sound
    if sound is None:
        raise EvidenceError(f"{path.name} has no sound to draw.")
    first, last = _around(start_s, end_s, media.duration_s)
    try:
        window = _window(Cut(path, first, last, media.start_s), sound)
    except LoadError as fault:
        raise EvidenceError(f"{path.name} {fault.message}") from fault
    if window is None:
        raise EvidenceError(f"No sound of {path.name} can be decoded at {clock(start_s)}.")
    return Picture(_drawn(window, start_s, min(end_s, last)), "image/png")


def _around(start_s: float, end_s: float, duration_s: float) -> tuple[float, float]:
    """The stretch to draw: the span with as much again around it, at least some seconds."""
    more = max(_AROUND_S, (end_s - start_s) / 2)
    first, last = max(0.0, start_s - more), end_s + more
    if duration_s > 0:
        last = min(last, duration_s)
        first = max(0.0, min(first, last - 2 * more))
    return first, max(first + 0.1, min(last, first + _MOST_S))


def _window(cut: Cut, sound: SoundStream) -> _Window | None:
    columns = WIDTH - 2 * _LEFT
    low, high = np.zeros(columns, np.float32), np.zeros(columns, np.float32)
    found = False
    total = max(1, round(cut.seconds * _RATE))
    for at, block in _counted(samples(cut, sound, _RATE, "mono")):
        where = np.minimum((np.arange(at, at + len(block)) * columns) // total, columns - 1)
        np.minimum.at(low, where, block)
        np.maximum.at(high, where, block)
        found = True
    return _Window(cut.start_s, cut.end_s, low, high) if found else None


def _counted(blocks: Iterator[NDArray[np.float32]]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    at = 0
    for block in blocks:
        yield at, block[0]
        at += block.shape[1]


def _drawn(window: _Window, start_s: float, end_s: float) -> bytes:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    left, right = window.x(start_s), window.x(end_s)
    bottom = HEIGHT - _BOTTOM
    draw.rectangle((left, _TOP, right, bottom), fill=_SPAN)
    _axis(draw, window)
    middle = (_TOP + bottom) / 2
    peak = max(_QUIET, float(window.high.max()), -float(window.low.min()))
    scale = (bottom - _TOP) / 2 / peak
    for n, (low, high) in enumerate(zip(window.low, window.high, strict=True)):
        x = _LEFT + n
        colour = _MARK if left <= x <= right else _INK
        draw.line((x, middle - high * scale, x, middle - low * scale), fill=colour)
    for x in (left, right):
        draw.line((x, _TOP - 6, x, bottom), fill=_MARK, width=2)
    draw.text(((left + right) / 2, _TOP - 10), span(start_s, end_s), fill=_MARK, font=_font(20), anchor="mb")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _axis(draw: "ImageDraw", window: _Window) -> None:
    length = window.end_s - window.start_s
    step = next((s for s in _STEPS_S if length / s <= 12), _STEPS_S[-1])
    bottom = HEIGHT - _BOTTOM
    time = step * np.ceil(window.start_s / step)
    while time <= window.end_s:
        x = window.x(time)
        draw.line((x, _TOP, x, bottom + 5), fill=_FAINT)
        # Half seconds have no name of their own.
        if step >= 1 or time == round(time):
            draw.text((x, bottom + 9), clock(time), fill=_INK, font=_font(16), anchor="ma")
        time += step


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
