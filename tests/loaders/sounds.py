"""Sound files for tests, and an engine that hears tones."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from sensorium.errors import MissingExtraError
from sensorium.speech_types import SAMPLE_RATE, Segment, Sound, Word

Wave = NDArray[np.float32]
CODECS = {
    ".wav": "pcm_s16le", ".mp3": "libmp3lame", ".ogg": "libopus", ".opus": "libopus", ".flac": "flac", ".m4a": "aac",
    ".mka": "aac",
}  # fmt: skip


def beeps(seconds: float, rate: int = 16_000) -> Wave:
    """A fifth of a second of a tone at each whole second, silence between; shape (n,)."""
    time = np.arange(int(seconds * rate)) / rate
    wave: Wave = np.where(time % 1 < 0.2, 0.4 * np.sin(2 * np.pi * 500 * time), 0).astype(np.float32)
    return wave


def music(seconds: float, rate: int = 16_000) -> Wave:
    """Chords that fade, a melody with vibrato, and a beat."""
    random = np.random.default_rng(7)
    time = np.arange(int(seconds * rate)) / rate
    wave = np.zeros_like(time)
    for at in np.arange(0, seconds, 0.5):
        part = (time >= at) & (time < at + 0.5)
        note = 220 * 2 ** (random.integers(0, 24) / 12)
        for over in range(1, 6):
            wave[part] += np.sin(2 * np.pi * over * (note + 3 * np.sin(30 * time[part])) * time[part]) / over
            wave[part] += np.sin(2 * np.pi * over * 130.8 * time[part]) * np.exp(-4 * (time[part] % 0.5)) / over
    wave += np.where(time % 0.5 < 0.03, random.normal(0, 1, len(time)), 0)
    loud: Wave = (0.6 * wave / np.abs(wave).max()).astype(np.float32)
    return loud


def save(path: Path, *waves: Wave, rate: int = 16_000, codec: str = "", form: str | None = None, layout: str = "mono",
         tags: dict[str, str] | None = None, languages: Sequence[str] = (), default: int | None = None,
         hole: tuple[float, float] | None = None) -> Path:  # fmt: skip
    """Write a sound file.

    Args:
        path: Its suffix chooses container and encoder.
        *waves: One stream each: shape (n,), or (channels, n) for a `layout` of so many.
        rate: Samples a second.
        codec: Encoder.
        form: Container.
        layout: Of the channels.
        tags: Of the file.
        languages: Of the streams.
        default: Number of the stream that is marked as default.
        hole: A jump in the times: at so many seconds, by so many.
    """
    with av.open(str(path), "w", format=form) as target:
        target.metadata.update(tags or {})
        streams: list[Any] = []
        for number in range(len(waves)):
            stream: Any = target.add_stream(codec or CODECS[path.suffix], rate=rate, layout=layout)
            if languages:
                stream.metadata["language"] = languages[number]
            if default is not None:
                stream.disposition = av.stream.Disposition.default if number == default else av.stream.Disposition(0)
            streams.append(stream)
        for stream, wave in zip(streams, waves, strict=True):
            _encode(target, stream, np.atleast_2d(wave), rate, layout, hole)
    return path


def _encode(target: Any, stream: Any, wave: Wave, rate: int, layout: str, hole: tuple[float, float] | None) -> None:
    resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=stream.rate)
    size = stream.codec_context.frame_size or 1024
    fifo = av.AudioFifo()
    for first in range(0, wave.shape[1], 4096):
        block = np.ascontiguousarray(wave[:, first : first + 4096], np.float32)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
        for made in resampler.resample(frame):
            made.pts = None
            fifo.write(made)
    at = 0
    while piece := fifo.read(size, partial=True):
        shift = hole[1] if hole and at / stream.rate >= hole[0] else 0.0
        piece.pts, piece.time_base = at + round(shift * stream.rate), Fraction(1, stream.rate)
        at += piece.samples
        target.mux(stream.encode(piece))
    target.mux(stream.encode(None))


class Ear:
    """An engine that hears a word in each tone and calls it by what `name` makes of its number.

    Attributes:
        heard: Seconds of each sound that it got.
    """

    def __init__(self, revision: str = "ear-1", name: Callable[[int], str] = "tone{}.".format) -> None:
        self.revision = revision
        self.heard: list[float] = []
        self._name = name
        self._count = 0

    def transcribe(self, sound: Sound) -> list[Segment]:
        self.heard.append(len(sound) / SAMPLE_RATE)
        loud = np.flatnonzero(np.abs(sound) > 0.1)
        starts = [int(at) for n, at in enumerate(loud) if not n or at - loud[n - 1] > 3200]
        found = []
        for start in starts:
            word = Word(self._name(self._count), start / SAMPLE_RATE, start / SAMPLE_RATE + 0.2, 0.9)
            found.append(Segment(word.text, word.start_s, word.end_s, (word,), "en", 0.9))
            self._count += 1
        return found


class Uninstalled:
    """What a worker has where the extra is missing."""

    @property
    def revision(self) -> str:
        raise MissingExtraError("Speech recognition", "faster-whisper", "speech")

    def transcribe(self, sound: Sound) -> list[Segment]:
        raise AssertionError("not reached")
