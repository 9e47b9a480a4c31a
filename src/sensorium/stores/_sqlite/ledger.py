"""The ledger: one row a source, beside the nodes, committed with them."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sensorium.stores.base import SourceRecord


def write(connection: sqlite3.Connection, record: SourceRecord) -> None:
    """Insert or replace a source's row."""
    values = asdict(record)
    # Paths may hold bytes that are no UTF-8 (lone surrogates in Python): escaped in JSON, raw in the sort keys.
    connection.execute(
        "INSERT INTO ledger (doc, root, source, status, record) VALUES (?, ?, ?, ?, ?) ON CONFLICT (doc) "
        "DO UPDATE SET root = excluded.root, source = excluded.source, status = excluded.status, "
        "record = excluded.record",
        (record.doc_id, _bytes(record.root), _bytes(record.source), record.status, json.dumps(values)),
    )


def read(connection: sqlite3.Connection, doc: str) -> SourceRecord | None:
    """A source's row."""
    found = connection.execute("SELECT record FROM ledger WHERE doc = ?", (doc,)).fetchone()
    return parse(found[0]) if found else None


def read_after(connection: sqlite3.Connection, last: SourceRecord | None, limit: int) -> list[SourceRecord]:
    """The next rows in order of root and source."""
    key = (_bytes(last.root), _bytes(last.source), last.doc_id) if last else (b"", b"", "")
    rows = connection.execute(
        "SELECT record FROM ledger WHERE (root, source, doc) > (?, ?, ?) ORDER BY root, source, doc LIMIT ?",
        (*key, limit),
    )
    return [parse(text) for (text,) in rows]


def remove(connection: sqlite3.Connection, doc: str) -> bool:
    """Delete a source's row; whether there was one."""
    return connection.execute("DELETE FROM ledger WHERE doc = ?", (doc,)).rowcount > 0


def recount(connection: sqlite3.Connection, doc: str) -> None:
    """Set the counts of a source's row, if it has one, to what is stored."""
    record = read(connection, doc)
    if record is not None:
        write(connection, record.changed(counts=stored_counts(connection, doc)))


def stored_counts(connection: sqlite3.Connection, doc: str) -> dict[str, int]:
    """Stored nodes of a source by kind."""
    rows = connection.execute("SELECT kind, count(*) FROM nodes WHERE doc = ? GROUP BY kind ORDER BY kind", (doc,))
    return dict(rows.fetchall())


def by_status(connection: sqlite3.Connection) -> Mapping[str, int]:
    """Sources by status."""
    return dict(connection.execute("SELECT status, count(*) FROM ledger GROUP BY status ORDER BY status").fetchall())


def parse(text: str) -> SourceRecord:
    """A row's JSON as a record."""
    values: dict[str, Any] = json.loads(text)
    return SourceRecord(**values | {"warnings": tuple(values["warnings"])})


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
