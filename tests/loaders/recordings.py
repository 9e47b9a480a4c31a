"""Recordings for tests: frames that bear their number, sound with a tone at each whole second."""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS = 10


def numbered(number: int, width: int = 320, height: int = 180) -> NDArray[np.uint8]:
    """A picture with a number in binary at its top, lowest bit left."""
    pixels = np.full((height, width, 3), 60, np.uint8)
    block = width // BITS
    for bit in range(BITS):
        pixels[: height // 3, bit * block : (bit + 1) * block] = 235 if number >> bit & 1 else 16
    return pixels


def number_of(image: Image.Image) -> int:
    """The number that a picture bears."""
    grey = np.asarray(image.convert("L"))
    height, block = grey.shape[0], grey.shape[1] // BITS
    strip = grey[height // 12 : height // 4]
    return sum(int(strip[:, b * block + block // 4 : (b + 1) * block - block // 4].mean() > 128) << b
               for b in range(BITS))  # fmt: skip


def tones(seconds: float, rate: int) -> NDArray[np.float32]:
    """0.1 s of a tone at each whole second, silence between; shape (n,)."""
    time = np.arange(int(seconds * rate)) / rate
    wave = 0.5 * np.sin(2 * np.pi * (400 + 40 * np.floor(time)) * time)
    return np.where(time % 1 < 0.1, wave, 0).astype(np.float32)


def write(path: Path, seconds: float = 6, *, fps: Fraction | int = 25, video: str = "libx264", sound: str = "aac",
          size: tuple[int, int] = (320, 180), rate: int = 44100, layout: str = "mono", gop: int = 50, rotation: int = 0,
          times: Sequence[float] = (), form: str | None = None, offset: int = 0) -> Path:  # fmt: skip
    """Write a recording.

    Args:
        path: Its suffix chooses the container, unless `form` does.
        seconds: Length.
        fps: Frames a second.
        video: Encoder of the pictures; "" for none.
        sound: Encoder of the sound; "" for none.
        size: Of the frames.
        rate: Samples a second.
        layout: "mono" or "stereo".
        gop: Frames from one key frame to the next.
        rotation: Degrees counter-clockwise for display.
        times: Times of the frames, in place of `fps`.
        form: Container.
        offset: Added to the numbers of the frames.
    """
    with av.open(str(path), "w", format=form) as target:
        if video:
            quick = {"deadline": "realtime", "cpu-used": "8"} if video.startswith("libvpx") else {}
            pictures: Any = target.add_stream(video, rate=Fraction(fps), options=quick)
            pictures.width, pictures.height, pictures.pix_fmt = *size, "yuv420p"
            pictures.codec_context.gop_size = gop
            pictures.codec_context.time_base = Fraction(1, 30_000)
            if rotation:
                pictures.set_display_rotation(rotation)
        if sound:
            heard: Any = target.add_stream(sound, rate=rate, layout=layout)
        if video:
            _pictures(target, pictures, times or [n / float(fps) for n in range(round(seconds * fps))], offset)
        if sound:
            _sound(target, heard, tones(seconds, rate), layout)
    return path


def _pictures(target: Any, stream: Any, times: Sequence[float], offset: int) -> None:
    for n, time in enumerate(times):
        frame = av.VideoFrame.from_ndarray(numbered(n + offset, stream.width, stream.height), format="rgb24")
        frame = frame.reformat(format="yuv420p")
        frame.pts, frame.time_base = round(time * 30_000), Fraction(1, 30_000)
        target.mux(stream.encode(frame))
    target.mux(stream.encode(None))


def _sound(target: Any, stream: Any, wave: NDArray[np.float32], layout: str) -> None:
    channels = np.stack([wave] * (2 if layout == "stereo" else 1))
    for first in range(0, channels.shape[1], 1024):
        block = np.ascontiguousarray(channels[:, first : first + 1024])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = stream.rate, first, Fraction(1, stream.rate)
        target.mux(stream.encode(frame))
    target.mux(stream.encode(None))


class Read:
    """What a player finds in a clip.

    Args:
        data: The clip.

    Attributes:
        seconds: Its length.
        streams: Codec by type.
        lengths: Seconds by type.
        frames: Time and number of each frame.
        onsets: Seconds at which tones begin.
    """

    def __init__(self, data: bytes) -> None:
        with av.open(io.BytesIO(data), "r") as container:
            self.seconds = (container.duration or 0) / 1e6
            self.streams = {s.type: s.codec_context.name for s in container.streams}
            self.lengths = {s.type: float((s.duration or 0) * (s.time_base or 0)) for s in container.streams}
            self.frames = self._frames(container)
        with av.open(io.BytesIO(data), "r") as container:
            self.onsets = self._onsets(container)

    def _frames(self, container: Any) -> list[tuple[float, int]]:
        if not container.streams.video:
            return []
        return [(round(frame.time, 4), number_of(frame.to_image())) for frame in container.decode(video=0)]

    def _onsets(self, container: Any) -> list[float]:
        if not container.streams.audio:
            return []
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=16_000)
        pieces, start = [], None
        for frame in container.decode(audio=0):
            start = frame.time if start is None else start
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
        loud = np.flatnonzero(np.abs(np.concatenate(pieces)) > 0.1)
        first = [at for n, at in enumerate(loud) if not n or at - loud[n - 1] > 1600]
        return [round(at / 16_000 + (start or 0.0), 3) for at in first]
