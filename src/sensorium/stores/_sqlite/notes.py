"""Small JSON values of pipelines, beside the ledger."""

import json
import sqlite3
from typing import Any

# Not among the tables of `schema`, as files that were made before notes came lack it.
_TABLE = (
    "CREATE TABLE IF NOT EXISTS notes (family BLOB NOT NULL, name BLOB NOT NULL, value TEXT NOT NULL, "
    "PRIMARY KEY (family, name)) WITHOUT ROWID"
)


def read(connection: sqlite3.Connection, group: str) -> dict[str, Any]:
    """The notes of a group by name."""
    if not _exists(connection):
        return {}
    rows = connection.execute("SELECT name, value FROM notes WHERE family = ? ORDER BY name", (_bytes(group),))
    return {bytes(name).decode("utf-8", "surrogatepass"): json.loads(value) for name, value in rows}


def write(connection: sqlite3.Connection, group: str, name: str, value: Any) -> None:
    """Write a note, or remove it when the value is None."""
    key = (_bytes(group), _bytes(name))
    if value is not None:
        connection.execute(_TABLE)
        connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (*key, json.dumps(value)))
    elif _exists(connection):
        connection.execute("DELETE FROM notes WHERE family = ? AND name = ?", key)


def clear(connection: sqlite3.Connection) -> None:
    """Remove all notes."""
    if _exists(connection):
        connection.execute("DELETE FROM notes")


def _exists(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'notes'").fetchone() is not None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
