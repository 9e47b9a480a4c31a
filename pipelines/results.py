"""What a search and a question give back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from llama_index.core.schema import BaseNode

from sensorium.loaders.base import Picture
from sensorium.nodes import Evidence

PictureOf = Callable[[Evidence, Mapping[str, Any]], Picture]
"""Draws what evidence (and its node's metadata) points at; supplied by the knowledge base."""

Verdict = Literal["supported", "unsupported", "from picture"]


@dataclass(frozen=True)
class Hit:
    """One result of a search.

    Attributes:
        rank: 1-based.
        score: Of the last stage that scored (fusion or reranker); higher is better, comparable within a search.
        node: The LlamaIndex node.
        legs: For each leg that found it, (rank, raw score).
        duplicates: Ids of nodes with the same content that were folded into this one.
    """

    rank: int
    score: float
    node: BaseNode
    legs: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    duplicates: tuple[str, ...] = ()

    @property
    def evidence(self) -> Evidence:
        """Where the hit stands in its source."""
        return Evidence.of(self.node)

    @property
    def text(self) -> str:
        """The node's text."""
        return str(getattr(self.node, "text", "")) or self.node.get_content()

    def public(self) -> dict[str, Any]:
        """The JSON shape of the command line."""
        return {
            "rank": self.rank,
            "score": round(self.score, 6),
            "node_id": self.node.node_id,
            "text": self.text,
            "evidence": self.evidence.public(),
        }


@dataclass(frozen=True)
class Citation:
    """A quoted passage and where it stands.

    Attributes:
        marker: The number in the answer's text: 1 for "[1]".
        quote: Words of the source, verbatim; gaps are shown as " … ".
        score: Support of this passage, 0..1.
        evidence: Where it stands.
        node_id: The node it was taken from.
        metadata: That node's metadata.
        verdict: Of an answer in a model's words: whether the evidence says what is cited from it. "from picture": its
            words alone do not, and the model was shown its picture. None where words are quoted.
    """

    marker: int
    quote: str
    score: float
    evidence: Evidence
    node_id: str
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    picture_of: PictureOf | None = field(default=None, repr=False, compare=False)
    verdict: Verdict | None = None

    def asset(self) -> Picture:
        """The crop, slide picture or clip that shows the passage.

        Raises:
            EvidenceError: the source vanished or changed, or has no picture.
        """
        if self.picture_of is None:
            raise RuntimeError("This citation was made outside of a knowledge base.")
        return self.picture_of(self.evidence, self.metadata)

    def public(self) -> dict[str, Any]:
        """The JSON shape of the command line."""
        return {
            "marker": self.marker,
            "quote": self.quote,
            "score": round(self.score, 4),
            "node_id": self.node_id,
            "evidence": self.evidence.public(),
        } | ({"verdict": self.verdict} if self.verdict else {})


Outcome = Literal["answered", "unconfirmed", "nothing"]


@dataclass(frozen=True)
class Answer:
    """An answer with its evidence.

    Attributes:
        question: As asked.
        text: With markers "[1]" that name the citations.
        outcome: "answered"; "unconfirmed": the closest passages, which do not confirm an answer; "nothing" found.
        support: How well the evidence supports the answer, 0..1 (measured, not a probability).
        citations: In order of their markers.
        hits: What retrieval brought.
        seconds: Wall time.
        trace: Times and counts by stage, for people who tune pipelines.
        notes: What a reader of the answer should know: that it breaks off, that a statement was not confirmed.
    """

    question: str
    text: str
    outcome: Outcome
    support: float
    citations: tuple[Citation, ...] = ()
    hits: tuple[Hit, ...] = ()
    seconds: float = 0.0
    trace: Mapping[str, Any] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def abstained(self) -> bool:
        """Whether the pipeline declined to answer."""
        return self.outcome != "answered"

    def public(self) -> dict[str, Any]:
        """The JSON shape of the command line."""
        return {
            "question": self.question,
            "answer": self.text,
            "abstained": self.abstained,
            "support": round(self.support, 4),
            "citations": [citation.public() for citation in self.citations],
            "seconds": round(self.seconds, 4),
        } | ({"notes": list(self.notes)} if self.notes else {})
