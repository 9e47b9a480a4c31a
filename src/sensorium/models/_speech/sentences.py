"""Segments of about a sentence from recognised words."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from sensorium.speech_types import Segment, Word

_END = re.compile(r"[.!?…。！？][\"'”’»)\]]*$")
# A period after these ends no sentence.
_SHORT = frozenset("mr mrs ms dr st prof jr sr vs no fig etc e.g i.e u.s a.m p.m z.b bzw ca".split())
_PAUSE_S = 1.0  # a pause this long ends a segment, whatever the punctuation says
_LONGEST_S = 20.0
_NO_BLANKS = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef\u0e00-\u0e7f]{2}")


def ends_sentence(word: str) -> bool:
    """Whether a word with its punctuation is the last of a sentence."""
    return bool(_END.search(word)) and word.rstrip(".").casefold() not in _SHORT


def segments(words: Iterable[Word], language: str = "") -> list[Segment]:
    """Segments of words: cut at the ends of sentences and at pauses.

    Args:
        words: In order of time.
        language: ISO 639-1 code.
    """
    return [_segment(run, language) for run in _runs(words)]


def texted(text: str, words: Sequence[Word]) -> list[Word]:
    """Words with the spelling and punctuation of a text, where the engine gives both.

    Words that do not stand in the text are left out; the ones before take their place in it.
    """
    folded, at, found = text.casefold(), 0, list[tuple[int, Word]]()
    if len(folded) != len(text):
        folded = text.lower() if len(text.lower()) == len(text) else text
    for word in words:
        place = folded.find(word.text.strip().casefold(), at)
        if word.text.strip() and 0 <= place < at + 40:
            found.append((place, word))
            at = place + len(word.text.strip())
    starts = [0, *(place for place, _ in found[1:]), len(text)]
    cut = [text[a:b].strip() for a, b in pairwise(starts)]
    return [replace(word, text=part) for (_, word), part in zip(found, cut, strict=True)] if found else []


def joined(words: Sequence[Word]) -> str:
    """The text of words: blanks between them, but none where a script writes none."""
    text = ""
    for word in words:
        text += word.text if not text or unspaced(text[-1] + word.text[:1]) else f" {word.text}"
    return text


def unspaced(pair: str) -> bool:
    """Whether two characters belong to scripts that write no blanks between words."""
    return bool(_NO_BLANKS.fullmatch(pair))


def _runs(words: Iterable[Word]) -> Iterator[list[Word]]:
    run: list[Word] = []
    for word in words:
        if run and (word.start_s - run[-1].end_s >= _PAUSE_S or word.end_s - run[0].start_s > _LONGEST_S):
            yield run
            run = []
        run.append(word)
        if ends_sentence(word.text):
            yield run
            run = []
    if run:
        yield run


def _segment(run: list[Word], language: str) -> Segment:
    score = sum(word.score for word in run) / len(run)
    end = max(word.end_s for word in run)
    return Segment(joined(run), run[0].start_s, end, tuple(run), language, round(score, 3))
