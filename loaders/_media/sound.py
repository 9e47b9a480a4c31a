"""The sound of a recording as speech engines take it: mono, 16 kHz, as a stream, cut into parts at pauses."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.errors import LoadError
from sensorium.loaders._media.probe import Media, open_media
from sensorium.speech_types import SAMPLE_RATE, Sound, pause

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

PART_S = 60.0  # seconds of a part
_SEARCH_S = 20.0  # of them, those in which the pause for the cut is looked for
_GAP_S = 0.2  # a hole in the times that is more than rounding
_MOST_FAULTS = 1000


@dataclass(frozen=True)
class Block:
    """A stretch of sound without holes.

    Attributes:
        start_s: Seconds from the start of the presentation.
        sound: Mono, `SAMPLE_RATE`.
    """

    start_s: float
    sound: Sound

    @property
    def end_s(self) -> float:
        """Where it ends."""
        return self.start_s + len(self.sound) / SAMPLE_RATE


@dataclass
class Damage:
    """What could not be decoded.

    Attributes:
        packets: Pieces of sound that were left out.
        reason: What FFmpeg said of the last of them.
    """

    packets: int = 0
    reason: str = ""


def blocks(path: Path, media: Media, stream: int, damage: Damage) -> Iterator[Block]:
    """Sound as it is decoded, in small blocks.

    Args:
        path: The recording.
        media: What is in it.
        stream: Index of the sound stream.
        damage: Is told what could not be decoded.

    Raises:
        LoadError: the stream cannot be opened.
    """
    import av

    with open_media(path) as container:
        source = container.streams[stream]
        resampler = _Mono()
        try:
            for packet in container.demux(source):
                try:
                    frames: list[Any] = list(packet.decode())
                except av.error.FFmpegError as fault:
                    damage.packets += 1
                    damage.reason = str(fault.strerror or fault)
                    if damage.packets > _MOST_FAULTS:
                        return
                    continue
                for frame in frames:
                    yield from resampler.take(frame, media.start_s)
        except (av.error.FFmpegError, OSError) as fault:
            damage.packets += 1
            damage.reason = str(getattr(fault, "strerror", "") or fault)
        yield from resampler.flush()


class _Mono:
    """Mixes and resamples frames, and keeps their times."""

    def __init__(self) -> None:
        self._resampler: Any = None
        self._shape: tuple[Any, ...] = ()
        self._next: float | None = None  # where the sound so far ends

    def take(self, frame: "AudioFrame", offset: float) -> Iterator[Block]:
        """Blocks of a frame; a hole in the times starts the clock anew."""
        shape = (frame.format.name, frame.sample_rate, len(frame.layout.channels))
        time = None if frame.pts is None or not frame.time_base else float(frame.pts * frame.time_base) - offset
        jumped = time is not None and self._next is not None and abs(time - self._next) > _GAP_S
        if shape != self._shape or jumped:
            yield from self.flush()
            self._begin(shape)
            self._next = time if time is not None else (self._next or 0.0)
        yield from self._made(_single(frame))

    def flush(self) -> Iterator[Block]:
        """What the resampler still holds."""
        if self._resampler is not None:
            yield from self._made(None)
            self._resampler = None
            self._shape = ()

    def _begin(self, shape: tuple[Any, ...]) -> None:
        import av

        self._shape = shape
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)

    def _made(self, frame: "AudioFrame | None") -> Iterator[Block]:
        import av

        try:
            made = self._resampler.resample(frame)
        except (av.error.FFmpegError, ValueError) as fault:
            raise LoadError(f"its sound cannot be converted: {fault}") from fault
        for one in made:
            sound = np.ascontiguousarray(one.to_ndarray().reshape(-1), np.float32)
            start = self._next or 0.0
            self._next = start + len(sound) / SAMPLE_RATE
            # Sound from before the start of the presentation (an encoder's run-in) is not heard.
            early = round(max(0.0, -start) * SAMPLE_RATE)
            if sound[early:].size:
                yield Block(max(start, 0.0), np.nan_to_num(sound[early:], posinf=0.0, neginf=0.0))


def _single(frame: "AudioFrame") -> "AudioFrame":
    """A frame with one channel where FFmpeg has no rule for mixing so many: their mean."""
    import av

    if len(frame.layout.channels) <= 8:
        return frame
    values = frame.to_ndarray()
    channels = len(frame.layout.channels)
    lanes = values if frame.format.is_planar else values.reshape(-1, channels).T
    mono = lanes.astype(np.float32).mean(axis=0, keepdims=True)
    if values.dtype == np.uint8:
        mono = (mono - 128) / 128
    elif values.dtype.kind == "i":
        mono = mono / 2.0 ** (8 * values.dtype.itemsize - 1)
    single = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono, np.float32), format="fltp", layout="mono")
    single.sample_rate = frame.sample_rate
    single.pts, single.time_base = frame.pts, frame.time_base
    return single


def parts(stream: Iterator[Block]) -> Iterator[Block]:
    """Parts of up to a minute, cut at pauses and at holes in the sound; only one is held at a time."""
    held: list[Sound] = []
    start, length = 0.0, 0
    for block in stream:
        end = start + length / SAMPLE_RATE
        if held and abs(block.start_s - end) > _GAP_S:
            yield Block(start, np.concatenate(held))
            held, length = [], 0
        if not held:
            start = block.start_s
        held.append(block.sound)
        length += len(block.sound)
        if length > PART_S * SAMPLE_RATE:
            sound = np.concatenate(held)
            cut = round(pause(sound, PART_S - _SEARCH_S, PART_S) * SAMPLE_RATE)
            yield Block(start, sound[:cut])
            held, length, start = [sound[cut:]], len(sound) - cut, start + cut / SAMPLE_RATE
    if held and length:
        yield Block(start, np.concatenate(held))
