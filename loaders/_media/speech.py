"""What is said in a recording: its captions where they write down the speech, else recognised speech.

`spoken` is the entry, for sound and video alike. Captions that are a transcript win, and nothing is recognised where
they cover the recording; others (translations, descriptions of noises) are kept beside the recognised speech. The
sound is decoded as a stream and recognised in parts of a minute; each finished part is kept, so that a killed
run goes on from there.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from sensorium.clock import clock, span
from sensorium.errors import LoadError, MissingExtraError, ModelError
from sensorium.languages import language_code
from sensorium.loaders._media import sound
from sensorium.loaders._media.captions import Captions, captions_of
from sensorium.loaders._media.passages import Packer, passage_node, passages
from sensorium.loaders._media.probe import Media, SoundStream
from sensorium.loaders.base import Advance, Fault, Item, NodeMaker, SourceFile, Tools, content_digest
from sensorium.speech_types import Segment, SpeechEngine, Word

CaptionMode = Literal["auto", "both", "off"]
_VERSION = 1  # raise it when the same sound is cut into other parts
_MISSED_S = 5.0  # of the end that may be missing before it is worth a word


@dataclass(frozen=True)
class SpokenOptions:
    """How to find out what is said.

    Attributes:
        stream: Number of the sound among the sounds of the recording, from 1; None: the default one.
        captions: "auto": captions that are a transcript replace recognition; "both": recognise all the same;
            "off": look at none.
        language: Of the captions wanted, where there are several ("en").
    """

    stream: int | None = None
    captions: CaptionMode = "auto"
    language: str = ""


def spoken(file: SourceFile, media: Media, tools: Tools, options: SpokenOptions, maker: NodeMaker) -> Iterator[Item]:
    """Nodes of kinds `speech` and `caption`, advances, and faults for what could not be done.

    Args:
        file: The recording.
        media: What `probe` says of it.
        tools: With the speech engine.
        options: How.
        maker: Numbers the nodes of the source.

    Yields:
        Also the fault that says what to install or switch on where speech could not be recognised.

    Raises:
        LoadError: the chosen stream does not exist.
        ModelError: the engine cannot be used or reached; finished parts are kept.
    """
    stream = chosen(media, options.stream)
    captions = Captions()
    if options.captions != "off":
        captions = captions_of(file.path, media, options.language or (stream.language if stream else ""))
    yield from (Fault(reason) for reason in captions.faults)
    transcript = captions.covers(media.duration_s) and not _translated(captions, stream)
    if stream is None or (transcript and options.captions == "auto"):
        yield from _captioned(captions, media, maker, transcript)
        yield Advance(media.duration_s, media.duration_s)
        return
    engine = usable(tools)
    if isinstance(engine, Fault):
        yield engine
        yield from _captioned(captions, media, maker, transcript)
        return
    yield from _Recording(file, media, tools, stream, engine, maker).nodes(captions, options.captions)


def chosen(media: Media, number: int | None) -> SoundStream | None:
    """The sound stream to take: the default one, or the one with this number, from 1.

    Raises:
        LoadError: there is no such stream.
    """
    if number is None:
        return media.sound
    if not 1 <= number <= len(media.sounds):
        raise LoadError(f"has {len(media.sounds)} sound streams, not {number} (option stream)")
    return media.sounds[number - 1]


def usable(tools: Tools) -> SpeechEngine | Fault:
    """The speech engine, or the fault that says why there is none and what to do."""
    if tools.speech is None:
        return Fault("speech was not recognised: it is switched off (index.speech)")
    try:
        revision = tools.speech.revision
    except (MissingExtraError, ModelError) as fault:
        return Fault(f"speech was not recognised: {fault}")
    assert revision
    return tools.speech


class _Recording:
    """Recognises the speech of one recording."""

    def __init__(self, file: SourceFile, media: Media, tools: Tools, stream: SoundStream, engine: SpeechEngine,
                 maker: NodeMaker) -> None:  # fmt: skip
        self._file, self._media, self._tools = file, media, tools
        self._stream, self._engine, self._maker = stream, engine, maker
        self._damage = sound.Damage()
        self._heard_s = 0.0

    def nodes(self, captions: Captions, mode: str) -> Iterator[Item]:
        """Speech as it is recognised; where there are captions, at the end, when it is known which of both hold."""
        packer = Packer(self._media.chapters)
        said: list[Segment] = []
        for item in self._recognised():
            if not isinstance(item, Segment):
                yield item
            elif captions.cues:
                said.append(item)
            else:
                yield from map(self._node, packer.add(item))
        yield from map(self._node, packer.flush())
        if captions.cues:
            yield from self._beside(captions, said, mode)
        yield from self._faults()

    def _beside(self, captions: Captions, said: list[Segment], mode: str) -> Iterator[Item]:
        words = [(word.text, word.start_s) for segment in said for word in _words(segment)]
        transcript = captions.writes_down(words) and not _translated(captions, self._stream)
        if not transcript or mode == "both":
            yield from map(self._node, passages(said, self._media.chapters))
        yield from _captioned(captions, self._media, self._maker, transcript)

    def _node(self, run: list[Segment]) -> Item:
        return passage_node("speech", run, self._media.chapters, self._maker, self._end, stream=self._number)

    def _recognised(self) -> Iterator[Segment | Advance | Fault]:
        blocks = sound.blocks(self._file.path, self._media, self._stream.index, self._damage)
        yield Advance(0.0, self._end)
        for index, part in enumerate(sound.parts(blocks)):
            try:
                yield from self._part(index, part)
            except LoadError as fault:
                yield Fault(str(fault), span(part.start_s, part.end_s))
            self._heard_s = part.end_s
            yield Advance(min(part.end_s, self._end), self._end)

    def _part(self, index: int, part: sound.Block) -> list[Segment]:
        settings = content_digest(self._engine.revision, str(self._stream.index), str(_VERSION))[:16]
        key = f"{self._file.sha256}/speech/{settings}/{index}"
        kept = self._tools.parts.get(key) if self._tools.parts is not None else None
        if kept is not None:
            return _unpacked(kept)
        segments = [_shifted(segment, part.start_s) for segment in self._engine.transcribe(part.sound)]
        if self._tools.parts is not None:
            self._tools.parts.put(key, json.dumps([asdict(segment) for segment in segments]).encode())
        return segments

    @property
    def _number(self) -> int | str:
        """Which sound it is, where there are several."""
        return self._media.sounds.index(self._stream) + 1 if len(self._media.sounds) > 1 else ""

    def _faults(self) -> Iterator[Fault]:
        if self._damage.packets:
            many, why = self._damage.packets, self._damage.reason
            yield Fault(f"{many} pieces of its sound could not be decoded and were left out: {why}")
        expected = self._stream.start_s + self._stream.duration_s
        if self._heard_s and expected - self._heard_s > max(_MISSED_S, 0.02 * expected):
            said = f"its sound ends at {clock(self._heard_s)}, though the file says {clock(expected)}"
            yield Fault(f"{said}: cut off or damaged")
        if not self._heard_s:
            yield Fault("its sound holds nothing that can be decoded")

    @property
    def _end(self) -> float:
        return max(self._media.duration_s, self._heard_s)


def _captioned(captions: Captions, media: Media, maker: NodeMaker, transcript: bool) -> Iterator[Item]:
    segments = (
        Segment(cue.text, cue.start_s, cue.end_s, language=captions.language, speaker=cue.speaker)
        for cue in captions.cues
    )
    for run in passages(segments, media.chapters):
        yield passage_node(
            "caption", run, media.chapters, maker, media.duration_s or run[-1].end_s, captions=captions.origin,
            transcript=transcript,
        )  # fmt: skip


def _translated(captions: Captions, stream: SoundStream | None) -> bool:
    """Whether captions are in another language than the sound, as far as the file tells."""
    heard = language_code(stream.language) if stream else ""
    return bool(heard and captions.language and heard != captions.language)


def _words(segment: Segment) -> Iterator[Word]:
    if segment.words:
        yield from segment.words
        return
    said = segment.text.split()
    for at, word in enumerate(said):
        time = segment.start_s + (segment.end_s - segment.start_s) * at / len(said)
        yield Word(word, time, time, segment.score)


def _shifted(segment: Segment, by_s: float) -> Segment:
    words = tuple(replace(w, start_s=w.start_s + by_s, end_s=w.end_s + by_s) for w in segment.words)
    return replace(segment, start_s=segment.start_s + by_s, end_s=segment.end_s + by_s, words=words)


def _unpacked(data: bytes) -> list[Segment]:
    items: list[dict[str, Any]] = json.loads(data)
    return [Segment(**(item | {"words": tuple(Word(**word) for word in item["words"])})) for item in items]
