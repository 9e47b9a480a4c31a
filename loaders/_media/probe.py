"""What a recording holds: streams, times, tags, chapters, cover. Found from its headers, before anything is decoded."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.errors import LoadError
from sensorium.loaders.base import Limits

if TYPE_CHECKING:
    from av.container import InputContainer

# Containers of one file. Playlists (HLS, DASH, concat) are left out: they name other files and addresses to read.
FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,asf_o,ass,au,avi,caf,dsf,dts,eac3,flac,flv,gsm,gxf,h264,hevc,ivf,m4v,"
    "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,mpegvideo,mxf,nsv,nut,ogg,oma,opus,rm,sox,swf,"
    "tak,tta,vivo,voc,w64,wav,wsaud,wtv,wv,xwma"
)
_COVER_BYTES = 32 << 20
_TAG_CHARS = 4000
# What programs write into comments about themselves.
_MADE_BY = re.compile(
    r"(?i)(processed|encoded|created|made|recorded|converted|edited) (by|with)\b|lavf|lavc|lame\b|ffmpeg"
)


@dataclass(frozen=True, slots=True)
class VideoStream:
    """A picture stream.

    Attributes:
        index: Its number in the container.
        width: Stored pixels, before `rotation`.
        height: Stored pixels, before `rotation`.
        rotation: Degrees counter-clockwise to turn pictures by for display: 0..359.
        fps: Mean pictures a second; 0 when unknown.
        frames: Number of pictures as the header tells; 0 when it does not.
        duration_s: Seconds; that of the recording when the stream tells none.
        start_s: Time of the first picture, from the start of the presentation.
        codec: "h264", "vp9", ...; empty when there is no decoder for it.
        attached_picture: A cover, no moving picture.
        default: Marked as the one to show.
    """

    index: int
    width: int
    height: int
    rotation: int
    fps: float
    frames: int
    duration_s: float
    start_s: float
    codec: str
    attached_picture: bool
    default: bool = False


@dataclass(frozen=True, slots=True)
class SoundStream:
    """A sound stream; see `VideoStream`. `rate` is in Hz, `language` as the file has it ("eng"), "" when unknown."""

    index: int
    channels: int
    rate: int
    language: str
    default: bool
    duration_s: float
    start_s: float
    codec: str


@dataclass(frozen=True, slots=True)
class CaptionStream:
    """A track of captions or subtitles; see `VideoStream`. `codec` is "mov_text", "subrip", "webvtt", "ass", ..."""

    index: int
    language: str
    codec: str
    default: bool


@dataclass(frozen=True, slots=True)
class Chapter:
    """A named stretch of the recording, in seconds."""

    start_s: float
    end_s: float
    title: str


@dataclass(frozen=True, slots=True)
class Media:
    """What a recording holds.

    Attributes:
        duration_s: Seconds, from the header or the last packet.
        container: Names that FFmpeg has for the format ("mov,mp4,m4a,3gp,3g2,mj2").
        videos: Picture streams, covers among them (`attached_picture`).
        sounds: Sound streams that can be decoded.
        captions: Caption tracks.
        tags: Lower-case tag names and their values ("title", "artist", ...).
        chapters: In order of time.
        cover: Encoded picture, as it is in the file.
        start_s: Timestamp at which the presentation starts; every time here and in evidence counts from it.
    """

    duration_s: float
    container: str
    videos: tuple[VideoStream, ...] = ()
    sounds: tuple[SoundStream, ...] = ()
    captions: tuple[CaptionStream, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    chapters: tuple[Chapter, ...] = ()
    cover: bytes | None = None
    start_s: float = 0.0

    @property
    def pictures(self) -> tuple[VideoStream, ...]:
        """Moving pictures: the picture streams without covers and without those that no decoder reads."""
        return tuple(v for v in self.videos if not v.attached_picture and v.codec)

    @property
    def sound(self) -> SoundStream | None:
        """The sound to take when nobody chooses: the first marked as default, else the first.

        Of several forms of it (same language and mark) the one with the most samples a second.
        """
        first = next((s for s in self.sounds if s.default), self.sounds[0] if self.sounds else None)
        if first is None:
            return None
        forms = [s for s in self.sounds if (s.language, s.default) == (first.language, first.default)]
        return max(forms, key=lambda s: min(s.rate, 16_000))


@contextmanager
def open_media(path: Path) -> Iterator["InputContainer"]:
    """Open a recording for reading; nothing but this file is read, and no address is contacted.

    Raises:
        LoadError: no container that can be read, or damaged.
    """
    import av

    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    with path.open("rb") as stream:
        # A name that is no valid text cannot be handed over; then its bytes are read through Python.
        source: Any = f"file:{path}" if _plain(path) else stream
        try:
            container = av.open(source, options=options, metadata_errors="replace")
        except (av.error.FFmpegError, OSError, ValueError) as fault:
            raise LoadError(f"cannot be read as a recording: {reason(fault)}") from fault
    with container:
        yield container


def probe(path: Path, limits: Limits) -> Media:
    """What a recording holds.

    Args:
        path: The file.
        limits: What a source may cost.

    Raises:
        LoadError: it is no recording, is damaged, holds neither sound nor pictures, or is beyond a limit.
    """
    with open_media(path) as container:
        if len(container.streams) > limits.streams:
            many = len(container.streams)
            raise LoadError(f"claims {many} streams; the limit is {limits.streams} (index.limits.streams)")
        start = (container.start_time or 0) / 1_000_000
        duration = _duration(container)
        if duration > limits.media_hours * 3600:
            long, most = f"{duration / 3600:,.1f}", f"{limits.media_hours:g}"
            raise LoadError(f"lasts {long} hours, as it says; the limit is {most} (index.limits.media_hours)")
        media = _described(container, start, duration)
        if not media.videos and not media.sounds and not media.captions:
            raise LoadError("holds neither sound nor pictures that can be decoded (damaged or cut off?)")
        return media


def reason(fault: Exception) -> str:
    """What FFmpeg says, in words: without its number and the name of the file."""
    known = {"InvalidDataError": "its data is damaged or cut off", "EOFError": "it ends too early"}
    text = known.get(type(fault).__name__) or getattr(fault, "strerror", "") or str(fault)
    return str(text)[:200]


def _plain(path: Path) -> bool:
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _described(container: "InputContainer", start: float, duration: float) -> Media:
    turns = _rotations(container) if container.streams.video else {}
    covers = [s for s in container.streams.video if _attached(s)]
    return Media(
        duration_s=duration,
        container=container.format.name,
        videos=tuple(_video(s, start, duration, turns.get(s.index, 0)) for s in container.streams.video),
        sounds=tuple(_sound(s, start, duration) for s in container.streams.audio if s.codec_context is not None),
        captions=tuple(_caption(s) for s in container.streams.subtitles if s.codec_context is not None),
        tags=_tags(container),
        chapters=_chapters(container, start, duration),
        cover=_cover(container, covers[0]) if covers else None,
        start_s=start,
    )


def _video(stream: Any, start: float, duration: float, rotation: int) -> VideoStream:
    from av.stream import Disposition

    codec = stream.codec_context
    return VideoStream(
        index=stream.index, width=codec.width if codec else 0, height=codec.height if codec else 0,
        rotation=rotation, fps=float(stream.average_rate or stream.guessed_rate or 0) if codec else 0.0,
        frames=stream.frames, duration_s=_length(stream, duration), start_s=_first(stream, start),
        codec=codec.name if codec else "", attached_picture=_attached(stream),
        default=bool(stream.disposition & Disposition.default),
    )  # fmt: skip


def _sound(stream: Any, start: float, duration: float) -> SoundStream:
    from av.stream import Disposition

    codec = stream.codec_context
    return SoundStream(
        index=stream.index, channels=codec.channels, rate=codec.sample_rate or 0, language=_language(stream),
        default=bool(stream.disposition & Disposition.default), duration_s=_length(stream, duration),
        start_s=_first(stream, start), codec=codec.name,
    )  # fmt: skip


def _caption(stream: Any) -> CaptionStream:
    from av.stream import Disposition

    default = bool(stream.disposition & Disposition.default)
    return CaptionStream(stream.index, _language(stream), stream.codec_context.name, default)


def _attached(stream: Any) -> bool:
    from av.stream import Disposition

    # A single picture with a clock of its own (a still for a song) is a moving picture of one frame.
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def _language(stream: Any) -> str:
    language = stream.language or ""
    return "" if language in ("und", "unk", "mis", "zxx") else language


def _length(stream: Any, duration: float) -> float:
    if stream.duration is None or stream.duration <= 0 or not stream.time_base:
        return duration
    return float(stream.duration * stream.time_base)


def _first(stream: Any, start: float) -> float:
    if stream.start_time is None or not stream.time_base:
        return 0.0
    return max(0.0, float(stream.start_time * stream.time_base) - start)


def _duration(container: "InputContainer") -> float:
    if container.duration and container.duration > 0:
        return container.duration / 1_000_000
    longest = max((_length(s, 0.0) for s in container.streams), default=0.0)
    return longest or _walked(container)


def _walked(container: "InputContainer") -> float:
    """Length by the last packet, for recordings that were never finished (streamed WebM); packets are not decoded."""
    import av

    last = 0.0
    try:
        for packet in container.demux():
            time = packet.pts if packet.pts is not None else packet.dts
            if time is not None and packet.time_base:
                last = max(last, float((time + (packet.duration or 0)) * packet.time_base))
        container.seek(0)
    except (av.error.FFmpegError, OSError):
        # A damaged end: what came before it counts.
        return max(0.0, last - (container.start_time or 0) / 1_000_000)
    return max(0.0, last - (container.start_time or 0) / 1_000_000)


def _rotations(container: "InputContainer") -> dict[int, int]:
    """Rotation of each stream. FFmpeg's own description of the file is the only place that tells it undecoded."""
    import av

    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        text = str(container.dumps_format())  # type: ignore[attr-defined]  # the stubs lack it
    finally:
        av.logging.set_level(level)
    turns: dict[int, int] = {}
    index = -1
    for line in text.splitlines():
        if head := re.match(r"\s*Stream #\d+:(\d+)", line):
            index = int(head[1])
        elif turn := re.search(r"(?i)display ?matrix: rotation of (-?[\d.]+) degrees", line):
            turns[index] = round(float(turn[1])) % 360
    return turns


def _tags(container: "InputContainer") -> dict[str, str]:
    """Tags of the file; Ogg keeps them with its stream. Technical ones (brands, handlers, encoders) are left out."""
    found: dict[str, str] = {}
    for metadata in (container.metadata, *(stream.metadata for stream in container.streams.audio)):
        for name, value in metadata.items():
            key, text = name.strip().lower(), " ".join(value.replace("\0", " ").split())
            if text and not _technical(key) and not _MADE_BY.match(text):
                found.setdefault(key, text[:_TAG_CHARS])
    return found


def _technical(key: str) -> bool:
    names = ("major_brand", "minor_version", "compatible_brands", "handler_name", "vendor_id", "encoder", "language",
             "duration", "bps", "encoded_by", "creation_time", "timecode")  # fmt: skip
    return key in names or key.startswith(("_statistics", "number_of_", "replaygain", "itunsmpb", "itunnorm"))


def _chapters(container: "InputContainer", start: float, duration: float) -> tuple[Chapter, ...]:
    found = []
    for chapter in container.chapters():
        title = " ".join(str(chapter["metadata"].get("title", "")).split())
        unit = chapter["time_base"] or 0
        begin = float(chapter["start"] * unit) - start
        end = float(chapter["end"] * unit) - start
        if title and 0 <= begin < max(duration, end):
            found.append(Chapter(begin, min(end, duration) if duration else end, title[:500]))
    return tuple(sorted(found, key=lambda chapter: chapter.start_s))


def _cover(container: "InputContainer", stream: Any) -> bytes | None:
    """Bytes of an attached picture: the first packet of its stream, which is read from the header."""
    import av

    try:
        for packet in container.demux(stream):
            if packet.size:
                return bytes(packet) if packet.size <= _COVER_BYTES else None
    except (av.error.FFmpegError, OSError):
        return None  # a damaged cover; the recording itself may be whole
    return None
