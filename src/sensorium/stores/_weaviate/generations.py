"""The generations of one index: what readers may see now, and the steps of an update (`manifest`)."""

import json
import math
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from threading import Lock
from typing import Any

from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter

from sensorium.errors import StoreError
from sensorium.stores._weaviate.connection import UnreachableError
from sensorium.stores._weaviate.engine import Engine, Found
from sensorium.stores._weaviate.manifest import (
    ADDING,
    CLEARING,
    PUBLISHED,
    Head,
    Manifest,
    Update,
    head_of,
    of_generation,
    read_manifest,
    record_json,
    version_row,
)
from sensorium.stores._weaviate.names import GENERATION, ROW_DOC, VALUE, doc_key, first_generation, row_uuid
from sensorium.stores._weaviate.process import is_gone, may_be_gone, owner
from sensorium.stores.base import SourceRecord

FRESH_S = 0.25
"""Seconds for which searches go by what was read of the manifest; far less than replaced nodes stay."""
_TRIES = 50

Announced = Callable[[Mapping[str, str]], AbstractContextManager[list[DataObject[Any, Any]]]]


class Generations:
    """The manifest of one index.

    Args:
        engine: Its collections.
        grace_s: Seconds for which retired nodes stay, longer than any search takes.
    """

    def __init__(self, engine: Engine, grace_s: float) -> None:
        self._engine = engine
        self._grace_s = grace_s
        self._known: dict[str, float] = {}  # generations that were live, and since when that is known
        self._recent: Manifest | None = None
        self._remembering = Lock()
        self._changed_s = 0.0
        self._left: dict[str, float] = {}
        self._committed: set[str] = set()
        self._lock = Lock()

    # Reading ----------------------------------------------------------------------------------------------

    def read(self) -> Manifest:
        """The manifest as it is now."""
        manifest = read_manifest(self._engine)
        with self._remembering:
            recent = self._recent
            if recent is None or recent.answered_s <= manifest.asked_s:
                self._recent = manifest
            elif recent.state != manifest.state:
                # Both were asked for at once: which is the newer one cannot be told.
                self._recent, self._changed_s = None, max(self._changed_s, time.monotonic())
        return manifest

    def recent(self) -> Manifest:
        """The manifest as it was at most `FRESH_S` ago, but after all that this process published.

        Searches may go by it: what was replaced since stays for longer than that, and what was written since is told
        by its generation.
        """
        recent = self._recent
        if recent is not None and recent.asked_s > max(self._changed_s, time.monotonic() - FRESH_S):
            return recent
        return self.read()

    def valid(self, search: Callable[[Manifest], list[Found]]) -> list[Found]:
        """As `all_valid`, for one list."""
        return self.all_valid(lambda manifest: [search(manifest)])[0]

    def all_valid(self, search: Callable[[Manifest], list[list[Found]]]) -> list[list[Found]]:
        """Run searches until all that they find is live under the manifest that they were run with.

        Args:
            search: Finds nodes that are visible under a manifest, in some lists.
        """
        manifest = self.recent()
        for _ in range(_TRIES):
            found = search(manifest)
            doubtful = self._doubtful(found, manifest)
            if not doubtful:
                return found
            live = self._live_of({doc for _, doc in doubtful})
            fresh = self.read()
            live |= {doc: u.generation for doc, u in fresh.published.items()}
            lost = {g for g, doc in doubtful if live.get(doc, first_generation(doc)) != g}
            for generation in {g for g, _ in doubtful} - lost:
                self._known.setdefault(generation, fresh.asked_s)
            if fresh.state != manifest.state:
                # Something was staged or published meanwhile: some of the hits may be hidden now, and of what became
                # live only a part may have been there.
                manifest = fresh
                continue
            if not lost:
                return found
            # Left behind by a writer that died where even its row is gone; `repair` clears it away.
            if lost <= manifest.dead:
                return [[f for f in part if f.generation not in lost] for part in found]
            manifest = fresh.without(lost)
        raise StoreError("The index changed faster than it could be read.", "Try again.")

    def _doubtful(self, found: Iterable[Iterable[Found]], manifest: Manifest) -> set[tuple[str, str]]:
        """Generations of hits, with their sources, that were not known to be live when the manifest was read.

        What became live later may have replaced what the manifest still shows.
        """
        known, asked_s = self._known, manifest.asked_s
        return {(f.generation, f.doc) for part in found for f in part if known.get(f.generation, math.inf) > asked_s}

    def steady(self, measure: Callable[[Manifest], Any]) -> Any:
        """Run a count until the manifest is the same before and after it."""
        manifest = self.recent()
        for _ in range(_TRIES):
            result = measure(manifest)
            after = self.read()
            if after.key == manifest.key:
                return result
            manifest = after
        return result

    def head(self, doc: str, manifest: Manifest | None = None) -> Head | None:
        """A source's row; None when it was never published or recorded, and nothing hides its first generation."""
        update = (manifest or self.read()).published.get(doc_key(doc))
        if update is not None:
            row = self._row(doc)
            # The row may already be newer than the update that is still to be cleared away.
            return row if row is not None and row.live == update.generation else head_of(update)
        return self._row(doc)

    def live(self, doc: str, manifest: Manifest | None = None) -> str:
        """The generation that readers see of a source."""
        head = self.head(doc, manifest)
        return head.live if head is not None else first_generation(doc_key(doc))

    def live_of(self, docs: Iterable[str], manifest: Manifest) -> dict[str, str]:
        """The generations that readers see of some sources."""
        keys = {doc: doc_key(doc) for doc in docs}
        rows = self.live_by_key(keys.values(), manifest)
        return {doc: rows.get(key, first_generation(key)) for doc, key in keys.items()}

    def live_by_key(self, keys: Iterable[str], manifest: Manifest) -> dict[str, str]:
        """The same by source as indexed; without those that were never published."""
        wanted = set(keys)
        published = {key: u.generation for key, u in manifest.published.items() if key in wanted}
        return self._live_of(wanted) | published

    def heads(self, keys: Iterable[str]) -> dict[str, Head]:
        """Rows of sources, by source as indexed; without those that have none."""
        manifest = self.read()
        wanted = list(keys)
        ids = [row_uuid("source", key) for key in wanted]
        rows = self._engine.rows(Filter.by_id().contains_any(ids), [ROW_DOC, GENERATION, VALUE]) if ids else []
        found = {str(r.properties[ROW_DOC]): r.properties for r in rows}
        heads: dict[str, Head] = {}
        for key in wanted:
            update, row = manifest.published.get(key), found.get(key)
            if update is not None and (row is None or row[GENERATION] != update.generation):
                heads[key] = head_of(update)
            elif row is not None:
                heads[key] = Head("", str(row[GENERATION]), str(row[VALUE] or ""))
        return heads

    def _row(self, doc: str) -> Head | None:
        rows = self._engine.rows(Filter.by_id().equal(row_uuid("source", doc_key(doc))), [GENERATION, VALUE])
        return next((Head(doc, str(r.properties[GENERATION]), str(r.properties[VALUE] or "")) for r in rows), None)

    def _live_of(self, docs: Iterable[str]) -> dict[str, str]:
        """Live generations by source as indexed, as far as rows tell."""
        found: dict[str, str] = {}
        wanted = list(docs)
        for start in range(0, len(wanted), 5000):
            ids = [row_uuid("source", doc) for doc in wanted[start : start + 5000]]
            for row in self._engine.rows(Filter.by_id().contains_any(ids), [ROW_DOC, GENERATION]):
                found[str(row.properties[ROW_DOC])] = str(row.properties[GENERATION])
        return found

    # Writing ----------------------------------------------------------------------------------------------

    def begin(self, doc: str, more: Announced | None = None) -> Update:
        """Announce an update; from now on its generation is hidden.

        Args:
            doc: The source.
            more: Rows to write along (`Watch.announced`).
        """
        update = Update(uuid.uuid4().hex[:16], doc, owner=owner())
        with more({update.generation: doc_key(doc)}) if more else nullcontext([]) as rows:
            self._engine.write_rows([update.row(), *rows])
        return update

    def touch(self, update: Update) -> Update:
        """A sign of life of a staged update, at most every minute."""
        if time.time() - update.touched < 60:
            return update
        alive = replace(update, touched=time.time())
        self._engine.write_rows([alive.row()])
        return alive

    def publish(self, update: Update, record: SourceRecord | None) -> None:
        """Make an update visible in place of what the source had, with its ledger row; None removes that too."""
        with self._lock:
            manifest = self.read()
            if update.generation not in manifest.dead:
                raise StoreError("The update was taken for abandoned and cleared away.", "Index the source again.")
            old = self.live(update.doc, manifest)
            text = record_json(record) if record is not None else ""
            retires = (old,) if self._engine.count(of_generation(old)) else ()
            done = replace(update, state=PUBLISHED, retires=retires, record=text, touched=time.time())
            self._committed.add(update.generation)
            self._engine.write_rows([done.row()])
            self._changed_s = self._known[update.generation] = time.monotonic()
            self._engine.write_rows([head_of(done).row(), version_row()])
            self._changed_s = time.monotonic()
            if not retires:
                self._engine.delete_rows([row_uuid("update", update.generation)])

    def discard(self, update: Update) -> None:
        """Delete what was staged, then the row that hid it; nothing once it may have been published."""
        if update.generation in self._committed:
            return
        self._engine.delete_where(of_generation(update.generation))
        self._engine.delete_rows([row_uuid("update", update.generation)])

    def _given_up(self, update: Update) -> bool:
        """Whether nobody will publish a staged update any more."""
        if update.generation in self._committed:
            # Publishing it failed so thoroughly that it is still only staged.
            if self._old(update):
                self._committed.discard(update.generation)
                return True
            return False
        # Another store of this process may have claimed it since it was left.
        return update.touched <= self._left.get(update.generation, 0.0) or is_gone(update.owner, update.touched)

    def leave(self, update: Update) -> None:
        """Leave an update to who clears up: some of its objects may still be on their way into the store."""
        left = replace(update, owner="", touched=time.time())
        self._left[update.generation] = left.touched
        with suppress(UnreachableError):
            self._engine.write_rows([left.row()])

    def announce(self, objects: Mapping[str, Sequence[uuid.UUID]], more: Sequence[DataObject[Any, Any]] = ()) -> Update:
        """Note down objects that are about to be added to live generations; `more` is written along."""
        text = json.dumps({space: [str(i) for i in ids] for space, ids in objects.items()})
        update = Update(uuid.uuid4().hex[:16], "", ADDING, record=text, owner=owner())
        self._engine.write_rows([update.row(), *more])
        return update

    def claim(self, update: Update) -> Update:
        """Tell others that the objects of an update are looked after; who does so last has it (`holds`)."""
        mine = replace(update, state=CLEARING, owner=owner(), touched=time.time())
        self._left[update.generation] = mine.touched  # should the row be written without this being told
        self._engine.write_rows([mine.row()])
        self._left.pop(update.generation, None)
        return mine

    def holds(self, claim: Update) -> bool:
        """Whether an update is still as it was: nobody went on with it, and no later claim is known."""
        return claim in self.read().updates

    def settle(self, update: Update) -> None:
        """The announced objects are there and verified."""
        self._engine.delete_rows([row_uuid("update", update.generation)])

    def changed(self) -> None:
        """Give the data a new version, after a change that no update made."""
        self._engine.write_rows([version_row()])
        self._changed_s = time.monotonic()

    def put(self, record: SourceRecord) -> None:
        """Write a source's record; its nodes stay."""
        with self._lock:
            manifest = self.read()
            head = self.head(record.doc_id, manifest)
            live = head.live if head is not None else first_generation(doc_key(record.doc_id))
            self._engine.write_rows([Head(record.doc_id, live, record_json(record)).row()])

    def forget(self) -> None:
        """Forget what is known about generations, after everything was dropped."""
        self._known.clear()
        self._changed_s = time.monotonic()

    def sweep(self) -> None:
        """Finish what was published, and clear away nodes that no reader can want."""
        for update in self.read().updates:
            if update.state == PUBLISHED:
                self._finish(update)

    def left(self, manifest: Manifest) -> list[Update]:
        """Updates that were not published, and that nobody works on any more."""
        unpublished = (u for u in manifest.updates if u.state != PUBLISHED)
        return [u for u in unpublished if not u.owner or self._given_up(u) or self._claimed_in_vain(u)]

    def _claimed_in_vain(self, update: Update) -> bool:
        return update.state == CLEARING and may_be_gone(update.owner, update.touched)

    def _old(self, update: Update) -> bool:
        return time.time() - update.touched > self._grace_s

    def _finish(self, update: Update) -> None:
        row = self._row(update.doc)
        manifest = self.read()
        if manifest.published.get(doc_key(update.doc)) == update and (row is None or row.live != update.generation):
            # The writer died between its two writes.
            self._engine.write_rows([head_of(update).row(), version_row()])
            self._engine.confirm_rows([row_uuid("source", doc_key(update.doc))])
        if not self._old(update):
            return
        if update.retires:
            self._engine.delete_where(Filter.by_property(GENERATION).contains_any(list(update.retires)))
        self._engine.delete_rows([row_uuid("update", update.generation)])
