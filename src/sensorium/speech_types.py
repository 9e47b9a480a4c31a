"""What speech recognition takes and gives; shared by the loaders that ask for it and the models that do it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from llama_index.core.schema import TextNode

SAMPLE_RATE = 16_000
"""Samples a second of the sound that engines take: mono, float32 in -1..1."""

Sound = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word with its time in seconds and its probability in 0..1."""

    text: str
    start_s: float
    end_s: float
    score: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of recognised speech, about a sentence.

    Attributes:
        text: With punctuation, without outer blanks.
        start_s: Seconds from the start of the sound that was given.
        end_s: Where it ends.
        words: In order; empty when the engine gives none.
        language: ISO 639-1 code; empty when unknown.
        score: Mean word probability in 0..1.
        speaker: Who speaks, where the engine tells; the bundled ones do not.
    """

    text: str
    start_s: float
    end_s: float
    words: tuple[Word, ...] = ()
    language: str = ""
    score: float = 1.0
    speaker: str = ""


class SpeechEngine(Protocol):
    """Recognises speech."""

    @property
    def revision(self) -> str:
        """Model and settings: recognised parts are kept under it."""
        ...

    def transcribe(self, sound: Sound) -> list[Segment]:
        """Segments in order; none where nobody speaks.

        Args:
            sound: Shape (n,), at `SAMPLE_RATE`; a few minutes at most.

        Raises:
            MissingExtraError: the package is not installed.
            LoadError: the engine failed.
        """
        ...


WORDS_KEY = "words"
"""Metadata key of the times of a text: "0,12,35 6,47,20": of each word (or caption) the character it starts at,
the hundredths of a second from the node's start, and its length in hundredths."""

Timed = tuple[int, int, float, float]
"""Start and end in a text, and the seconds at which that stretch starts and ends."""


def word_times(node: "TextNode") -> list[Timed]:
    """Times of the words of a speech or caption node, in order of its text; empty for nodes without times.

    Captions have the time of each caption in place of each word.
    """
    packed, start = node.metadata.get(WORDS_KEY), node.metadata.get("start_s")
    if not isinstance(packed, str) or not isinstance(start, int | float):
        return []
    items = [[int(part) for part in item.split(",")] for item in packed.split()]
    ends = [item[0] for item in items[1:]] + [len(node.text)]
    found = []
    for (first, begin, length), end in zip(items, ends, strict=True):
        last = first + len(node.text[first:end].rstrip())
        if last > first:
            found.append((first, last, round(start + begin / 100, 2), round(start + (begin + length) / 100, 2)))
    return found


def pack_words(times: Iterable[Timed], start_s: float, first: int = 0) -> str:
    """Times of words as `WORDS_KEY` holds them.

    Args:
        times: In order of the text.
        start_s: Start of the node; earlier words count as starting there.
        first: Character of `times` at which the node's text starts.
    """
    packed = []
    for begin_char, _, begin, end in times:
        offset = max(0, round((begin - start_s) * 100))
        packed.append(f"{begin_char - first},{offset},{max(0, round((end - start_s) * 100) - offset)}")
    return " ".join(packed)


def pause(sound: Sound, first_s: float, last_s: float) -> float:
    """The best place to cut sound between two times: the middle of the longest quiet stretch.

    Args:
        sound: Shape (n,), at `SAMPLE_RATE`.
        first_s: Seconds from its start.
        last_s: Likewise, at most its length.

    Returns:
        Seconds; of equal stretches the last.
    """
    step = SAMPLE_RATE // 20
    window = sound[int(first_s * SAMPLE_RATE) : int(last_s * SAMPLE_RATE)]
    count = len(window) // step
    if count < 2:
        return last_s
    loudness = np.sqrt(np.mean(np.square(window[: count * step].reshape(count, step)), axis=1))
    # Quiet is what lies near the floor of this stretch, well below its usual loudness.
    quiet = loudness <= max(1.5 * float(np.quantile(loudness, 0.1)), 1e-4)
    best, length, run = float(count), 0, 0
    for at, is_quiet in enumerate([*quiet, False]):
        if is_quiet:
            run += 1
            continue
        if run and run >= length:
            best, length = at - run / 2, run
        run = 0
    return first_s + best * step / SAMPLE_RATE


def loudness_db(sound: Sound) -> float:
    """Loudness of the loudest tenth of a second in dB of full scale; -120 for silence."""
    step = SAMPLE_RATE // 10
    count = len(sound) // step
    parts = sound[: count * step].reshape(count, step) if count else sound.reshape(1, -1)
    if not parts.size:
        return -120.0
    rms = float(np.sqrt(np.mean(np.square(parts), axis=1)).max())
    return 20 * float(np.log10(rms)) if rms > 1e-6 else -120.0
