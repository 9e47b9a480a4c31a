"""Which generations of nodes readers see, and how updates become visible in one step.

Each node is written in a generation of its source. A source's live generation is `names.first_generation` until it
was published for the first time, then the one that its ledger row names. An update writes a row of its own before
its first node; the nodes stay invisible while that row says "staged". Publishing replaces the row by one that says
"published" and names what it retires: one write, so readers see all of it or nothing. Then the source's row takes
over the new generation, and when no reader can be on its way with the old manifest any more, the retired nodes are
deleted and the update's row with them.

So readers exclude the generations of all updates under way, and those that they retire: a handful. Nodes may be
written between reading the manifest and the search itself; hits of a generation that is not known to be live show
that, and the search is run again (`valid`).
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter

from sensorium.errors import StoreError
from sensorium.stores._weaviate.connection import UnreachableError
from sensorium.stores._weaviate.engine import Engine, Found
from sensorium.stores._weaviate.names import (
    BARRIER,
    DOC,
    GENERATION,
    ORDERED,
    ROW,
    ROW_DOC,
    STATE,
    STATUS,
    VALUE,
    doc_key,
    first_generation,
    row_uuid,
)
from sensorium.stores._weaviate.where import Condition, all_of
from sensorium.stores.base import SourceRecord

STAGED, PUBLISHED, ADDING = "staged", "published", "adding"
ABANDONED_S = 3600.0
"""Age after which an update of another machine that gives no sign of life is cleared away."""
_TRIES = 50


@dataclass(frozen=True)
class Update:
    """An update under way, or published and not yet cleared away.

    Attributes:
        generation: That its nodes are written in.
        doc: The source.
        state: "staged" or "published"; or "adding", for nodes that go into the live generations right away and are
            looked after when their writer dies (`record` has their objects by space).
        retires: Generations that it replaces.
        record: The source's new ledger row as JSON; empty when the source is removed.
        owner: The process that writes it (`owner`); empty when it is given up.
        touched: Last sign of life, seconds since 1970.
    """

    generation: str
    doc: str
    state: str = STAGED
    retires: tuple[str, ...] = ()
    record: str = ""
    owner: str = ""
    touched: float = field(default_factory=time.time)

    def row(self) -> DataObject[Any, Any]:
        """As a ledger row."""
        value = json.dumps([self.doc, self.retires, self.record, self.owner, self.touched])
        properties = {ROW: "update", STATE: self.state, ROW_DOC: doc_key(self.doc), GENERATION: self.generation}
        return DataObject(uuid=row_uuid("update", self.generation), properties=properties | {VALUE: value})

    @classmethod
    def parse(cls, properties: Mapping[str, Any]) -> "Update":
        """From a ledger row."""
        doc, retires, record, owner, touched = json.loads(str(properties[VALUE]))
        generation, state = str(properties[GENERATION]), str(properties[STATE])
        return cls(generation, doc, state, tuple(retires), record, owner, touched)


@dataclass(frozen=True)
class Manifest:
    """What readers have to know: the data's version, and updates under way."""

    version: str
    updates: tuple[Update, ...]

    @cached_property
    def dead(self) -> frozenset[str]:
        """Generations that are not to be seen."""
        staged = {u.generation for u in self.updates if u.state == STAGED}
        return frozenset(staged.union(*(u.retires for u in self.updates if u.state == PUBLISHED)))

    @cached_property
    def published(self) -> dict[str, Update]:
        """The last published update of each source that has one here, by the source as indexed."""
        dead = self.dead
        return {doc_key(u.doc): u for u in self.updates if u.state == PUBLISHED and u.generation not in dead}

    @property
    def key(self) -> object:
        """Changes with everything that readers can see."""
        return self.version, self.dead

    @property
    def state(self) -> object:
        """Changes with every step of every update."""
        return self.version, {(u.generation, u.state) for u in self.updates}

    def without(self, generations: Iterable[str]) -> "Manifest":
        """With more generations that are not to be seen."""
        extra = tuple(Update(g, "", STAGED) for g in generations)
        return replace(self, updates=self.updates + extra)

    @property
    def hidden(self) -> list[str]:
        """Generations that are no readers' business."""
        return [*sorted(self.dead), BARRIER]

    def visible(self, condition: Condition = True, barrier: bool = False) -> Condition:
        """A condition narrowed down to what readers see.

        Args:
            condition: On nodes.
            barrier: Whether objects without vectors and text can be among what is found.
        """
        hidden = self.hidden if barrier else sorted(self.dead)
        if not hidden:
            return condition
        return all_of([condition, Filter.by_property(GENERATION).contains_none(hidden)])


@dataclass(frozen=True)
class Head:
    """A source's ledger row: its live generation and its record (empty for sources that were never published)."""

    doc: str
    live: str
    record: str = ""

    def row(self) -> DataObject[Any, Any]:
        """As a ledger row."""
        properties = {ROW: "source", ROW_DOC: doc_key(self.doc), GENERATION: self.live, VALUE: self.record}
        if self.record:
            values = json.loads(self.record)
            properties |= {STATUS: values["status"], ORDERED: json.dumps([values["root"], values["source"]])}
        return DataObject(uuid=row_uuid("source", doc_key(self.doc)), properties=properties)


class Generations:
    """The manifest of one index.

    Args:
        engine: Its collections.
        grace_s: Seconds for which retired nodes stay, longer than any search takes.
    """

    def __init__(self, engine: Engine, grace_s: float) -> None:
        self._engine = engine
        self._grace_s = grace_s
        self._known: set[str] = set()
        self._left: set[str] = set()
        self._committed: set[str] = set()
        self._lock = Lock()

    # Reading ----------------------------------------------------------------------------------------------

    def read(self) -> Manifest:
        """The manifest as it is now."""
        return read_manifest(self._engine)

    def valid(self, search: Callable[[Manifest], list[Found]]) -> list[Found]:
        """As `all_valid`, for one list."""
        return self.all_valid(lambda manifest: [search(manifest)])[0]

    def all_valid(self, search: Callable[[Manifest], list[list[Found]]]) -> list[list[Found]]:
        """Run searches until all that they find is live under the manifest that they were run with.

        Args:
            search: Finds nodes that are visible under a manifest, in some lists.
        """
        manifest = self.read()
        for _ in range(_TRIES):
            found = search(manifest)
            doubtful = {(f.generation, f.doc) for part in found for f in part if f.generation not in self._known}
            if not doubtful:
                return found
            live = self._live_of({doc for _, doc in doubtful})
            fresh = self.read()
            live |= {doc: u.generation for doc, u in fresh.published.items()}
            lost = {g for g, doc in doubtful if live.get(doc, first_generation(doc)) != g}
            self._known |= {g for g, _ in doubtful} - lost
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

    def steady(self, measure: Callable[[Manifest], Any]) -> Any:
        """Run a count until the manifest is the same before and after it."""
        manifest = self.read()
        for _ in range(_TRIES):
            result = measure(manifest)
            after = self.read()
            if after.dead == manifest.dead:
                return result
            manifest = after
        return result

    def head(self, doc: str, manifest: Manifest | None = None) -> Head | None:
        """A source's row; None when it was never published or recorded, and nothing hides its first generation."""
        update = (manifest or self.read()).published.get(doc_key(doc))
        if update is not None:
            row = self._row(doc)
            # The row may already be newer than the update that is still to be cleared away.
            return row if row is not None and row.live == update.generation else _head_of(update)
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
                heads[key] = _head_of(update)
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

    def begin(self, doc: str, more: Callable[[str, str], list[DataObject[Any, Any]]] | None = None) -> Update:
        """Announce an update; from now on its generation is hidden.

        Args:
            doc: The source.
            more: Rows to write along, of the generation and the source as indexed (`watch`).
        """
        update = Update(uuid.uuid4().hex[:16], doc, owner=owner())
        self._engine.write_rows([update.row(), *(more(update.generation, doc_key(doc)) if more else ())])
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
            retires = (old,) if self._engine.count(_of_generation(old)) else ()
            done = replace(update, state=PUBLISHED, retires=retires, record=text, touched=time.time())
            self._committed.add(update.generation)
            self._engine.write_rows([done.row()])
            self._engine.write_rows([_head_of(done).row(), version_row()])
            if not retires:
                self._engine.delete_rows([row_uuid("update", update.generation)])
            self._known.add(update.generation)

    def discard(self, update: Update) -> None:
        """Delete what was staged, then the row that hid it; nothing once it may have been published."""
        if update.generation in self._committed:
            return
        self._engine.delete_where(_of_generation(update.generation))
        self._engine.delete_rows([row_uuid("update", update.generation)])

    def _given_up(self, update: Update) -> bool:
        """Whether nobody will publish a staged update any more."""
        if update.generation in self._committed:
            # Publishing it failed so thoroughly that it is still only staged.
            if self._old(update):
                self._committed.discard(update.generation)
                return True
            return False
        return update.generation in self._left or _abandoned(update)

    def leave(self, update: Update) -> None:
        """Leave an update to `sweep`: some of its objects may still be on their way into the store.

        A server goes on with a batch when its client is gone. What is deleted in the middle of that leaves traces in
        the indexes, so it is given time first.
        """
        self._left.add(update.generation)
        left = replace(update, owner="", touched=time.time())
        with suppress(UnreachableError):
            self._engine.write_rows([left.row()])

    def announce(self, objects: Mapping[str, Sequence[uuid.UUID]], more: Sequence[DataObject[Any, Any]] = ()) -> Update:
        """Note down objects that are about to be added to live generations; `more` is written along."""
        text = json.dumps({space: [str(i) for i in ids] for space, ids in objects.items()})
        update = Update(uuid.uuid4().hex[:16], "", ADDING, record=text, owner=owner())
        self._engine.write_rows([update.row(), *more])
        return update

    def settle(self, update: Update) -> None:
        """The announced objects are there and verified."""
        self._engine.delete_rows([row_uuid("update", update.generation)])

    def changed(self) -> None:
        """Give the data a new version, after a change that no update made."""
        self._engine.write_rows([version_row()])

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

    def sweep(self) -> list[Update]:
        """Finish and clear away: updates that nobody works on any more, and nodes that no reader can want.

        Returns:
            Additions whose writer did not live to verify them.
        """
        adding: list[Update] = []
        for update in self.read().updates:
            if update.state == PUBLISHED:
                self._finish(update)
            elif update.owner and self._given_up(update):
                self.leave(update)
            elif not update.owner and self._old(update):
                if update.state == ADDING:
                    adding.append(update)
                else:
                    self.discard(update)
        return adding

    def _old(self, update: Update) -> bool:
        return time.time() - update.touched > self._grace_s

    def _finish(self, update: Update) -> None:
        row = self._row(update.doc)
        manifest = self.read()
        if manifest.published.get(doc_key(update.doc)) == update and (row is None or row.live != update.generation):
            # The writer died between its two writes.
            self._engine.write_rows([_head_of(update).row(), version_row()])
            self._engine.confirm_rows([row_uuid("source", doc_key(update.doc))])
        if not self._old(update):
            return
        self._engine.delete_where(Filter.by_property(GENERATION).contains_any(list(update.retires)))
        self._engine.delete_rows([row_uuid("update", update.generation)])


def read_manifest(engine: Engine) -> Manifest:
    """The manifest as it is now: one question."""
    rows = engine.rows(Filter.by_property(ROW).contains_any(["version", "update"]), [ROW, VALUE, STATE, GENERATION])
    version = next((str(r.properties[VALUE]) for r in rows if r.properties[ROW] == "version"), "")
    return Manifest(version, tuple(Update.parse(r.properties) for r in rows if r.properties[ROW] == "update"))


def record_json(record: SourceRecord) -> str:
    """A record as JSON; pure ASCII, since paths may hold what is no UTF-8."""
    return json.dumps(asdict(record))


def parse_record(text: str) -> SourceRecord:
    """The record of `record_json`."""
    values: dict[str, Any] = json.loads(text)
    return SourceRecord(**values | {"warnings": tuple(values["warnings"])})


def version_row() -> DataObject[Any, Any]:
    """A new version of the data."""
    return DataObject(uuid=row_uuid("version"), properties={ROW: "version", VALUE: uuid.uuid4().hex})


def owner() -> str:
    """This process, so that others of the same machine can see whether it is alive."""
    return json.dumps([_machine(), os.getpid(), _started(os.getpid())])


def _abandoned(update: Update) -> bool:
    """Whether the process that writes an update is dead, or silent for long on another machine."""
    return is_gone(update.owner, update.touched)


def is_gone(process: str, touched: float) -> bool:
    """Whether a process (`owner`) is dead, or gave no sign of life for long on another machine.

    Args:
        process: As `owner` names it; nobody when empty.
        touched: Its last sign of life, seconds since 1970.
    """
    machine, pid, started = json.loads(process or '["", 0, ""]')
    if machine == _machine():
        return bool(_started(pid) != started)
    return time.time() - touched > ABANDONED_S


@cache
def _machine() -> str:
    """This machine since its last start; containers count as machines."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()} {boot.read_text().strip() if boot.exists() else ''}"


def _started(pid: int) -> str:
    """When a process was started, in the system's own count; empty when there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            return stat.read_text().rpartition(")")[2].split()[19]
        except (OSError, IndexError):
            return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        return "alive"
    return "alive"


def _head_of(update: Update) -> Head:
    return Head(update.doc, update.generation, update.record)


def _of_generation(generation: str) -> Condition:
    return Filter.by_property(GENERATION).equal(generation)


def of_source(doc: str) -> Condition:
    """Nodes of a source."""
    return Filter.by_property(DOC).equal(doc_key(doc))


def of_generations(generations: Sequence[str]) -> Condition:
    """Nodes of some generations."""
    return Filter.by_property(GENERATION).contains_any(list(generations))
