"""The sound of evidence, for models that hear: short clips of what is said, as WAV, within a budget of seconds."""

import io
import threading
import wave
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from sensorium.errors import SensoriumError
from sensorium.nodes import Evidence
from sensorium.pipelines.results import Hit, PictureOf, usual_form
from sensorium.speech_types import SAMPLE_RATE

SHORTEST_S = 2.0
"""Less than this of a passage is not worth a clip."""
_CACHE_BYTES = 32_000_000


@dataclass(frozen=True)
class Clip:
    """Sound ready to be sent: WAV, mono, 16 bits, 16 kHz, which every model that hears takes.

    Attributes:
        data: Encoded.
        seconds: Its length.
    """

    data: bytes = field(repr=False)
    seconds: float

    media_type = "audio/wav"


@dataclass(frozen=True)
class Heard:
    """Clips by position of their hit, what could not be cut, and how many spoken hits go without."""

    clips: Mapping[int, Clip] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    left_out: int = 0


def spoken(hits: Sequence[Hit]) -> list[int]:
    """Positions of hits that are of what is said, best first."""
    return [at for at, hit in enumerate(hits) if usual_form(hit.evidence, hit.node.metadata) == "clip"]


class Sounds:
    """Cuts clips and keeps the last ones. Safe to use from several threads.

    Args:
        picture_of: Cuts the clip of evidence.
    """

    def __init__(self, picture_of: PictureOf) -> None:
        self._picture_of = picture_of
        self._kept: OrderedDict[tuple[Any, ...], Clip] = OrderedDict()
        self._lock = threading.Lock()

    def choose(self, hits: Sequence[Hit], seconds: float) -> Heard:
        """Clips of the best spoken hits, each moment once.

        Args:
            hits: In order of rank.
            seconds: Most of all clips together; the last one is cut to what is left.
        """
        clips: dict[int, Clip] = {}
        problems: list[str] = []
        places: set[tuple[Any, ...]] = set()
        left, left_out = seconds, 0
        for at in spoken(hits):
            evidence = hits[at].evidence
            place = (evidence.sha256, evidence.start_s, evidence.end_s)
            if place in places:
                continue
            places.add(place)
            if left < SHORTEST_S:
                left_out += 1
                continue
            clip = self._try(evidence, hits[at].node.metadata, left, problems)
            if clip is not None:
                clips[at] = clip
                left -= clip.seconds
        return Heard(clips, tuple(problems), left_out)

    def _try(self, whole: Evidence, metadata: Mapping[str, Any], most_s: float, problems: list[str]) -> Clip | None:
        start = whole.start_s or 0.0
        end = start + most_s if whole.end_s is None else min(whole.end_s, start + most_s)
        evidence = whole.model_copy(update={"end_s": end})
        key = (evidence.sha256, start, end)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        try:
            made = as_wav(self._picture_of(evidence, metadata, "clip").data, most_s)
        except (SensoriumError, OSError, ValueError) as fault:
            problems.append(f"no sound of {evidence.source}: {fault}")
            return None
        with self._lock:
            self._kept[key] = made
            while sum(len(clip.data) for clip in self._kept.values()) > _CACHE_BYTES:
                self._kept.popitem(last=False)
        return made


def as_wav(data: bytes, most_s: float) -> Clip:
    """The sound of a recording, or of a video, as WAV.

    Args:
        data: Encoded in any format that FFmpeg reads.
        most_s: It is cut here, in seconds.

    Raises:
        OSError: it holds no sound, or cannot be decoded.
    """
    import av
    from av.audio.resampler import AudioResampler

    out, most, written = io.BytesIO(), int(most_s * SAMPLE_RATE), 0
    with wave.open(out, "wb") as target, av.open(io.BytesIO(data), "r") as source:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(SAMPLE_RATE)
        if not source.streams.audio:
            raise OSError("it holds no sound")
        resampler = AudioResampler("s16", "mono", SAMPLE_RATE)
        for decoded in chain(source.decode(source.streams.audio[0]), [None]):
            for frame in resampler.resample(decoded):
                samples = frame.to_ndarray().ravel()[: most - written]
                target.writeframes(samples.tobytes())
                written += len(samples)
    if not written:
        raise OSError("it holds no sound")
    return Clip(out.getvalue(), written / SAMPLE_RATE)
