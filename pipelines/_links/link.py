"""A link between a stretch of a recording and a slide or page, as results show it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sensorium.nodes import Evidence


@dataclass(frozen=True, slots=True)
class Link:
    """A stretch of a recording that shows a slide.

    Attributes:
        recording: Source of the recording, inside its folder.
        start_s: First second.
        end_s: Last second.
        source: Source of the deck or PDF.
        slide: 1-based slide; None for a page.
        page: 1-based page; None for a slide.
        score: How sure the link is, 0..1.
    """

    recording: str
    start_s: float
    end_s: float
    source: str
    slide: int | None
    page: int | None
    score: float


def moments(evidence: Evidence, links: Iterable[Link]) -> tuple[Link, ...]:
    """Of a slide or page: when recordings show it."""
    return tuple(links) if evidence.start_s is None else ()


def shows(evidence: Evidence, links: Iterable[Link]) -> tuple[Link, ...]:
    """Of a moment of a recording: the slides that are seen."""
    return tuple(links) if evidence.start_s is not None else ()


def public(evidence: Evidence, links: Sequence[Link]) -> dict[str, Any]:
    """The links of some evidence as JSON: `moments` of a slide, what a recording `shows`, or nothing."""
    if not links:
        return {}
    if evidence.start_s is None:
        times = [{"source": k.recording, "start_s": k.start_s, "end_s": k.end_s, "score": k.score} for k in links]
        return {"moments": times}
    return {"shows": [{"source": k.source, "slide": k.slide, "page": k.page, "score": k.score} for k in links]}
