"""The pieces of a recording that a clip is made of: frames, samples, or packets as they are, between two times."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.loaders._media.probe import SoundStream, VideoStream, open_media

# Times in evidence are rounded; a bound this near to a frame means that frame.
_NEAR_S = 0.01
# Jumps to an earlier place, in seconds, when the first was too late (some containers have no index).
_BACK_S = (0.0, 5.0, 30.0, 1e9)
_GAP_S = 0.03  # larger gaps in the timestamps of sound are filled with silence
_AHEAD = 64  # packets behind the end of a copy that are looked at for parts of it


@dataclass(frozen=True, slots=True)
class Cut:
    """A span of a recording.

    Attributes:
        path: The recording.
        start_s: Seconds from the start of the presentation.
        end_s: Where it ends.
        origin_s: Timestamp at which the presentation starts (`Media.start_s`).
    """

    path: Path
    start_s: float
    end_s: float
    origin_s: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end_s - self.start_s

    def moved(self, start_s: float | None) -> "Cut":
        """The span with another start and the same length."""
        return self if start_s is None else replace(self, start_s=start_s, end_s=start_s + self.seconds)

    def snapped(self, first_s: float, video: VideoStream) -> float:
        """Where the clip starts: at its first frame, unless that one was on show long before."""
        return first_s if abs(first_s - self.start_s) <= near(video) else self.start_s


@dataclass(frozen=True, slots=True)
class Shown:
    """A decoded frame and when it is shown.

    Attributes:
        frame: As decoded.
        time_s: Seconds from the start of the presentation.
        rotation: Degrees counter-clockwise to turn it by.
    """

    frame: Any
    time_s: float
    rotation: int

    def upright(self, longest: int, form: str = "yuv420p") -> Any:
        """The frame as it is to be seen: turned, with square pixels.

        Args:
            longest: Most pixels of the longer side.
            form: Pixel format; sides are even in yuv420p.
        """
        import av

        frame, step = self.frame, 2 if form == "yuv420p" else 1
        width, height = _square(frame)
        scale = min(1.0, longest / max(width, height))
        width, height = (max(step, round(side * scale / step) * step) for side in (width, height))
        turns = round(self.rotation / 90) % 4
        if not turns:
            return frame.reformat(width=width, height=height, format=form)
        pixels = np.rot90(frame.reformat(width=width, height=height, format="rgb24").to_ndarray(), turns)
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(format=form)


@dataclass(frozen=True, slots=True)
class Copied:
    """Packets of a picture stream that make a clip as they are.

    Attributes:
        packets: In decoding order.
        start_s: Time of the first frame.
        end_s: When the last one is over.
        origin_s: See `Cut`.
    """

    packets: tuple[Any, ...]
    start_s: float
    end_s: float
    origin_s: float

    def into(self, stream: Any) -> list[Any]:
        """The packets, for another file that starts with them."""
        base = self.packets[0].time_base
        first = round((self.start_s + self.origin_s) / base)
        # What is behind the last packet in decoding order: files add up lengths in that order.
        length = round((self.end_s - self.start_s) / base)
        self.packets[-1].duration = max(1, length - (self.packets[-1].dts - self.packets[0].dts))
        for packet in self.packets:
            packet.pts -= first
            packet.dts -= first
            packet.stream = stream
        return list(self.packets)


def near(video: VideoStream) -> float:
    """How near to a frame a time has to be to mean it, in seconds."""
    return min(_NEAR_S, 0.5 / video.fps) if video.fps > 0 else _NEAR_S


def pictures(cut: Cut, video: VideoStream, near_s: float) -> Iterator[Shown]:
    """The frame on show at the start of a span, and those that follow up to its end; none where nothing decodes.

    Args:
        cut: The span.
        video: Which pictures.
        near_s: How much later than a bound a frame may be to count as being there.

    Raises:
        LoadError: the file cannot be opened.
    """
    current: Shown | None = None
    for shown in _decoded_from(cut, video, cut.start_s + near_s):
        if current is not None and shown.time_s > cut.start_s + near_s:
            yield current
            if shown.time_s >= cut.end_s - near_s:
                return
        current = shown
    if current is not None:
        yield current


def _decoded_from(cut: Cut, video: VideoStream, latest_s: float) -> Iterator[Shown]:
    """Decoded frames, beginning at or before a time if there is one there."""
    for back in _BACK_S:
        at_start = cut.start_s - back <= 0
        with open_media(cut.path) as container:
            stream: Any = container.streams[video.index]
            stream.thread_type = "AUTO"
            if not at_start:
                _seek(container, stream, cut.start_s - back + cut.origin_s)
            frames = _frames(container, stream, cut.origin_s, video)
            first = next(frames, None)
            if first is not None and (first.time_s <= latest_s or at_start):
                yield first
                yield from frames
                return
        if at_start:
            return


def _frames(container: Any, stream: Any, origin_s: float, video: VideoStream) -> Iterator[Shown]:
    time = -1.0 / (video.fps or 25.0)
    for frame in _decode(container, stream):
        # A frame without a time of its own follows the one before.
        time = frame.time - origin_s if frame.time is not None else time + 1.0 / (video.fps or 25.0)
        yield Shown(frame, time, video.rotation)


def _decode(container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames of a stream; damaged packets are left out, a damaged rest ends it."""
    import av

    with suppress(av.error.EOFError):
        for packet in _demux(container, stream):
            try:
                yield from packet.decode()
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, ValueError):
                continue


def _demux(container: Any, stream: Any) -> Iterator[Any]:
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, OSError):
            return
        if packet is None:
            return
        yield packet


def _seek(container: Any, stream: Any, time_s: float) -> None:
    """Go to the last key frame at or before a timestamp, or leave it at the start."""
    import av

    with suppress(av.error.FFmpegError, OSError):
        container.seek(int(time_s / stream.time_base), stream=stream, backward=True)


def _square(frame: Any) -> tuple[int, int]:
    """Size of a frame with square pixels."""
    width, height = frame.width, frame.height
    aspect = getattr(frame, "sample_aspect_ratio", None)
    return (round(width * aspect), height) if aspect and 0.1 < aspect < 10 else (width, height)


def copied(cut: Cut, video: VideoStream, most_bytes: int) -> Copied | None:
    """The packets of a span that make a clip as they are; None where a bound falls between key frames.

    Raises:
        LoadError: the file cannot be opened.
    """
    if video.codec != "h264" or video.rotation or max(video.width, video.height) > 1920:
        return None
    near_s = near(video)
    with open_media(cut.path) as container:
        stream: Any = container.streams[video.index]
        context = stream.codec_context
        if context.pix_fmt not in ("yuv420p", "yuvj420p") or not context.extradata or _stretched(stream):
            return None
        if cut.start_s > near_s:
            _seek(container, stream, cut.start_s + near_s + cut.origin_s)
        packets = _packets(container, stream, cut, near_s, most_bytes)
    if not packets:
        return None
    first, last = packets[0], packets[-1]
    if float((last.dts - first.dts) * first.time_base) >= cut.seconds:
        return None  # frames of different lengths, reordered: their times cannot be kept
    start = float(first.pts * first.time_base) - cut.origin_s
    return Copied(tuple(packets), start, start + cut.seconds, cut.origin_s)


def _stretched(stream: Any) -> bool:
    aspect = stream.sample_aspect_ratio
    return bool(aspect) and aspect != 1


def _packets(container: Any, stream: Any, cut: Cut, near_s: float, most_bytes: int) -> list[Any]:
    """Packets from a key frame at the start to one at the end, in decoding order; none if that is not what is there."""
    taken: list[Any] = []
    behind = size = 0
    for packet in _demux(container, stream):
        if packet.pts is None or packet.dts is None:
            if packet.size:
                return []
            continue
        time = float(packet.pts * stream.time_base) - cut.origin_s
        if not taken and (not packet.is_keyframe or abs(time - cut.start_s) > near_s):
            return []
        if time >= cut.end_s - near_s:
            behind += 1
            if behind > _AHEAD or packet.is_keyframe:
                break
            continue
        if behind or (taken and packet.pts < taken[0].pts):
            return []
        taken.append(packet)
        size += packet.size
        if size > most_bytes:
            return []
    return taken


def samples(cut: Cut, sound: SoundStream, rate: int, layout: str) -> Iterator[NDArray[np.float32]]:
    """Samples of a span in blocks of shape (channels, n), n <= 1024; none where nothing of it can be decoded.

    Gaps and the rest of the span are silence.

    Raises:
        LoadError: the file cannot be opened.
    """
    wanted = round(cut.seconds * rate)
    at = 0
    for time, block in _resampled(cut, sound, rate, layout):
        position = round((time - cut.start_s) * rate)
        if position > at + _GAP_S * rate:
            gap = min(position, wanted) - at
            yield from _blocks(np.zeros((block.shape[0], gap), np.float32))
            at += gap
        elif position < at - _GAP_S * rate or not at:
            block = block[:, max(0, at - position) :]
        block = block[:, : wanted - at]
        yield from _blocks(block)
        at += block.shape[1]
        if at >= wanted:
            return
    if at:
        channels = 2 if layout == "stereo" else 1
        yield from _blocks(np.zeros((channels, wanted - at), np.float32))


def _blocks(block: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for first in range(0, block.shape[1], 1024):
        yield np.ascontiguousarray(block[:, first : first + 1024])


def _resampled(cut: Cut, sound: SoundStream, rate: int, layout: str) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Time and samples of decoded pieces that reach into the span."""
    import av

    with open_media(cut.path) as container:
        stream: Any = container.streams[sound.index]
        if cut.start_s > 1:
            _seek(container, stream, cut.start_s + cut.origin_s - 0.5)
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        time = 0.0
        for frame in _decode(container, stream):
            time = frame.time - cut.origin_s if frame.time is not None else time
            length = frame.samples / (frame.sample_rate or rate)
            if time + length > cut.start_s - 0.1:
                for piece in resampler.resample(frame):
                    yield _time(piece, time, cut), piece.to_ndarray().astype(np.float32, copy=False)
            time += length
            if time > cut.end_s + 0.5:
                return


def _time(piece: Any, fallback: float, cut: Cut) -> float:
    return float(piece.pts * piece.time_base) - cut.origin_s if piece.pts is not None else fallback
