"""Decoded pictures of a recording as a stream, with their exact times; damaged ones are left out and named."""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.clock import clock
from sensorium.errors import LoadError
from sensorium.loaders._media.cuts import SIZE, Small
from sensorium.loaders._media.probe import Media, VideoStream, open_media
from sensorium.loaders.base import Fault, Limits

_NEAR_S = 0.0005  # times went through floats
_THREADS = 2
_LARGE = 9_000_000  # pixels from which on one thread decodes: each holds some pictures
_MOST_ERRORS = 2000  # packets in a row that cannot be decoded: the rest is lost
_MOST_FAULTS = 10
_GAP_S = 1.0  # damage within that of other damage is one
_LOOKS = 9  # pictures that are looked at for black bars
_BLACK = 32  # brightest shade of a black bar (16 is black, coding adds some noise)
_LEAST = 0.3  # share of the height or width that is left between bars


@dataclass(frozen=True, slots=True)
class Film:
    """The pictures of a recording that are looked at.

    Attributes:
        path: The recording.
        media: What is in it.
        video: Its picture stream.
    """

    path: Path
    media: Media
    video: VideoStream

    @property
    def frame_s(self) -> float:
        """Seconds that a picture is shown, on average."""
        return 1 / self.video.fps if self.video.fps > 0 else 0.04

    @property
    def end_s(self) -> float:
        """Where its pictures end, as the header says."""
        return self.video.start_s + self.video.duration_s


@dataclass(frozen=True, slots=True)
class Still:
    """A decoded picture and the time at which it is shown, in seconds from the start of the presentation."""

    time_s: float
    frame: Any


@dataclass
class Damage:
    """Where pictures could not be decoded, in seconds."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    lost_from: float | None = None

    def at(self, time: float) -> None:
        """Note a damaged picture."""
        if self.spans and time - self.spans[-1][1] <= _GAP_S:
            self.spans[-1] = (self.spans[-1][0], max(time, self.spans[-1][1]))
        else:
            self.spans.append((time, time))

    def between(self, start_s: float, end_s: float) -> "Damage":
        """What of it lies between two times; what follows is looked at again by whoever goes on there."""
        spans = [
            (max(start, start_s), min(end, end_s)) for start, end in self.spans if start < end_s and end >= start_s
        ]
        return Damage(spans, self.lost_from if end_s == math.inf else None)

    def faults(self) -> Iterator[Fault]:
        """What a person should know."""
        for start, end in self.spans[:_MOST_FAULTS]:
            where = clock(start) if end - start < 1 else f"{clock(start)} to {clock(end)}"
            yield Fault("pictures are damaged and were left out", f"at {where}")
        if len(self.spans) > _MOST_FAULTS:
            yield Fault(f"pictures are damaged at {len(self.spans) - _MOST_FAULTS} more places")
        if self.lost_from is not None:
            yield Fault("the pictures after that cannot be read", f"at {clock(self.lost_from)}")


def check_pixels(film: Film, limits: Limits) -> None:
    """Refuse pictures that are too large, before any is decoded.

    Raises:
        LoadError: they have more pixels than the limit.
    """
    width, height = film.video.width, film.video.height
    if width * height > limits.pixels * 1e6:
        raise LoadError(
            f"its pictures are {width} x {height} pixels, over the limit of {limits.pixels:g} million.",
            "Raise index.limits.pixels to read them.",
        )


def stills(film: Film, damage: Damage, start_s: float = 0.0, keys: bool = False) -> Generator[Still, None, None]:
    """Decoded pictures from a time on, in order; memory does not grow with the length.

    Args:
        film: What to decode.
        damage: Is told about pictures that cannot be decoded.
        start_s: The first picture is the first one shown at or after this time.
        keys: Only key pictures, which need no others.

    Raises:
        LoadError: the file cannot be opened.
    """
    for jump in (True, False) if start_s > film.video.start_s else (False,):
        with open_media(film.path) as container:
            stream: Any = container.streams[film.video.index]
            _prepare(stream, keys)
            if jump and not _jump(container, stream, start_s + film.media.start_s):
                continue
            frames = _timed(container, stream, film, damage)
            first = next(frames, None)
            if jump and (first is None or first.time_s > start_s + film.frame_s):
                continue  # no index: from the start, then
            if first is not None and first.time_s >= start_s - _NEAR_S:
                yield first
            yield from (still for still in frames if still.time_s >= start_s - _NEAR_S)
            return


def _prepare(stream: Any, keys: bool) -> None:
    context = stream.codec_context
    context.thread_type = "AUTO"
    context.thread_count = 1 if context.width * context.height > _LARGE else _THREADS
    if keys:
        context.skip_frame = "NONKEY"


def _jump(container: Any, stream: Any, time: float) -> bool:
    import av

    try:
        container.seek(int(time / stream.time_base), stream=stream, backward=True)
    except (av.error.FFmpegError, OSError):
        return False
    return True


def _timed(container: Any, stream: Any, film: Film, damage: Damage) -> Iterator[Still]:
    """Whole pictures with rising times."""
    last = film.video.start_s - film.frame_s
    for frame in _decoded(container, stream, film, damage):
        if frame is None:
            damage.at(max(last, 0.0))
            continue
        time = frame.time - film.media.start_s if frame.time is not None else last + film.frame_s
        if time <= last + _NEAR_S and last >= film.video.start_s:
            continue
        if frame.is_corrupt:
            damage.at(max(time, 0.0))
            last = time
            continue
        last = time
        yield Still(max(time, 0.0), frame)


def _decoded(container: Any, stream: Any, film: Film, damage: Damage) -> Iterator[Any]:
    """Decoded pictures; None for a packet that cannot be decoded."""
    import av

    packets, errors, position = container.demux(stream), 0, 0.0
    while True:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, OSError):
            damage.lost_from = max(position, 0.0)
            return
        if packet is None:
            return
        if packet.pts is not None:
            position = float(packet.pts * stream.time_base) - film.media.start_s
        try:
            yield from packet.decode()
            errors = 0
        except av.error.EOFError:
            return
        except (av.error.FFmpegError, ValueError):
            errors += 1
            if errors > _MOST_ERRORS:
                damage.lost_from = max(position, 0.0)
                return
            yield None


class Shrinker:
    """Makes the small pictures in which cuts are looked for, without the black bars around the picture.

    Args:
        film: Whose pictures they are; some are looked at to find the bars.
    """

    def __init__(self, film: Film) -> None:
        from av.video.reformatter import VideoReformatter

        # One for all pictures: setting up the scaler costs more than scaling.
        self._scaler = VideoReformatter()
        self._turns = film.video.rotation // 90
        self._box: tuple[slice, slice] | None = None
        self._box = _bars(film, self)

    def small(self, frame: Any) -> Small:
        """The picture at `SIZE`."""
        return self.both(frame)[0]

    def both(self, frame: Any) -> tuple[Small, NDArray[np.uint8]]:
        """The picture at `SIZE`, and the upright shades of all of it, bars too."""
        width, height = SIZE
        scaled = self._scaler.reformat(frame, width, height, "yuv444p", interpolation="AREA")
        planes = [
            np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)[:, :width]
            for plane in scaled.planes
        ]
        shades = np.rot90(planes[0], self._turns)
        if self._box is None:
            return np.stack(planes), shades
        import cv2

        rows, columns = self._box
        return np.stack([cv2.resize(np.ascontiguousarray(p[rows, columns]), SIZE) for p in planes]), shades


def _bars(film: Film, shrinker: Shrinker) -> tuple[slice, slice] | None:
    """Rows and columns between black bars; None where there are no bars."""
    brightest = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    for look in range(_LOOKS):
        time = film.video.start_s + film.video.duration_s * (look + 0.5) / _LOOKS
        still = next(stills(film, Damage(), time, keys=True), None)
        if still is not None:
            brightest = np.maximum(brightest, shrinker.small(still.frame)[0])
    rows, columns = (np.flatnonzero(brightest.max(axis) > _BLACK) for axis in (1, 0))
    if not len(rows) or (len(rows) == SIZE[1] and len(columns) == SIZE[0]):
        return None
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    shares = ((cut.stop - cut.start) / side for cut, side in zip(box, (SIZE[1], SIZE[0]), strict=True))
    return box if min(shares) >= _LEAST else None
