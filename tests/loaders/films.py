"""Made-up films: drawn pictures that move, cut and dissolve, encoded with PyAV."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
FPS = 25


def scenery(seed: int, width: int = 320, height: int = 180) -> Pixels:
    """A colourful picture, half as large again as the film: hills, discs and boxes."""
    rng = np.random.default_rng(seed)
    size = (width * 3 // 2, height * 3 // 2)
    picture = Image.fromarray(rng.integers(0, 255, (5, 8, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(14):
        x, y, side = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(0.05, 0.25) * size[1]
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape([x - side, y - side, x + side, y + side], fill=tuple(int(v) for v in rng.integers(0, 255, 3)))
    return np.asarray(picture)


def shot(seed: int, seconds: float, pan: float = 0.0, noise: float = 2.0) -> list[Pixels]:
    """Frames of one scene; the camera pans by so many pixels a frame."""
    picture, rng = scenery(seed), np.random.default_rng(seed)
    frames = []
    for at in range(round(seconds * FPS)):
        x = int(min(pan * at, picture.shape[1] - 320))
        frame = picture[30:210, x : x + 320] + rng.normal(0, noise, (180, 320, 1))
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
    return frames


def dissolved(one: Sequence[Pixels], other: Sequence[Pixels], frames: int) -> list[Pixels]:
    """Two shots with the end of the first laid over the beginning of the second."""
    mixed = [
        (a * (1 - share) + b * share).astype(np.uint8)
        for a, b, share in zip(one[-frames:], other[:frames], np.linspace(0, 1, frames + 2)[1:-1], strict=True)
    ]
    return [*one[:-frames], *mixed, *other[frames:]]


def written(frame: Pixels, *lines: str, y: int = 20, size: int = 18, fill: str = "white") -> Pixels:
    """A frame with text on it, outlined."""
    picture = Image.fromarray(frame)
    for at, line in enumerate(lines):
        ImageDraw.Draw(picture).text(
            (12, y + at * size * 1.6), line, font=ImageFont.load_default(size), fill=fill,
            stroke_width=0 if fill == "black" else 2, stroke_fill="black",
        )  # fmt: skip
    return np.asarray(picture)


def slide(title: str, *lines: str, seed: int = 0, dark: bool = False) -> Pixels:
    """A slide, 640 by 360, with a title bar and a foot that all share, and with bars where there is a seed."""
    paper, ink = ((24, 28, 44), "white") if dark else ((248, 248, 244), "black")
    picture = Image.new("RGB", (640, 360), paper)
    draw, rng = ImageDraw.Draw(picture), np.random.default_rng(seed)
    draw.rectangle((0, 0, 640, 30), fill=(30, 70, 120))
    draw.text((14, 7), "Harbour Board: the year in review", font=ImageFont.load_default(15), fill="white")
    draw.text((14, 340), "Internal use only", font=ImageFont.load_default(11), fill=(120, 120, 120))
    draw.text((30, 48), title, font=ImageFont.load_default(26), fill=ink)
    for at, line in enumerate(lines):
        draw.text((40, 100 + 34 * at), line, font=ImageFont.load_default(18), fill=ink)
    if seed:
        draw.line((80, 90, 80, 310, 560, 310), fill=ink)
        for at, high in enumerate(rng.uniform(20, 200, 6)):
            draw.rectangle((100 + 74 * at, 310 - high, 150 + 74 * at, 309), fill=(70, 130, 180))
    return np.asarray(picture)


def film(path: Path, frames: Sequence[Pixels], *, codec: str = "libx264", times: Sequence[float] = (),
         more: Sequence[Sequence[Pixels]] = (), sound_s: float = 0.0, change: Callable[[Any], None] | None = None,
         pix_fmt: str = "yuv420p", tags: dict[str, str] | None = None) -> Path:  # fmt: skip
    """Encode frames.

    Args:
        path: The suffix says which container.
        frames: At `FPS`, unless `times` are given.
        codec: Of the pictures.
        times: Seconds of each frame.
        more: More picture streams.
        sound_s: Seconds of a tone.
        change: Is given the picture stream before anything is encoded.
        pix_fmt: Of the pictures.
        tags: Of the file.
    """
    with av.open(str(path), "w") as target:
        target.metadata.update(tags or {})
        streams = []
        for pictures in (frames, *more):
            stream: Any = target.add_stream(codec, rate=FPS)
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = pix_fmt
            stream.codec_context.time_base = Fraction(1, 12800)
            stream.codec_context.gop_size = 50
            stream.options = (
                {"deadline": "realtime", "cpu-used": "8"}
                if codec == "libvpx"
                else {"preset": "veryfast"}
                if codec == "libx264"
                else {}
            )
            if change is not None:
                change(stream)
            streams.append((stream, pictures))
        sound = _sound(target, sound_s) if sound_s else None
        for stream, pictures in streams:
            for packet in _encoded(stream, pictures, times):
                target.mux(packet)
        for packet in sound or ():
            target.mux(packet)
    return path


def _encoded(stream: Any, pictures: Sequence[Pixels], times: Sequence[float]) -> Iterator[Any]:
    for at, pixels in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts = round((times[at] if times else at / FPS) * 12800)
        frame.time_base = Fraction(1, 12800)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _sound(target: Any, seconds: float) -> Iterator[Any]:
    stream = target.add_stream("libopus" if "webm" in target.format.name else "aac", rate=48_000, layout="mono")
    tone = (0.1 * np.sin(np.arange(round(seconds * 48_000)) / 20)).astype(np.float32)[None]

    def packets() -> Iterator[Any]:
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
        yield from stream.encode(frame)
        yield from stream.encode(None)

    return packets()
