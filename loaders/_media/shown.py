"""What evidence from a recording looks like: a frame, a waveform, or a clip."""

from sensorium.errors import EvidenceError, LoadError
from sensorium.loaders._media.clips import clip, frame, inside
from sensorium.loaders._media.probe import Media, SoundStream, VideoStream, probe
from sensorium.loaders._media.waveform import waveform
from sensorium.loaders.base import Limits, Picture, SourceFile
from sensorium.nodes import Evidence

_SPARE_S = 1.0  # the last picture may be shown a little behind the end that a header names


def shown_picture(file: SourceFile, evidence: Evidence, video: VideoStream | None = None,
                  sound: SoundStream | None = None) -> Picture:  # fmt: skip
    """A still: the frame on show in the middle of the span, or the waveform of a recording without pictures.

    Args:
        file: The recording.
        evidence: With times.
        video: Which pictures, where there are several.
        sound: Which sound, where there are several.

    Raises:
        EvidenceError: the evidence has no times, they lie behind the end, or nothing there can be decoded.
    """
    media = _probed(file)
    start, end = _times(file, evidence)
    if media.pictures:
        start, end = inside(start, end, media, _SPARE_S)
        return frame(file.path, (start + end) / 2, media, video)
    return waveform(file.path, start, end, media, sound)


def shown_clip(file: SourceFile, evidence: Evidence, video: VideoStream | None = None,
               sound: SoundStream | None = None) -> Picture:  # fmt: skip
    """The clip of the span; see `clips.clip` and `shown_picture`."""
    return clip(file.path, *_times(file, evidence), _probed(file), video, sound)


def _times(file: SourceFile, evidence: Evidence) -> tuple[float, float]:
    if evidence.start_s is None:
        raise EvidenceError(f"{file.source}: the evidence names no time")
    return evidence.start_s, evidence.start_s if evidence.end_s is None else evidence.end_s


def _probed(file: SourceFile) -> Media:
    try:
        return probe(file.path, Limits(media_hours=1000))
    except LoadError as fault:
        raise EvidenceError(f"{file.source} {fault.message}", fault.hint) from fault
