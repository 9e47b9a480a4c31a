"""Hits whose words a model wrote (descriptions of pictures): the picture is cited, never those words."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sensorium.nodes import made_by
from sensorium.pipelines.results import Answer, Citation, Hit, Verdict

MOST_PICTURES = 3
LOOKED_AT = 3
"""An answer without better evidence names a picture when its description is among so many hits."""
LEAD = "The sources do not state an answer to this in words. These pictures may show one:"


def described(hit: Hit) -> bool:
    """Whether a hit's text is a model's description of a picture."""
    return bool(made_by(hit.node))


def picture_citation(marker: int, hit: Hit, score: float = 0.0, verdict: Verdict | None = None) -> Citation:
    """The citation of the picture that a hit describes: without a quote, since nothing of it was said by the source."""
    metadata = hit.node.metadata
    evidence = hit.evidence.model_copy(update={"kind": metadata.get("picture_kind", "figure")})
    node = str(metadata.get("picture_id") or hit.node.node_id)
    return Citation(marker, "", score, evidence, node, metadata, verdict=verdict)


def with_pictures(answer: Answer, hits: Sequence[Hit]) -> Answer:
    """An answer that found nothing in words, with the pictures near the top of what was found."""
    found = list(_pictures(hits[:LOOKED_AT]))[:MOST_PICTURES]
    if answer.outcome == "answered" or not found:
        return answer
    text, before = (answer.text, answer.citations) if answer.outcome == "unconfirmed" else (LEAD, ())
    cited = [picture_citation(marker, hit) for marker, hit in enumerate(found, len(before) + 1)]
    lines = [f"{_place(c)}, found by a model's description of it [{c.marker}]" for c in cited]
    return replace(answer, text="\n".join([text, *lines]), outcome="unconfirmed", citations=(*before, *cited))


def _pictures(hits: Iterable[Hit]) -> Iterable[Hit]:
    """One hit for each picture that is described."""
    seen: dict[str, Hit] = {}
    for hit in filter(described, hits):
        seen.setdefault(str(hit.node.metadata.get("picture_id")), hit)
    return seen.values()


def _place(citation: Citation) -> str:
    at = citation.evidence
    where = [f"{name} {value}" for name, value in (("page", at.page), ("slide", at.slide)) if value]
    return ", ".join([f"The {at.kind} in {at.source}", *where])
