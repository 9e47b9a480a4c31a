"""Runs that did not end properly: what they wrote last is looked for again before anything else is written.

Each store that writes keeps a row in the ledger: who it is, in which term of the server it runs, and the sources
that it wrote last. The row is closed with the store. One that is left open by a process that is gone, or that was
written in another term (a server begins a new one when it starts), tells that the last writes may not have reached
the vector indexes. Then they are looked for, and mended (`inspection`). The same happens in the middle of a run,
when the connection to the server was lost meanwhile.
"""

import json
import logging
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter

from sensorium.errors import StoreError
from sensorium.stores._weaviate.inspection import inspect, mend
from sensorium.stores._weaviate.names import ROW, VALUE, row_uuid
from sensorium.stores._weaviate.parts import Parts
from sensorium.stores._weaviate.process import is_gone, owner

RUN = "run"
RECENT = 32
"""Sources of a run that are looked at again."""
_log = logging.getLogger("sensorium.weaviate")


@dataclass(frozen=True)
class Run:
    """One store that writes, as a row of the ledger.

    Attributes:
        id: Of the row.
        owner: The process (`manifest.owner`).
        term: Of the server when it began; empty where the server does not tell.
        closed: Whether it ended properly.
        recent: Generation to source (as indexed) of what it wrote last, oldest first.
        touched: Last sign of life, seconds since 1970.
    """

    id: str
    owner: str
    term: str
    closed: bool = False
    recent: Mapping[str, str] = field(default_factory=dict)
    touched: float = field(default_factory=time.time)

    def row(self) -> DataObject[Any, Any]:
        """As a ledger row."""
        value = json.dumps([self.id, self.owner, self.term, self.closed, dict(self.recent), time.time()])
        return DataObject(uuid=row_uuid(RUN, self.id), properties={ROW: RUN, VALUE: value})

    @classmethod
    def parse(cls, text: str) -> "Run":
        """From the value of a ledger row."""
        return cls(*json.loads(text))

    def with_recent(self, more: Mapping[str, str]) -> "Run":
        """With more recent writes, of which the last are kept."""
        kept = {g: doc for g, doc in self.recent.items() if g not in more} | dict(more)
        return replace(self, recent=dict(list(kept.items())[-RECENT:]))


class Watch:
    """Looks after the last writes.

    Args:
        parts: Of the store.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = Lock()
        self._run: Run | None = None
        self._interruptions = 0

    def begin(self) -> None:
        """Before the first write of this store: look after runs that are over."""
        with self._lock:
            if self._run is None:
                self._run = self._begun()

    def _begun(self) -> Run:
        engine, term = self._parts.engine, self._parts.connection.term()
        self._interruptions = self._parts.connection.interruptions
        mine = Run(uuid.uuid4().hex, owner(), term)
        over: list[Run] = []
        doubtful: dict[str, str] = {}
        for row in engine.rows(Filter.by_property(ROW).equal(RUN), [VALUE]):
            run = Run.parse(str(row.properties[VALUE]))
            ended = run.closed or is_gone(run.owner, run.touched)
            restarted = bool(term and run.term) and run.term != term
            if restarted or (ended and not run.closed):
                doubtful |= run.recent
            if ended:
                over.append(run)
                mine = mine.with_recent(run.recent)
        self._look(doubtful)
        engine.write_rows([mine.row()])
        engine.delete_rows([row_uuid(RUN, run.id) for run in over])
        return mine

    @contextmanager
    def announced(self, written: Mapping[str, str]) -> Iterator[list[DataObject[Any, Any]]]:
        """Rows to write along with what announces a write, one announcement at a time: the last row counts.

        Args:
            written: Generations that are written, and their sources, as indexed.
        """
        self.begin()
        with self._lock:
            assert self._run is not None
            self._run = self._run.with_recent(written)
            yield [self._run.row()]

    def published(self) -> None:
        """After a write: look at the last ones when the connection was lost since."""
        with self._lock:
            run, now = self._run, self._parts.connection.interruptions
            if run is None or now == self._interruptions:
                return
            self._interruptions = now
        self._look(run.recent)

    def close(self) -> None:
        """Note down that this run ended properly; a server that is gone cannot be told."""
        with self._lock:
            run, self._run = self._run, None
        if run is not None and self._parts.connection.client.is_ready():
            with suppress(StoreError):
                self._parts.engine.write_rows([replace(run, closed=True, term=self._parts.connection.term()).row()])

    def forget(self) -> None:
        """The collections are gone: there is nothing to note down."""
        with self._lock:
            self._run = None

    def _look(self, recent: Mapping[str, str]) -> None:
        """Look for what was written last, and mend what is not found."""
        if not recent:
            return
        found = inspect(self._parts, recent)
        wrong = found.told().found
        _log.info("Looked again for %d nodes of the last %d sources.", found.nodes, len(recent))
        if not wrong:
            return
        _log.warning(
            "A run on this index did not end properly, or the server was restarted. Of what was written last: %s. "
            "It is mended now.",
            "; ".join(map(str, wrong)),
        )
        if found.rows or found.miscounted:
            # Nodes that filters do not find were not even looked at.
            found = inspect(self._parts)
        mend(self._parts, found)
        self._tell(inspect(self._parts, recent).told().left)

    def _tell(self, left: Sequence[object]) -> None:
        if left:
            _log.warning("Left: %s. Look at it: sensorium status --verify", "; ".join(map(str, left)))
