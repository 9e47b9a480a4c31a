"""Questions that the store asks the file."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import TypeVar

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import MetadataFilters, VectorStoreQuery

from sensorium.stores._sqlite.sql_filters import Sql, one_of, where
from sensorium.stores.checking import restore_node
from sensorium.stores.filters import restricts

_PAGE = 500
_T = TypeVar("_T")


def condition_of(
    filters: MetadataFilters | None, node_ids: Sequence[str] | None = None, doc_ids: Sequence[str] | None = None
) -> Sql:
    """All restrictions joined by AND; an empty list of ids lets nothing pass."""
    parts = [where(filters)]
    parts += [one_of("nodes.id", list(node_ids))] if node_ids is not None else []
    parts += [one_of("nodes.doc", list(doc_ids))] if doc_ids is not None else []
    return " AND ".join(f"({sql})" for sql, _ in parts), [value for _, bound in parts for value in bound]


def restriction_of(query: VectorStoreQuery) -> Sql | None:
    """The query's condition on nodes; None when all nodes are wanted."""
    # LlamaIndex's VectorStoreIndex sends an empty list when it means all nodes.
    node_ids = query.node_ids or None
    free = node_ids is None and query.doc_ids is None and not restricts(query.filters)
    condition = condition_of(query.filters, node_ids, query.doc_ids)
    return None if free else condition


def ids_of(connection: sqlite3.Connection, rows: Sequence[int]) -> dict[int, str]:
    """Node ids by row."""
    found = connection.execute(
        "SELECT row, id FROM nodes WHERE row IN (SELECT value FROM json_each(?))", (json.dumps(rows),)
    )
    return dict(found.fetchall())


def blobs_of(connection: sqlite3.Connection, table: str, rows: Sequence[int]) -> list[tuple[int, bytes]]:
    """Rows of a table of vectors."""
    return connection.execute(
        f"SELECT row, data FROM {table} WHERE row IN (SELECT value FROM json_each(?))", (json.dumps(rows),)
    ).fetchall()


def nodes_where(connection: sqlite3.Connection, condition: Sql, order: str) -> list[BaseNode]:
    """Nodes for which a condition on `nodes` holds."""
    sql, bound = condition
    rows = connection.execute(
        f"SELECT metadata, body FROM nodes JOIN bodies USING (row) WHERE {sql} ORDER BY {order}", bound
    )
    return [restore_node(metadata, body) for metadata, body in rows]


def sources_where(connection: sqlite3.Connection, condition: Sql) -> set[str]:
    """Sources of the nodes for which a condition holds."""
    sql, bound = condition
    return {doc for (doc,) in connection.execute(f"SELECT DISTINCT doc FROM nodes WHERE {sql}", bound)}


def counted(connection: sqlite3.Connection, table: str) -> int:
    """Rows of a table."""
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def paged(values: list[_T]) -> Iterator[list[_T]]:
    """Parts of a list."""
    for start in range(0, len(values), _PAGE):
        yield values[start : start + _PAGE]
