"""Rows in and out: everything that changes nodes goes through here, inside the caller's write transaction."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from llama_index.core.schema import BaseNode

from sensorium.stores._sqlite.matrix import counter
from sensorium.stores._sqlite.sql_filters import Sql, one_of
from sensorium.stores.base import Space, Vector, Vectors
from sensorium.stores.checking import checked_vectors, encoded_nodes, kind_of, order_of, searched_texts
from sensorium.stores.codec import encode
from sensorium.stores.ranking import pooled
from sensorium.stores.terms import columns

# Rows of `removed` to keep; readers that are further behind load their matrices anew.
_REMEMBERED = 20_000


@dataclass(frozen=True)
class Tables:
    """The spaces that are written to, and the number of each, which names its tables."""

    spaces: Mapping[str, Space]
    numbers: Mapping[str, int]

    def vectors(self, name: str) -> str:
        """The table of a space's vectors."""
        return f"vectors_{self.numbers[name]}"

    def matrix(self, name: str) -> str:
        """The table that is searched first: pooled vectors in multi-vector spaces."""
        pools = self.spaces[name].multi and self.spaces[name].searchable
        return f"pooled_{self.numbers[name]}" if pools else self.vectors(name)

    def all(self) -> list[str]:
        """Every table of vectors."""
        names = {self.vectors(name) for name in self.spaces} | {self.matrix(name) for name in self.spaces}
        return sorted(names)


@dataclass(frozen=True)
class Prepared:
    """A node ready to be written.

    Attributes:
        id: Its id.
        doc: Its source; empty without one.
        position: Its place in the source.
        kind: What the ledger counts it under.
        metadata: Its metadata as JSON.
        body: The rest of it as JSON.
        texts: Analysed columns of the full text.
        blobs: Encoded vectors by table.
    """

    id: str
    doc: str
    position: int | None
    kind: str
    metadata: str
    body: str
    texts: tuple[str, ...]
    blobs: Mapping[str, bytes]


def prepare_nodes(nodes: Sequence[BaseNode], vectors: Vectors, tables: Tables) -> list[Prepared]:
    """Check a batch and encode it, before anything is written.

    Raises:
        PartialWriteError: nodes that could not come back whole, or vectors that are not finite.
        SpaceError: unknown space, or another dimension.
    """
    encoded = encoded_nodes(nodes)
    checked = checked_vectors(nodes, vectors, tables.spaces)
    return [
        Prepared(
            node.node_id, node.ref_doc_id or "", order_of(node), kind_of(node), *encoded[i],
            columns(searched_texts(node)), _blobs({s: v[i] for s, v in checked.items()}, tables),
        )
        for i, node in enumerate(nodes)
    ]  # fmt: skip


def _blobs(vectors: Mapping[str, Vector | None], tables: Tables) -> dict[str, bytes]:
    blobs = {}
    for name, vector in vectors.items():
        if vector is not None:
            space = tables.spaces[name]
            blobs[tables.vectors(name)] = encode(vector, space)
            if tables.matrix(name) != tables.vectors(name):
                blobs[tables.matrix(name)] = encode(pooled(vector), space)
    return blobs


def insert(connection: sqlite3.Connection, nodes: Sequence[Prepared]) -> None:
    """Write nodes whose ids are free, under new row numbers."""
    first = last_row(connection) + 1
    rows = list(enumerate(nodes, first))
    connection.executemany(
        "INSERT INTO nodes (row, id, doc, position, kind, metadata) VALUES (?, ?, ?, ?, ?, ?)",
        [(row, n.id, n.doc, n.position, n.kind, n.metadata) for row, n in rows],
    )
    connection.executemany("INSERT INTO bodies (row, body) VALUES (?, ?)", [(row, n.body) for row, n in rows])
    connection.executemany(
        "INSERT INTO texts (rowid, title, section, caption, text) VALUES (?, ?, ?, ?, ?)",
        [(row, *n.texts) for row, n in rows],
    )
    for table in sorted({table for n in nodes for table in n.blobs}):
        connection.executemany(
            f"INSERT INTO {table} (row, data) VALUES (?, ?)",
            [(row, n.blobs[table]) for row, n in rows if table in n.blobs],
        )


def last_row(connection: sqlite3.Connection) -> int:
    """The highest row number that was ever given to a node; numbers are not used twice."""
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'nodes'").fetchone()
    return int(found[0]) if found else 0


def delete(connection: sqlite3.Connection, condition: Sql, tables: Sequence[str]) -> int:
    """Delete the nodes for which a condition on `nodes` holds, with all that belongs to them.

    Returns:
        How many there were.
    """
    sql, bound = condition
    rows = [row for (row,) in connection.execute(f"SELECT row FROM nodes WHERE {sql} ORDER BY row", bound)]
    if not rows:
        return 0
    listed = json.dumps(rows)
    connection.execute("DELETE FROM texts WHERE rowid IN (SELECT value FROM json_each(?))", (listed,))
    for table in ("nodes", "bodies", *tables):
        connection.execute(f"DELETE FROM {table} WHERE row IN (SELECT value FROM json_each(?))", (listed,))
    generation = counter(connection, "generation") + 1
    connection.executemany(
        "INSERT INTO removed (generation, first, last) VALUES (?, ?, ?)",
        [(generation, first, last) for first, last in stretches(rows)],
    )
    return len(rows)


def stretches(rows: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges (first, last) without gaps."""
    found: list[tuple[int, int]] = []
    for row in rows:
        if found and found[-1][1] == row - 1:
            found[-1] = (found[-1][0], row)
        else:
            found.append((row, row))
    return found


def finish(connection: sqlite3.Connection, tables: Tables) -> None:
    """Last step of every change of nodes: a new generation, and spaces that new nodes have no vectors in."""
    connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'generation'")
    sql, bound = one_of("name", list(tables.spaces))
    connection.execute(f"UPDATE spaces SET complete = 0 WHERE complete AND NOT {sql}", bound)
    kept = connection.execute(
        "SELECT generation FROM removed ORDER BY generation DESC LIMIT 1 OFFSET ?", (_REMEMBERED,)
    ).fetchone()
    if kept is not None:
        connection.execute("DELETE FROM removed WHERE generation <= ?", kept)
        connection.execute("UPDATE counters SET value = ? WHERE name = 'forgotten'", kept)


def delete_by_id(connection: sqlite3.Connection, ids: Sequence[str], tables: Sequence[str]) -> int:
    """Delete nodes by id; unknown ids are left out."""
    return delete(connection, one_of("id", list(ids)), tables)


def all_vector_tables(connection: sqlite3.Connection) -> list[str]:
    """Tables of every recorded space, also of those that the configuration no longer has."""
    found = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND (name GLOB 'vectors_[0-9]*' "
        "OR name GLOB 'pooled_[0-9]*') ORDER BY name"
    )
    return [name for (name,) in found]
