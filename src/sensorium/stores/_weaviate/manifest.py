"""Which generations of nodes readers see, and how updates become visible in one step.

Each node is written in a generation of its source. A source's live generation is `names.first_generation` until it
was published for the first time, then the one that its ledger row names. An update writes a row of its own before
its first node; the nodes stay invisible while that row says "staged". Publishing replaces the row by one that says
"published" and names what it retires: one write, so readers see all of it or nothing. Then the source's row takes
over the new generation, and when no reader can be on its way with the old manifest any more, the retired nodes are
deleted and the update's row with them.

So readers exclude the generations of all updates under way, and those that they retire: a handful. Nodes may be
written between reading the manifest and the search itself; hits of a generation that is not known to be live show
that, and the search is run again (`generations`).
"""

import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter

from sensorium.stores._weaviate.engine import Engine
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
    row_uuid,
)
from sensorium.stores._weaviate.where import Condition, all_of
from sensorium.stores.base import SourceRecord

STAGED, PUBLISHED, ADDING, CLEARING = "staged", "published", "adding", "clearing"


@dataclass(frozen=True)
class Update:
    """An update under way, or published and not yet cleared away.

    Attributes:
        generation: That its nodes are written in.
        doc: The source.
        state: "staged" or "published"; or "adding", for nodes that go into the live generations right away and are
            looked after when their writer dies (`record` has their objects by space); "clearing" while they are, by
            `owner` since `touched`.
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
class Cut:
    """An insert that was cut off; what it left is there still.

    Attributes:
        id: Of this one.
        owner: The process that deletes it.
        touched: When it began with that, seconds since 1970.
    """

    id: str
    owner: str
    touched: float = field(default_factory=time.time)

    @property
    def uuid(self) -> uuid.UUID:
        """Of its row."""
        return row_uuid("cut", self.id)

    def row(self) -> DataObject[Any, Any]:
        """As a ledger row."""
        value = json.dumps([self.owner, self.touched])
        return DataObject(uuid=self.uuid, properties={ROW: "cut", GENERATION: self.id, VALUE: value})

    @classmethod
    def parse(cls, properties: Mapping[str, Any]) -> "Cut":
        """From a ledger row."""
        return cls(str(properties[GENERATION]), *json.loads(str(properties[VALUE])))


@dataclass(frozen=True)
class Manifest:
    """What readers have to know.

    Attributes:
        version: Of the data.
        updates: Under way.
        asked_s: When the server was asked for it, on the clock of `time.monotonic`.
        answered_s: When it had answered.
        cuts: Changes with every insert that was cut off, when what it left was deleted.
        open_cuts: Inserts that were cut off and whose writers have not deleted yet what they left.
    """

    version: str
    updates: tuple[Update, ...]
    asked_s: float
    answered_s: float
    cuts: str = ""
    open_cuts: tuple[Cut, ...] = ()

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


def read_manifest(engine: Engine) -> Manifest:
    """The manifest as it is now: one question."""
    asked_s = time.monotonic()
    rows = engine.rows(
        Filter.by_property(ROW).contains_any(["version", "update", "cuts", "cut"]), [ROW, VALUE, STATE, GENERATION]
    )
    single = {str(r.properties[ROW]): str(r.properties[VALUE]) for r in rows}
    cuts = tuple(Cut.parse(r.properties) for r in rows if r.properties[ROW] == "cut")
    updates = tuple(Update.parse(r.properties) for r in rows if r.properties[ROW] == "update")
    return Manifest(single.get("version", ""), updates, asked_s, time.monotonic(), single.get("cuts", ""), cuts)


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


def cuts_row() -> DataObject[Any, Any]:
    """Tells all writers that an insert was cut off, and that what it left is gone: see `writing.Writer.reach`."""
    return DataObject(uuid=row_uuid("cuts"), properties={ROW: "cuts", VALUE: uuid.uuid4().hex})


def head_of(update: Update) -> Head:
    """The source's row once it took over what an update published."""
    return Head(update.doc, update.generation, update.record)


def of_generation(generation: str) -> Condition:
    """Nodes of one generation."""
    return Filter.by_property(GENERATION).equal(generation)


def of_source(doc: str) -> Condition:
    """Nodes of a source."""
    return Filter.by_property(DOC).equal(doc_key(doc))


def of_generations(generations: Sequence[str]) -> Condition:
    """Nodes of some generations."""
    return Filter.by_property(GENERATION).contains_any(list(generations))
