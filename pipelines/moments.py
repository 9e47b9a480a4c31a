"""Moments of recordings: filters by time, the seconds of a quote, and neighbouring speech as one result."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from llama_index.core.schema import BaseNode, TextNode
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from sensorium.clock import seconds
from sensorium.errors import QueryError
from sensorium.nodes import Evidence
from sensorium.pipelines.results import Hit
from sensorium.pipelines.units import node_text
from sensorium.speech_types import word_times

SAID = frozenset({"speech", "caption"})
LONGEST_S = 60.0
"""Neighbouring speech is shown as one result up to this length: longer ones would point at no moment."""
GAP_S = 2.0
"""A longer pause separates what is said."""

Spans = Iterable[tuple[int, int]]
"""Starts and ends in the text of a node."""


def at_filter(value: Any) -> MetadataFilters:
    """What is shown or said at a time, or within a span of time.

    Args:
        value: Seconds (75), a clock ("1:15"), or a span ("1:15-1:30": whatever reaches into it).

    Raises:
        QueryError: it is no time.
    """
    first, last = span_of(value, "The filter on 'at'")
    return MetadataFilters(
        filters=[
            MetadataFilter(key="start_s", value=last, operator=FilterOperator.LTE),
            MetadataFilter(key="end_s", value=first, operator=FilterOperator.GTE),
        ],
        condition=FilterCondition.AND,
    )


def at_filters(values: Sequence[Any]) -> MetadataFilters:
    """`at_filter` for any of several times."""
    return MetadataFilters(filters=[at_filter(value) for value in values], condition=FilterCondition.OR)


def span_of(value: Any, what: str) -> tuple[float, float]:
    """A time, or a span of time, in seconds.

    Args:
        value: As of `at_filter`.
        what: Names it in errors.

    Raises:
        QueryError: it is no time.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = value if isinstance(value, str) else f"{value:f}" if number else repr(value)
    try:
        first, dash, last = text.partition("-")
        span = seconds(first), seconds(last if dash else first)
    except ValueError as fault:
        raise QueryError(f"{what}: {fault}.", "Write at=75, at=1:15 or at=1:15-1:30.") from None
    if span[1] < span[0]:
        raise QueryError(f"{what}: {value!r} ends before it starts.")
    return span


def quoted_evidence(node: BaseNode, spans: Spans) -> Evidence:
    """Evidence of a node, with the seconds in which some of its words are said (of a scene: are on the screen).

    Where their times are not known, it is that of the whole node.

    Args:
        node: Of any kind.
        spans: The quoted words, in the node's text.
    """
    evidence = Evidence.of(node)
    wanted = list(spans)
    if evidence.start_s is None or not wanted or not isinstance(node, TextNode):
        return evidence
    said = [(a, b) for first, last, a, b in word_times(node) if any(first < end and start < last
                                                                    for start, end in wanted)]  # fmt: skip
    if not said:
        return evidence
    start, end = min(a for a, _ in said), max(b for _, b in said)
    return evidence.model_copy(update={"start_s": start, "end_s": max(start, end)})


def evidence_of(node: BaseNode, quote: str) -> Evidence:
    """`quoted_evidence` of words taken from a node, with gaps shown as " … "; the node's own where none are found."""
    text, spans = node_text(node), []
    for part in quote.split("…"):
        words = part.split()
        match = re.search(r"\s+".join(map(re.escape, words)), text) if words else None
        if match:
            spans.append(match.span())
    return quoted_evidence(node, spans)


def joined(hits: Sequence[Hit]) -> list[Hit]:
    """Hits of speech that go on in one another as one, in the place of the best of them.

    It keeps the best one's node and score, and says in `neighbours` what else it holds. Together they last at most
    `LONGEST_S`.

    Args:
        hits: Best first.
    """
    kept: list[Hit] = []
    for hit in hits:
        place = next((n for n, other in enumerate(kept) if _goes_on(other, hit)), None)
        if place is None:
            kept.append(hit)
        else:
            kept[place] = _together(kept[place], hit)
    return [replace(hit, rank=rank) for rank, hit in enumerate(kept, 1)]


def _together(hit: Hit, other: Hit) -> Hit:
    return replace(hit, neighbours=(*hit.neighbours, other.node), duplicates=(*hit.duplicates, *other.duplicates))


def _goes_on(hit: Hit, other: Hit) -> bool:
    """Whether two hits stand side by side in one recording, and are short enough to be shown as one."""
    nodes = [hit.node, *hit.neighbours, other.node]
    first = nodes[0].metadata
    if first.get("kind") not in SAID or any(n.metadata.get("start_s") is None for n in nodes):
        return False
    if any(n.ref_doc_id != nodes[0].ref_doc_id or n.metadata["kind"] != first["kind"] for n in nodes):
        return False
    if any(n.metadata.get("section") != first.get("section") for n in nodes):
        return False  # of different chapters
    spans = sorted((float(n.metadata["start_s"]), float(n.metadata.get("end_s") or 0.0)) for n in nodes)
    near = all(-GAP_S <= after[0] - before[1] <= GAP_S for before, after in pairwise(spans))
    return near and spans[-1][1] - spans[0][0] <= LONGEST_S
