"""Answers from hits. `Extractive` quotes the best supported sentence or table cell; it needs no LLM."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sensorium.models.base import Matrix, Span
from sensorium.nodes import embedding_text
from sensorium.pipelines._extractive.answer_types import expected_type
from sensorium.pipelines._extractive.features import Candidate, ranked
from sensorium.pipelines._extractive.judge import candidates
from sensorium.pipelines._extractive.passages import Asked, Passage
from sensorium.pipelines._extractive.quote import Quoted, quotes, rival
from sensorium.pipelines._extractive.support import signs, support, without_missing
from sensorium.pipelines._extractive.terms import question_terms, question_words
from sensorium.pipelines.described import described, with_pictures
from sensorium.pipelines.moments import quoted_evidence
from sensorium.pipelines.results import Answer, Citation, Hit, Outcome
from sensorium.pipelines.synthesis import Synthesizer
from sensorium.pipelines.units import unit_spans
from sensorium.stores.base import Store

SENTENCES = "sentences"
"""The space that keeps one vector for each unit of a node."""

LONGEST_QUESTION = 2_000
"""Characters of a question that are read; the embedder reads fewer."""

CLOSE = 0.75
"""Candidates whose score is at most this much below the best are quoted with it."""

UNCONFIRMED = "The sources do not state an answer to this. The closest passages do not confirm one:"
NOTHING = "No information on this was found in the sources."
LEADS: dict[Outcome, list[str]] = {"answered": [], "unconfirmed": [UNCONFIRMED], "nothing": [NOTHING]}


class UnitEncoder(Protocol):
    """What embeds the question, and the units of nodes that have no stored vectors."""

    def get_query_embedding(self, query: str) -> list[float]:
        """Unit vector of a question."""
        ...

    def encode_parts(self, texts: Sequence[str], parts: Sequence[Sequence[Span]]) -> tuple[Matrix, list[Matrix]]:
        """See `models.base.PartEncoder`."""
        ...


class Extractive(Synthesizer):
    """Quotes the best supported sentences or table cells, with a measured support, and declines below a threshold.

    Args:
        store: Supplied by the pipeline: term statistics and stored unit vectors.
        encoder: Supplied by the pipeline: the embedder of the stored unit vectors.
        answer_from: Least support of an answer. On the development set .35 answers 84 % (index of 70 nodes) to 90 %
            (2,700 nodes) of the natural questions that have an answer, and declines 57 to 71 % of hard near misses
            and 97 % of questions off topic; .5 answers 76 to 85 % and declines 70 to 82 % of near misses.
        closest_from: Least support of passages worth naming when there is no answer.
        quotes: Most passages quoted.
        quote_chars: Longest quote in characters.
        hits: How many hits are read.
    """

    def __init__(
        self, store: Store, encoder: UnitEncoder,
        answer_from: Annotated[float, Field(ge=0, le=1)] = 0.35,
        closest_from: Annotated[float, Field(ge=0, le=1)] = 0.15,
        quotes: Annotated[int, Field(ge=1, le=10)] = 3,
        quote_chars: Annotated[int, Field(ge=80, le=2000)] = 300,
        hits: Annotated[int, Field(ge=1, le=50)] = 8,
    ) -> None:  # fmt: skip
        super().__init__()
        self.store, self.encoder = store, encoder
        self.answer_from, self.closest_from = answer_from, closest_from
        self.quotes, self.quote_chars, self.hits = quotes, quote_chars, hits

    def answer(self, question: str, hits: Sequence[Hit], query_vector: NDArray[np.float32] | None = None) -> Answer:
        """Answer a question from hits, best first.

        Args:
            question: As asked.
            hits: What retrieval brought; the first `hits` are read.
            query_vector: The question's vector from the encoder, when it is known.
        """
        started = time.perf_counter()
        asked, question = question, question[:LONGEST_QUESTION]
        if query_vector is None:
            query_vector = np.asarray(self.encoder.get_query_embedding(question), np.float32)
        found = self.candidates(question, hits, query_vector)
        answer = with_pictures(self._composed(question, found, query_vector), hits)
        seconds = time.perf_counter() - started
        trace = {"candidates": len(found), "seconds": seconds, **answer.trace}
        return replace(answer, question=asked, hits=tuple(hits), seconds=seconds, trace={"extractive": trace})

    def candidates(self, question: str, hits: Sequence[Hit], query_vector: NDArray[np.float32]) -> list[Candidate]:
        """Every sentence and table row of the hits, judged, best first."""
        read = [hit for hit in hits if hit.text.strip() and not described(hit)][: self.hits]
        words = question_words(question)
        if not read or not words:
            return []
        frequency = self.store.document_frequency(words)
        terms = question_terms(question, frequency, self.store.count())
        asked = Asked(question, terms, expected_type(question))
        counts = {doc: self.store.term_counts(doc, words) for doc in {h.node.ref_doc_id or "" for h in read}}
        passages = [Passage(asked, hit, counts[hit.node.ref_doc_id or ""]) for hit in read]
        vectors = self._unit_vectors(passages)
        return ranked([c for p, v in zip(passages, vectors, strict=True) for c in candidates(p, v, query_vector)])

    def _unit_vectors(self, passages: Sequence[Passage]) -> list[Matrix]:
        """Stored unit vectors; nodes without them (or with others than their units) are embedded now."""
        stored: dict[str, Matrix] = {}
        if SENTENCES in self.store.spaces:
            stored = dict(self.store.vectors([p.hit.node.node_id for p in passages], SENTENCES))
        lacking = [p for p in passages if len(stored.get(p.hit.node.node_id, ())) != len(p.units)]
        if lacking:
            nodes = [p.hit.node for p in lacking]
            _, made = self.encoder.encode_parts(list(map(embedding_text, nodes)), list(map(unit_spans, nodes)))
            stored |= {node.node_id: matrix for node, matrix in zip(nodes, made, strict=True)}
        return [stored[p.hit.node.node_id] for p in passages]

    def _composed(self, question: str, found: Sequence[Candidate], query_vector: NDArray[np.float32]) -> Answer:
        if not found:
            return Answer(question, NOTHING, "nothing", 0.0)
        quoted = self._close(found)
        found_signs = signs(found[0], rival(found, quoted), quoted[0].text, self._paraphrase(found[0], query_vector))
        measured = support(found_signs)
        if measured < self.answer_from:
            quoted = quotes(_different_nodes(found, self.quotes), self.quote_chars)
        citations = _citations(found, quoted, measured)
        lines = [f"{c.quote} [{c.marker}]" for c in citations]
        outcome: Outcome = "answered" if measured >= self.answer_from else "unconfirmed"
        if measured < min(self.closest_from, self.answer_from):
            outcome, lines = "nothing", []
        text = "\n".join([*LEADS[outcome], *lines])
        return Answer(question, text, outcome, measured, citations, trace={"signs": found_signs._asdict()})

    def _close(self, found: Sequence[Candidate]) -> list[Quoted]:
        """Quotes of the best candidate and of those that fit nearly as well."""
        chosen: list[Candidate] = []
        quoted: list[Quoted] = []
        for candidate in found:
            if found[0].score - candidate.score > CLOSE or len(chosen) == self.quotes:
                break
            more = quotes([*chosen, candidate], self.quote_chars)
            if sum(len(q.parts) for q in more) > len(chosen):
                chosen.append(candidate)
                quoted = more
        return quoted

    def _paraphrase(self, best: Candidate, query_vector: NDArray[np.float32]) -> float:
        """See `Signs.paraphrase`."""
        rest = without_missing(best)
        if rest is None:
            return 0.0
        shorter = np.asarray(self.encoder.get_query_embedding(rest or "?"), np.float32)
        return float((query_vector - shorter) @ best.vector)


def _citations(found: Sequence[Candidate], quoted: Sequence[Quoted], measured: float) -> tuple[Citation, ...]:
    other = rival(found, quoted)
    citations = []
    for marker, part in enumerate(quoted, 1):
        hit, units, score = part.best.passage.hit, part.best.passage.units, measured
        if part.best is not found[0]:
            score = min(measured, support(signs(part.best, other, part.text, 0.0)))
        evidence = quoted_evidence(hit.node, ((units[n].start, units[n].end) for n in part.units))
        citations.append(Citation(marker, part.text, score, evidence, hit.node.node_id, hit.node.metadata))
    return tuple(citations)


def _different_nodes(found: Sequence[Candidate], most: int) -> list[Candidate]:
    chosen: dict[str, Candidate] = {}
    for candidate in found:
        chosen.setdefault(candidate.passage.hit.node.node_id, candidate)
        if len(chosen) == most:
            break
    return list(chosen.values())
