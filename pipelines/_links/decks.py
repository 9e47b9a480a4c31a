"""The slides and pages that a recording may show, as the store has them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Literal

from llama_index.core.schema import BaseNode, TextNode

from sensorium.nodes import Evidence
from sensorium.pipelines._links.words import Runs, runs
from sensorium.stores.base import SourceRecord, Store

Key = Literal["slide", "page"]
# What stands in the nodes of a slide, but not on it.
_UNSEEN = frozenset({"notes"})
ALL = 1 << 40


@dataclass(frozen=True, slots=True)
class Place:
    """A slide or page.

    Attributes:
        number: 1-based.
        runs: Of its words (`words.runs`).
    """

    number: int
    runs: Runs


@dataclass
class Deck:
    """A document whose slides or pages may be shown.

    Attributes:
        record: Its ledger row.
        key: What its parts are called.
        places: In order.
    """

    record: SourceRecord
    key: Key
    places: list[Place]
    index: dict[str, list[int]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for i, place in enumerate(self.places):
            for run in place.runs:
                self.index.setdefault(run, []).append(i)

    def nearest(self, screen: Runs, most: int) -> list[Place]:
        """The places that share most runs with a screen, runs of many places counting less."""
        shares: dict[int, float] = {}
        for run in screen:
            places = self.index.get(run, ())
            for i in places:
                shares[i] = shares.get(i, 0.0) + 1.0 / len(places)
        return [self.places[i] for i in nlargest(most, shares, key=lambda i: (shares[i], -i))]

    def evidence(self, number: int) -> Evidence:
        """The whole slide or page as evidence."""
        return Evidence(
            source=self.record.source, sha256=self.record.live_sha256, media_type=self.record.media_type,
            kind=self.key, slide=number if self.key == "slide" else None, page=number if self.key == "page" else None,
        )  # fmt: skip


def load(store: Store, record: SourceRecord) -> Deck | None:
    """A document with the words of its slides or pages; None when it has neither."""
    words: dict[tuple[Key, int], list[str]] = {}
    for node in store.siblings(record.doc_id, 0, ALL):
        place = _place(node)
        if place is not None:
            words.setdefault(place, []).extend(_words(node))
    if not words:
        return None
    key: Key = "slide" if any(key == "slide" for key, _ in words) else "page"
    return Deck(record, key, [Place(n, runs("\n".join(words[k, n]))) for k, n in sorted(words) if k == key])


def _place(node: BaseNode) -> tuple[Key, int] | None:
    for key in ("slide", "page"):
        number = node.metadata.get(key)
        if isinstance(number, int):
            return key, number
    return None


def _words(node: BaseNode) -> Iterable[str]:
    if node.metadata.get("kind") in _UNSEEN:
        return ()
    heading = str(node.metadata.get("section", "")).rpartition(" > ")[2]
    return heading, str(node.metadata.get("caption", "")), node.text if isinstance(node, TextNode) else ""


def wordless(records: Sequence[SourceRecord]) -> list[SourceRecord]:
    """Documents in which no words were found at all: pictures of slides without recognised text."""
    spoken = {"text", "table", "slide", "ocr", "notes"}
    return [record for record in records if record.counts and not spoken & record.counts.keys()]
