"""A staged update.

What is staged lies in temporary tables of a connection of its own: no other process waits for it or sees it, and
when this process dies, however, the system deletes it. `publish` moves it in with one transaction.
"""

import sqlite3
import threading
from collections import Counter
from collections.abc import Mapping, Sequence

from llama_index.core.schema import BaseNode

from sensorium.errors import StoreError
from sensorium.stores._sqlite import ledger
from sensorium.stores._sqlite.connections import Connections, transaction, translated
from sensorium.stores._sqlite.writing import (
    Tables,
    all_vector_tables,
    delete,
    finish,
    last_row,
    prepare_nodes,
)
from sensorium.stores.base import SourceRecord, Stage, Vectors
from sensorium.stores.checking import refuse_strangers

_STAGED = (
    (
        "CREATE TEMP TABLE staged (n INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, doc TEXT NOT NULL, "
        "position INTEGER, kind TEXT NOT NULL, metadata TEXT NOT NULL CHECK (json_valid(metadata)), "
        "body TEXT NOT NULL, title TEXT NOT NULL, section TEXT NOT NULL, caption TEXT NOT NULL, text TEXT NOT NULL)"
    ),
    "CREATE TEMP TABLE staged_vectors (tab TEXT NOT NULL, n INTEGER NOT NULL, data BLOB NOT NULL)",
)


class SqliteStage(Stage):
    """A new version of one source on its way into the embedded store.

    Args:
        connections: Of the store.
        tables: Of the store's spaces.
        doc_id: The source.
    """

    def __init__(self, connections: Connections, tables: Tables, doc_id: str) -> None:
        self._path = connections.path
        self._tables = tables
        self._doc = doc_id
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._vectors: Counter[str] = Counter()
        self._ids: set[str] = set()
        self._connection: sqlite3.Connection | None = connections.extra()
        with translated(self._path):
            for statement in _STAGED:
                self._connection.execute(statement)

    def add(self, nodes: Sequence[BaseNode], vectors: Vectors) -> None:
        """See `Stage.add`. Nodes without a source are refused, as are ids that were staged before."""
        refuse_strangers(nodes, self._doc, self._ids)
        prepared = prepare_nodes(nodes, vectors, self._tables)
        with self._lock, translated(self._path), transaction(self._open(), "DEFERRED") as connection:
            first = len(self._ids) + 1
            connection.executemany(
                f"INSERT INTO staged VALUES ({', '.join('?' * 11)})",
                [
                    (n, p.id, p.doc, p.position, p.kind, p.metadata, p.body, *p.texts)
                    for n, p in enumerate(prepared, first)
                ],
            )
            connection.executemany(
                "INSERT INTO staged_vectors VALUES (?, ?, ?)",
                [(table, n, blob) for n, p in enumerate(prepared, first) for table, blob in p.blobs.items()],
            )
            self._ids.update(p.id for p in prepared)
            self._counts.update(p.kind for p in prepared)
            self._vectors.update(table for p in prepared for table in p.blobs)

    def publish(self, record: SourceRecord) -> None:
        """See `Stage.publish`."""
        if record.doc_id != self._doc:
            raise StoreError(f"The staged source is {self._doc}, the record is of {record.doc_id}.")
        wanted = {kind: count for kind, count in record.counts.items() if count}
        with self._lock, translated(self._path):
            with transaction(self._open(), "IMMEDIATE") as connection:
                self._check_owners(connection)
                delete(connection, ("doc = ?", [self._doc]), all_vector_tables(connection))
                first = last_row(connection) + 1
                self._move(connection, first)
                self._verify(connection, first, wanted)
                ledger.write(connection, record)
                finish(connection, self._tables)
            self._close()

    def discard(self) -> None:
        """See `Stage.discard`."""
        with self._lock:
            self._close()

    def _check_owners(self, connection: sqlite3.Connection) -> None:
        found = connection.execute(
            "SELECT nodes.id, nodes.doc FROM temp.staged JOIN nodes USING (id) WHERE nodes.doc != ? LIMIT 1",
            (self._doc,),
        ).fetchone()
        if found is not None:
            raise StoreError(f"The node {found[0]} belongs to another source already: {found[1]!r}.")

    def _move(self, connection: sqlite3.Connection, first: int) -> None:
        offset = (first - 1,)
        connection.execute(
            "INSERT INTO nodes (row, id, doc, position, kind, metadata) "
            "SELECT n + ?, id, doc, position, kind, metadata FROM temp.staged ORDER BY n",
            offset,
        )
        connection.execute("INSERT INTO bodies SELECT n + ?, body FROM temp.staged ORDER BY n", offset)
        connection.execute(
            "INSERT INTO texts (rowid, title, section, caption, text) "
            "SELECT n + ?, title, section, caption, text FROM temp.staged ORDER BY n",
            offset,
        )
        for table in self._vectors:
            connection.execute(
                f"INSERT INTO {table} (row, data) SELECT n + ?, data FROM temp.staged_vectors WHERE tab = ? ORDER BY n",
                (*offset, table),
            )

    def _verify(self, connection: sqlite3.Connection, first: int, wanted: Mapping[str, int]) -> None:
        """Compare what is stored now with what was added and with what the record says."""
        stored = ledger.stored_counts(connection, self._doc)
        for expected, whose in ((dict(self._counts), "were added"), (wanted, "are in the record")):
            if stored != expected:
                raise StoreError(f"Source {self._doc}: {stored} nodes are stored, but {expected} {whose}.")
        parts = {"bodies": sum(stored.values()), **self._vectors}
        counted = {
            table: connection.execute(f"SELECT count(*) FROM {table} WHERE row >= ?", (first,)).fetchone()[0]
            for table in parts
        }
        searched = connection.execute("SELECT count(*) FROM texts_docsize WHERE id >= ?", (first,)).fetchone()[0]
        if counted != parts or searched != parts["bodies"]:
            raise StoreError(f"Source {self._doc}: the tables hold {counted}, expected {parts}.")

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"The update of the source {self._doc} was published or discarded already.")
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
