"""Whether an answer's statements hold: each against the words of the sources that it cites."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from sensorium.models.base import Matrix, Span
from sensorium.pipelines._extractive.quote import clip
from sensorium.pipelines._extractive.terms import question_terms, question_words
from sensorium.pipelines._multimodal.figures import forms, missing
from sensorium.pipelines._multimodal.sources import Source, checked_text
from sensorium.pipelines.described import described
from sensorium.pipelines.results import Verdict
from sensorium.pipelines.units import node_text, units

ENOUGH_WORDS = 0.6
"""Share of a statement's weighted words that its sources have to contain."""
SOME_WORDS, NEAR_MEANING = 0.35, 0.6
"""With fewer words, a statement also has to be near a sentence of its sources in meaning (cosine)."""
# With these, of the true answers of the development questions 21 of 22 are confirmed by their passage, of the same with
# other digits or words none, and 2 of 22 by another passage of the same search.
MISSING_NAMES = 0.5
"""Weighted share of a statement's names that its sources may lack."""
QUOTE_CHARS = 300

_MARKERS = re.compile(r"(?:\s*\[\d{1,4}\])+")
_MARKER = re.compile(r"\[(\d{1,4})\]")
_ABBREVIATED = re.compile(r"\b(?:[A-Z]|(?i:e\.g|i\.e|approx|ca|cf|dr|etc|fig|mr|mrs|ms|no|nr|prof|st|vs|al))\.$")
_STOP = re.compile(r"[.!?。！？][\"”’)]*(?:\s*\[\d{1,4}\])*(?=\s|$)|(?:\s*\[\d{1,4}\])*[ \t]*\n+")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+")


class Encoder(Protocol):
    """Embeds sentences."""

    def encode_parts(self, texts: Sequence[str], parts: Sequence[Sequence[Span]]) -> tuple[Matrix, list[Matrix]]:
        """See `models.base.PartEncoder`."""
        ...


Frequencies = Callable[[Sequence[str]], tuple[Mapping[str, int], int]]
"""For terms, in how many nodes each occurs, and how many nodes there are."""


@dataclass(frozen=True)
class Claim:
    """A statement of an answer.

    Attributes:
        text: Without markers.
        markers: Sources that it cites.
        verdict: What the comparison says; None before it.
        score: How well its sources' words support it, 0..1.
        missing: Numbers and dates that the sources do not have.
    """

    text: str
    markers: tuple[int, ...]
    verdict: Verdict | None = None
    score: float = 0.0
    missing: tuple[str, ...] = ()


def claims(answer: str) -> list[Claim]:
    """The statements of an answer. One without markers shares those at the end of its paragraph."""
    found: list[Claim] = []
    waiting: list[str] = []
    for text, markers, ends_line in _sentences(answer):
        if not markers and not ends_line:
            waiting.append(text)
            continue
        found += [Claim(earlier, markers) for earlier in waiting]
        waiting = []
        if not (text.endswith(":") and not markers):
            found.append(Claim(text, markers))
    return [*found, *(Claim(text, ()) for text in waiting)]


def _sentences(answer: str) -> list[tuple[str, tuple[int, ...], bool]]:
    """Text without markers, its markers, and whether the line ends with it."""
    parts: list[tuple[str, tuple[int, ...], bool]] = []
    start = 0
    for stop in [*_STOP.finditer(answer), None]:
        end = len(answer) if stop is None else stop.end()
        if stop is not None and stop[0][0] == "." and _ABBREVIATED.search(answer[start : stop.start() + 1]):
            continue
        piece, ends = answer[start:end], stop is None or "\n" in answer[end - 1 : end + 1] or end == len(answer)
        start = end
        text = _BULLET.sub("", _MARKERS.sub("", piece)).strip().lstrip("*").rstrip("*")
        if any(c.isalnum() for c in text):
            parts.append((text, tuple(dict.fromkeys(map(int, _MARKER.findall(piece)))), ends))
        elif parts and (late := tuple(map(int, _MARKER.findall(piece)))):  # markers behind a line break
            last = parts[-1]
            parts[-1] = (last[0], tuple(dict.fromkeys(last[1] + late)), last[2])
    return parts


class Verifier:
    """Compares statements with sources.

    Words of the question need not stand in the very passage: a report that is about 2024 says so on its first page.
    They may come from any source of the same file; what a statement adds to the question may not.

    Args:
        frequencies: How common words are in the index: rare ones weigh more.
        encoder: Judges paraphrases.
    """

    def __init__(self, frequencies: Frequencies, encoder: Encoder) -> None:
        self._frequencies, self._encoder = frequencies, encoder

    def check(self, claim: Claim, sources: Mapping[int, Source], question: str = "") -> Claim:
        """The claim with its verdict.

        Args:
            claim: A statement.
            sources: Those that were sent, by number.
            question: As asked.
        """
        cited = [sources[n] for n in claim.markers if n in sources]
        if not cited:
            return Claim(claim.text, (), "unsupported")
        files = {source.hit.evidence.sha256 for source in cited}
        around = _joined(source for source in sources.values() if source.hit.evidence.sha256 in files)
        lacking = missing(claim.text, _joined(cited))
        given = set(lacking) - set(missing(question, "")) | set(missing(" ".join(lacking), around))
        lacking = tuple(number for number in lacking if number in given)
        score = self._score(claim.text, question, cited, around)
        verdict: Verdict = "supported"
        if lacking or score < ENOUGH_WORDS:
            verdict = "from picture" if self._from_picture(claim.text, cited, sources.values()) else "unsupported"
        return Claim(claim.text, claim.markers, verdict, score, lacking)

    def _from_picture(self, claim: str, cited: Sequence[Source], sources: Iterable[Source]) -> bool:
        """Whether a claim may come from a picture: one that was sent, or one whose description says so.

        A long description is several sources; all of them that were sent count, whichever is cited.
        """
        if any(source.sees for source in cited):
            return True
        pictures = {source.hit.node.metadata.get("picture_id") for source in cited if described(source.hit)}
        told = [s.hit for s in sources if described(s.hit) and s.hit.node.metadata.get("picture_id") in pictures]
        said = "\n".join(hit.text for hit in told)
        if not said or missing(claim, said):
            return False
        frequency, nodes = self._frequencies(question_words(claim))
        terms = question_terms(claim, frequency, nodes)
        return not len(terms) or terms.share(terms.match(said)) >= ENOUGH_WORDS

    def _score(self, claim: str, question: str, cited: Sequence[Source], around: str) -> float:
        """Share of weighted words, of all and of those that the question does not have; the lower of the two."""
        frequency, nodes = self._frequencies(question_words(claim))
        terms = question_terms(claim, frequency, nodes)
        if not len(terms):
            return 1.0
        asked = set(question_words(question))
        new = np.array([term.term not in asked for term in terms.terms])
        here = terms.match(_joined(cited))
        match = np.where(new, here, np.maximum(here, terms.match(around))) if new.any() else here
        share = terms.share(match)
        if new.any():
            share = min(share, float(terms.weights[new] @ here[new] / (terms.weights[new].sum() or 1.0)))
        if terms.missing(match, terms.names) > MISSING_NAMES:
            return min(share, SOME_WORDS)
        if SOME_WORDS <= share < ENOUGH_WORDS and self._meaning(claim, cited) >= NEAR_MEANING:
            return ENOUGH_WORDS
        return share

    def _meaning(self, claim: str, cited: Sequence[Source]) -> float:
        """Cosine of the statement and the nearest sentence of its sources."""
        near = [text for source in cited for text in Quotable(source).best(claim, 4)]
        if not near:
            return 0.0
        texts = [claim, *near]
        vectors, _ = self._encoder.encode_parts(texts, [()] * len(texts))
        return float(np.max(vectors[1:] @ vectors[0]))


def _joined(sources: Iterable[Source]) -> str:
    return "\n".join(checked_text(source.hit) for source in sources)


@dataclass(frozen=True)
class Quotable:
    """The sentences and table rows of a source, to quote from; a model's description has none."""

    source: Source

    @cached_property
    def _units(self) -> list[str]:
        if described(self.source.hit):
            return []
        text = node_text(self.source.hit.node)
        return [text[u.start : u.end] for u in units(text, self.source.hit.evidence.kind)]

    def best(self, claim: str, most: int = 1) -> list[str]:
        """The units that share most words with a statement, as they stand in the source."""
        words = set(question_words(claim))
        numbers = forms(claim)

        def shared(unit: str) -> float:
            own = set(question_words(unit))
            return len(words & own) / math.sqrt(len(own) + 8) + len(numbers & forms(unit))

        return sorted(self._units, key=shared, reverse=True)[:most]

    def quote(self, said: Sequence[str]) -> str:
        """The words of the source behind statements; empty for a picture without words."""
        if described(self.source.hit):
            return ""
        found = self.best(" ".join(said)) if said else self._units[:1]
        text = found[0] if found else str(self.source.hit.node.metadata.get("caption", ""))
        return clip(" ".join(text.strip().strip("|").split()), QUOTE_CHARS)
