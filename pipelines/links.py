"""Which slides recordings show: links between a second of a recording and a slide of a deck, or a page of a PDF.

Links are found after an indexing run, for the recordings and decks that changed in it, by the words on the screen
and by how it looks (`_links.match`). They are kept as notes of the store, so that every process sees them, under the
recording and under the deck: `Links` gives both directions. They name files, slides and seconds, not nodes, so they
survive other splits; a link whose recording or deck has changed since, or is gone, is not shown.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sensorium.errors import EvidenceError
from sensorium.loaders.base import Picture
from sensorium.nodes import Evidence, content_digest, source_id
from sensorium.pipelines._links.decks import ALL, Deck, load
from sensorium.pipelines._links.link import Link
from sensorium.pipelines._links.match import Found, Matcher
from sensorium.pipelines._links.nominate import nominated
from sensorium.pipelines._links.screens import screens
from sensorium.pipelines.results import Answer, Hit
from sensorium.stores.base import SourceRecord, Store

Draw = Callable[[Evidence, Mapping[str, Any]], Picture]
VERSION = 2
"""Raise it when links are found otherwise: all of them are then found anew."""
_SEEN = "links: sources seen"
_GAP_S = 1.0
_RECHECK_S = 10.0
_TOUCH_S = 1.0


class Links:
    """Reads links.

    Args:
        store: Gives the store that keeps them, when they are first wanted.
    """

    def __init__(self, store: Callable[[], Store]) -> None:
        self._store = store
        self._checked, self._any = -_RECHECK_S, False

    def of(self, evidence: Evidence, root: str) -> tuple[Link, ...]:
        """When recordings show a slide or page; or the slides that are seen in a moment of a recording.

        Args:
            evidence: Of a slide or page, or of a recording with times; others have no links.
            root: The indexed folder (metadata key `root`).

        Returns:
            In order of recording and time; at one time the surest first.
        """
        if (evidence.start_s is None and not (evidence.slide or evidence.page)) or not self._there():
            return ()
        found = [link for link in self._links(evidence, root) if _touches(evidence, link)]
        return tuple(sorted(found, key=lambda link: (link.recording, link.start_s, -link.score, link.source)))

    def on_hits(self, hits: Iterable[Hit]) -> list[Hit]:
        """Hits with their links."""
        return [replace(hit, links=self._of(hit)) for hit in hits]

    def _of(self, hit: Hit) -> tuple[Link, ...]:
        if "kind" not in hit.node.metadata:
            return ()  # a reranker of other makers may bring nodes of its own
        return self.of(hit.evidence, str(hit.node.metadata.get("root", "")))

    def on_answer(self, answer: Answer) -> Answer:
        """An answer whose citations have their links."""
        cited = [replace(c, links=self.of(c.evidence, str(c.metadata.get("root", "")))) for c in answer.citations]
        return replace(answer, citations=tuple(cited))

    def _there(self) -> bool:
        """Whether there may be links: what has none should not pay for them."""
        if time.monotonic() - self._checked > _RECHECK_S:
            self._any, self._checked = bool(self._store().notes(_SEEN)), time.monotonic()
        return self._any

    def _links(self, evidence: Evidence, root: str) -> Iterator[Link]:
        notes = self._store().notes(_group(source_id(root, evidence.source)))
        for other, note in notes.items():
            if evidence.sha256 in note["digests"] and self._fresh(other, note["digests"]):
                yield from _links(note)

    def _fresh(self, doc: str, digests: Sequence[str]) -> bool:
        record = self._store().source(doc)
        return record is not None and record.live_sha256 in digests


class Linker:
    """Finds links and keeps them.

    Args:
        store: Has the sources; keeps the links.
        asset: Reads a picture that was kept at indexing.
        draw: Draws a slide or page.
    """

    def __init__(self, store: Store, asset: Callable[[str], bytes], draw: Draw) -> None:
        self._store, self._asset, self._draw = store, asset, draw

    def update(self) -> int:
        """Find the links of what changed since the last time, forget those of what is gone.

        Returns:
            How many recordings were looked at.
        """
        records = {record.doc_id: record for record in self._store.sources() if record.live_sha256}
        recordings = [record for record in records.values() if _is_recording(record)]
        decks = [record for record in records.values() if _is_deck(record)]
        before = self._store.notes(_SEEN).get("all", {})
        now = {record.doc_id: _version(record) for record in (*recordings, *decks)} if recordings else {}
        if now == before:
            return 0
        changed = {doc for doc, version in now.items() if before.get(doc) != version}
        for doc in before.keys() - now.keys():
            self._forget(doc)
        looked_at = 0
        for recording in recordings:
            against = decks if recording.doc_id in changed else [d for d in decks if d.doc_id in changed]
            if against:
                looked_at += 1
                self._link(recording, against, decks)
        self._store.keep_note(_SEEN, "all", now or None)
        return looked_at

    def _link(self, recording: SourceRecord, changed: Sequence[SourceRecord], decks: Sequence[SourceRecord]) -> None:
        """Find the links of a recording anew, unless none of the changed decks can be in it.

        With all decks, though few changed: which of them a screen shows, and what their template is, shows only
        beside the others.
        """
        shown = screens(self._store.siblings(recording.doc_id, 0, ALL), self._asset)
        there = self._store.notes(_group(recording.doc_id))
        chosen = nominated(self._store, shown, changed)
        if not chosen and not any(deck.doc_id in there for deck in changed):
            return
        if len(changed) < len(decks):
            chosen = nominated(self._store, shown, decks)
        loaded = [deck for record in chosen if (deck := load(self._store, record)) is not None]
        found = {
            deck.record.doc_id: _note(recording, deck, links)
            for deck, links in Matcher(loaded, self._picture).links(shown)
        }
        for doc in found.keys() | there.keys():
            self._keep(recording.doc_id, doc, found.get(doc))

    def _keep(self, recording: str, deck: str, note: dict[str, Any] | None) -> None:
        self._store.keep_note(_group(deck), recording, note)
        self._store.keep_note(_group(recording), deck, note)

    def _forget(self, doc: str) -> None:
        for other in self._store.notes(_group(doc)):
            self._keep(doc, other, None)

    def _picture(self, deck: Deck, number: int) -> bytes | None:
        """A drawn slide; None when its file is gone or cannot be drawn: the words then decide alone."""
        try:
            return self._draw(deck.evidence(number), {"root": deck.record.root}).data
        except EvidenceError:
            return None


def copy_links(origin: Store, target: Store) -> None:
    """Bring the links of one store to another one that has the same sources."""
    seen = origin.notes(_SEEN)
    for doc in seen.get("all", {}):
        for other, note in origin.notes(_group(doc)).items():
            target.keep_note(_group(doc), other, note)
    for name, value in seen.items():
        target.keep_note(_SEEN, name, value)


def _is_recording(record: SourceRecord) -> bool:
    return record.media_type.startswith("video/") and any(record.counts.get(kind) for kind in ("scene", "frame"))


def _is_deck(record: SourceRecord) -> bool:
    return not record.media_type.startswith(("video/", "audio/", "image/", "text/"))


def _version(record: SourceRecord) -> str:
    return content_digest(str(VERSION), record.live_sha256, record.fingerprint, str(sorted(record.counts.items())))[:16]


def _group(doc: str) -> str:
    return f"links of {doc}"


def _note(recording: SourceRecord, deck: Deck, links: Sequence[Found]) -> dict[str, Any]:
    return {
        "recording": recording.source, "source": deck.record.source, "key": deck.key,
        "digests": [recording.live_sha256, deck.record.live_sha256], "links": joined(links),
    }  # fmt: skip


def joined(links: Iterable[Found]) -> list[Found]:
    """Links of one deck `(number, start_s, end_s, score)` in order of time; neighbours of one slide become one."""
    made: list[Found] = []
    for number, start, end, score in sorted(links, key=lambda link: link[1]):
        if made and made[-1][0] == number and start - made[-1][2] <= _GAP_S:
            _, first, last, best = made[-1]
            made[-1] = (number, first, max(last, end), max(best, score))
        else:
            made.append((number, start, end, score))
    return made


def _touches(evidence: Evidence, link: Link) -> bool:
    """Whether a link is about a slide, or about more than the edge of a moment."""
    if evidence.start_s is None:
        return (link.slide, link.page) == (evidence.slide, None if evidence.slide else evidence.page)
    end = evidence.end_s if evidence.end_s is not None else evidence.start_s
    shared = min(end, link.end_s) - max(evidence.start_s, link.start_s)
    return shared > 0 and shared >= min(_TOUCH_S, (end - evidence.start_s) / 2)


def _links(note: Mapping[str, Any]) -> Iterator[Link]:
    for number, start, end, score in note["links"]:
        slide, page = (number, None) if note["key"] == "slide" else (None, number)
        yield Link(note["recording"], start, end, note["source"], slide, page, round(score, 3))
