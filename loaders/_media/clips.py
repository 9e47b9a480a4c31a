"""Moments of a recording as files that a browser plays: a clip between two times, or one exact frame.

A clip begins with the frame on show at its start and lasts to its end; a bound within 10 ms of a frame means that
frame, so that the bounds of scenes survive the rounding of their times. Pictures are copied as they are where both
bounds allow it (H.264 that begins with a key frame and of which nothing before the end needs what comes after it), and
encoded anew where not; sound is always cut to the sample and encoded anew. Only what is around the clip is read.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.clock import clock
from sensorium.errors import EvidenceError, LoadError
from sensorium.loaders._media.probe import Media, SoundStream, VideoStream, open_media
from sensorium.loaders._media.spans import Cut, copied, near, pictures, samples
from sensorium.loaders.base import Picture

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet

LONGEST_S = 300.0
"""Longer clips are cut here; their note says so."""
MOST_PIXELS_A_SIDE = 1280
MOST_COPIED_BYTES = 48_000_000
RATE = 48_000


@dataclass(frozen=True, slots=True)
class _Format:
    """A way to encode that browsers play."""

    video: str
    sound: str
    container: str
    media_type: str
    sound_type: str
    options: tuple[tuple[str, str], ...]


# The first one whose encoders are there; wheels of PyAV have the first, builds without GPL parts others.
_FORMATS = (
    _Format("libx264", "aac", "mp4", "video/mp4", "audio/mp4", (("preset", "veryfast"), ("crf", "22"))),
    _Format("libopenh264", "aac", "mp4", "video/mp4", "audio/mp4", ()),
    _Format("libvpx", "libopus", "webm", "video/webm", "audio/webm", (("deadline", "realtime"), ("crf", "20"))),
)  # fmt: skip


def clip(path: Path, start_s: float, end_s: float, media: Media, video: VideoStream | None = None,
         sound: SoundStream | None = None) -> Picture:  # fmt: skip
    """Cut a clip: H.264 and AAC in an MP4 file that starts to play before it is loaded, or AAC in M4A for sound alone.

    Args:
        path: The recording.
        start_s: Where it starts, in seconds from the start of the presentation.
        end_s: Where it ends; the clip lasts `end_s - start_s` within one frame, but at most `LONGEST_S`.
        media: What `probe` says of it.
        video: Which pictures; the first of `media.pictures` by default.
        sound: Which sound; `media.sound` by default.

    Returns:
        A clip of the recording as it is meant to be seen: upright, with square pixels, its longer side at most 1280
        pixels unless it was copied.

    Raises:
        EvidenceError: the span lies outside, or nothing in it can be decoded.
    """
    video = video or next(iter(media.pictures), None)
    sound = sound or media.sound
    if video is None and sound is None:
        raise EvidenceError("There is neither sound nor a moving picture to cut a clip from.")
    start, end, note = _bounds(start_s, end_s, media)
    cut = Cut(path, start, end, media.start_s)
    try:
        return _cut(cut, video, sound, note)
    except LoadError as fault:
        raise EvidenceError(f"{path.name} {fault.message}") from fault


def frame(path: Path, at_s: float, media: Media, video: VideoStream | None = None, form: str = "jpeg",
          longest: int = 0) -> Picture:  # fmt: skip
    """The picture that is shown at a time.

    Args:
        path: The recording.
        at_s: Seconds from the start of the presentation; behind the end it is the last one.
        media: What `probe` says of it.
        video: Which pictures; the first of `media.pictures` by default.
        form: "jpeg" or "png".
        longest: Most pixels of the longer side; 0: as they are.

    Raises:
        EvidenceError: it has no pictures, or none there can be decoded.
    """
    import io

    video = video or next(iter(media.pictures), None)
    if video is None:
        raise EvidenceError(f"{path.name} has no moving picture.")
    cut = Cut(path, max(0.0, at_s), max(0.0, at_s), media.start_s)
    try:
        shown = next(pictures(cut, video, near(video) / 4), None)
    except LoadError as fault:
        raise EvidenceError(f"{path.name} {fault.message}") from fault
    if shown is None:
        raise EvidenceError(f"No picture of {path.name} can be decoded at {clock(at_s)}.")
    image = shown.upright(longest or max(video.width, video.height) * 4, "rgb24").to_image()
    out = io.BytesIO()
    image.save(out, form.upper(), **({"quality": 90} if form == "jpeg" else {}))
    return Picture(out.getvalue(), f"image/{form}")


def inside(start_s: float, end_s: float, media: Media, spare_s: float = 0.0) -> tuple[float, float]:
    """The part of a span that lies in the recording.

    Args:
        start_s: Of the span.
        end_s: Of the span.
        media: The recording.
        spare_s: By which the recording may be longer than its header says.

    Raises:
        EvidenceError: it lies behind the end.
    """
    start = max(0.0, start_s)
    if media.duration_s <= 0:
        return start, end_s
    if start >= media.duration_s + spare_s:
        length = clock(media.duration_s)
        raise EvidenceError(f"{clock(start_s)} lies behind the end of the recording, which lasts {length}.")
    return start, max(start, min(end_s, media.duration_s))


def _bounds(start_s: float, end_s: float, media: Media) -> tuple[float, float, str]:
    """Start, end and a remark; a span of no length is made one that can be played.

    Raises:
        EvidenceError: it lies behind the end.
    """
    start, end = inside(start_s, end_s, media)
    if end - start < 0.02:
        end = start + 0.1
    if end - start > LONGEST_S:
        return start, start + LONGEST_S, f"the first {clock(LONGEST_S)} of {clock(end - start)}"
    return start, end, ""


def _cut(cut: Cut, video: VideoStream | None, sound: SoundStream | None, note: str) -> Picture:
    form = _format()
    with tempfile.TemporaryDirectory(prefix="sensorium-clip-") as folder:
        file = Path(folder) / f"clip.{form.container}"
        has_pictures = _write(file, cut, video, sound, form)
        data = file.read_bytes()
    return Picture(data, form.media_type if has_pictures else form.sound_type, note)


def _write(file: Path, cut: Cut, video: VideoStream | None, sound: SoundStream | None, form: _Format) -> bool:
    """Write the clip; whether it has pictures."""
    import av

    options = {"movflags": "+faststart"} if form.container == "mp4" else {}
    with open_media(cut.path) as origin, av.open(str(file), "w", format=form.container, options=options) as target:
        found: list[Packet[Any]] = []
        begin = None
        if video is not None:
            packets = copied(cut, video, MOST_COPIED_BYTES) if form.container == "mp4" else None
            if packets is not None:
                begin = packets.start_s
                found += packets.into(target.add_stream_from_template(origin.streams[video.index]))
            else:
                begin, encoded = _encode_pictures(target, cut, video, form)
                found += encoded
        has_pictures = bool(found)
        if sound is not None:
            found += _encode_sound(target, cut.moved(begin), sound, form)
        if not found:
            raise LoadError(f"has nothing that can be decoded at {clock(cut.start_s)}")
        for packet in sorted(found, key=_decode_time):
            target.mux(packet)
    return has_pictures


def _decode_time(packet: "Packet[Any]") -> float:
    return float((packet.dts or 0) * (packet.time_base or 0))


def _format() -> _Format:
    """The first format whose encoders are there.

    Raises:
        EvidenceError: there is none.
    """
    for form in _FORMATS:
        if _has_encoder(form.video) and _has_encoder(form.sound):
            return form
    raise EvidenceError("This build of PyAV has no encoder for a format that browsers play.", "pip install av")


def _has_encoder(name: str) -> bool:
    import av.codec

    try:
        av.codec.Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def _encode_pictures(target: "OutputContainer", cut: Cut, video: VideoStream, form: _Format
                     ) -> tuple[float | None, list["Packet[Any]"]]:  # fmt: skip
    """Encode the frames of a span; the time of the first, and the packets."""
    stream: Any = None
    packets: list[Packet[Any]] = []
    begin = cut.start_s
    for shown in pictures(cut, video, near(video)):
        picture = shown.upright(MOST_PIXELS_A_SIDE)
        if stream is None:
            begin = cut.snapped(shown.time_s, video)
            stream = _picture_stream(target, picture, video, form)
            picture.pts = 0  # it is on show from the start, whenever it began
        else:
            picture = picture.reformat(width=stream.width, height=stream.height)
            picture.pts = round((shown.time_s - begin) * _CLOCK)
            if picture.pts >= cut.seconds * _CLOCK:
                break
        picture.time_base = Fraction(1, _CLOCK)
        picture.pict_type = 0
        packets += stream.encode(picture)
    if stream is None:
        return None, []
    packets += stream.encode(None)
    return begin, _lasting(packets, cut.seconds)


_CLOCK = 90_000  # ticks a second: exact for the usual frame rates


def _picture_stream(target: "OutputContainer", picture: Any, video: VideoStream, form: _Format) -> Any:
    # The rate only informs the encoder; each frame brings its own time.
    rate = Fraction(video.fps).limit_denominator(1001) if 1 <= video.fps <= 120 else Fraction(25)
    stream: Any = target.add_stream(form.video, rate=rate, options=dict(form.options))
    stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
    stream.codec_context.max_b_frames = 0  # times of display and of decoding agree: the last frame lasts as it should
    stream.codec_context.time_base = stream.time_base = Fraction(1, _CLOCK)
    return stream


def _lasting(packets: list["Packet[Any]"], seconds: float) -> list["Packet[Any]"]:
    """Packets that last until the next one, and the last one until the end."""
    ordered = sorted(packets, key=lambda packet: packet.pts or 0)
    end = round(seconds / float(ordered[0].time_base or 1))
    for packet, after in zip(ordered, [*(p.pts or 0 for p in ordered[1:]), end], strict=True):
        packet.duration = max(1, after - (packet.pts or 0))
    return packets


def _encode_sound(target: "OutputContainer", cut: Cut, sound: SoundStream, form: _Format) -> Iterator["Packet[Any]"]:
    """Encode the samples of a span."""
    import av

    layout = "stereo" if sound.channels > 1 else "mono"
    stream: Any = None
    at = 0
    for block in samples(cut, sound, RATE, layout):
        if stream is None:
            stream = target.add_stream(form.sound, rate=RATE, layout=layout)
            stream.bit_rate = 128_000 if sound.channels > 1 else 80_000
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
        at += block.shape[1]
        yield from stream.encode(frame)
    if stream is not None:
        yield from stream.encode(None)
