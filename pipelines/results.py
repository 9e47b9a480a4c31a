"""What a search and a question give back."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

from llama_index.core.schema import BaseNode

from sensorium.errors import EvidenceError
from sensorium.loaders.base import Picture
from sensorium.nodes import MADE_BY, Box, Evidence, around, made_by
from sensorium.pipelines._links import link as linked
from sensorium.pipelines._links.link import Link

Form = Literal["picture", "clip"]
"""How evidence is shown: a still picture, or a clip of a recording."""


class PictureOf(Protocol):
    """Draws, or cuts, what evidence (and its node's metadata) points at; supplied by the knowledge base."""

    def __call__(self, evidence: Evidence, metadata: Mapping[str, Any], form: Form = "picture", /) -> Picture:
        """See `pipelines.evidence.PictureDrawer.draw`."""
        ...


@runtime_checkable
class Locator(Protocol):
    """A `PictureOf` that also finds quotes in the evidence; see `pipelines.shown.Shown`."""

    def lines(self, evidence: Evidence, metadata: Mapping[str, Any], quote: str) -> tuple[Box, ...]:
        """Boxes of the lines of a quote."""
        ...

    def highlighted(self, evidence: Evidence, metadata: Mapping[str, Any], quote: str) -> Picture:
        """The picture of evidence with a quote marked."""
        ...


def usual_form(evidence: Evidence, metadata: Mapping[str, Any]) -> Form:
    """A clip for what is said, a picture for everything else."""
    said = evidence.kind == "speech" or (evidence.kind == "caption" and MADE_BY not in metadata)
    return "clip" if said and evidence.start_s is not None else "picture"


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
        neighbours: Nodes of the same recording that go on where this one ends, or end where it starts; `text` and
            `evidence` span them (`pipelines.moments`).
        links: Between its place and recordings that show it, or the slides that it shows (`pipelines.links`).
    """

    rank: int
    score: float
    node: BaseNode
    legs: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    duplicates: tuple[str, ...] = ()
    neighbours: tuple[BaseNode, ...] = ()
    links: tuple[Link, ...] = ()

    @property
    def moments(self) -> tuple[Link, ...]:
        """Of a slide or page: the seconds at which recordings show it."""
        return linked.moments(self.evidence, self.links)

    @property
    def shows(self) -> tuple[Link, ...]:
        """Of a moment of a recording: the slides and pages that are seen."""
        return linked.shows(self.evidence, self.links)

    @property
    def evidence(self) -> Evidence:
        """Where the hit stands in its source."""
        evidence = Evidence.of(self.node)
        if not self.neighbours:
            return evidence
        parts = [evidence, *(Evidence.of(node) for node in self.neighbours)]
        start, end = min(p.start_s or 0.0 for p in parts), max(p.end_s or 0.0 for p in parts)
        return evidence.model_copy(update={"start_s": start, "end_s": end})

    @property
    def text(self) -> str:
        """The node's text, with that of its neighbours in order."""
        parts = sorted((self.node, *self.neighbours), key=lambda node: float(node.metadata.get("start_s") or 0.0))
        return "\n".join(str(getattr(node, "text", "")) or node.get_content() for node in parts)

    def public(self) -> dict[str, Any]:
        """The JSON shape of the command line."""
        return {
            "rank": self.rank,
            "score": round(self.score, 6),
            "node_id": self.node.node_id,
            "text": self.text,
            "evidence": self.evidence.public(),
        } | self._more()

    def _more(self) -> dict[str, Any]:
        """What not every hit has."""
        more = {"made_by": made_by(self.node), "neighbours": [node.node_id for node in self.neighbours]}
        return {key: value for key, value in more.items() if value} | linked.public(self.evidence, self.links)


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
            words alone do not, and the model was shown its picture, or another model's description of it that says
            so. None where words are quoted.
        links: As of `Hit`.
    """

    marker: int
    quote: str
    score: float
    evidence: Evidence
    node_id: str
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    picture_of: PictureOf | None = field(default=None, repr=False, compare=False)
    verdict: Verdict | None = None
    links: tuple[Link, ...] = ()

    @property
    def moments(self) -> tuple[Link, ...]:
        """Of a slide or page: the seconds at which recordings show it."""
        return linked.moments(self.evidence, self.links)

    @property
    def shows(self) -> tuple[Link, ...]:
        """Of a moment of a recording: the slides and pages that are seen."""
        return linked.shows(self.evidence, self.links)

    @property
    def described_by(self) -> str:
        """Of a picture that was found by a description: the model that wrote it. Else empty."""
        return str(self.metadata.get(MADE_BY, ""))

    def asset(self, form: Form | None = None) -> Picture:
        """The crop, slide picture, frame or clip that shows the passage.

        Args:
            form: "picture" or "clip"; by default a clip of what is said, and a picture of everything else.

        Raises:
            EvidenceError: the source vanished or changed, or has no picture, or no clip.
        """
        if self.picture_of is None:
            raise RuntimeError("This citation was made outside of a knowledge base.")
        form = form or usual_form(self.evidence, self.metadata)
        if form == "picture":
            return self.picture_of(self.evidence, self.metadata)
        return self.picture_of(self.evidence, self.metadata, form)

    @cached_property
    def lines(self) -> tuple[Box, ...]:
        """Where in the evidence's region the quote stands: boxes of its lines, in fractions of the page.

        Found when it is first asked for: in some milliseconds in the text of a page, in about a second where text has
        to be recognised. Empty when the quote is not found there, or the source vanished or changed.
        """
        if not isinstance(self.picture_of, Locator):
            return ()
        with suppress(EvidenceError):  # `asset` says so
            return self.picture_of.lines(self.evidence, self.metadata, self.quote)
        return ()

    @property
    def quote_box(self) -> Box | None:
        """The box around `lines`: tighter than that of the evidence; None when the quote is not found."""
        return around(self.lines) if self.lines else None

    def highlighted(self) -> Picture:
        """The picture of the evidence with the quote marked; unmarked, with a note, where it is not found.

        Raises:
            EvidenceError: as `asset`.
        """
        if not isinstance(self.picture_of, Locator):
            return self.asset("picture")
        return self.picture_of.highlighted(self.evidence, self.metadata, self.quote)

    def located(self) -> dict[str, Any]:
        """`public`, with `quote_box`."""
        box = self.quote_box
        return self.public() | {"quote_box": [round(v, 5) for v in box] if box else None}

    def public(self) -> dict[str, Any]:
        """The JSON shape of the command line."""
        return {
            "marker": self.marker,
            "quote": self.quote,
            "score": round(self.score, 4),
            "node_id": self.node_id,
            "evidence": self.evidence.public(),
        } | self._more()

    def _more(self) -> dict[str, Any]:
        """What not every citation has."""
        more = {"verdict": self.verdict, "described_by": self.described_by}
        return {key: value for key, value in more.items() if value} | linked.public(self.evidence, self.links)


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

    def located(self) -> dict[str, Any]:
        """`public`, each citation with the `quote_box` of its quote (null where it is not found)."""
        return self.public() | {"citations": [citation.located() for citation in self.citations]}

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
