"""The embedded store: one SQLite file, exact numpy search, no set-up.

Nodes, vectors, full text and the ledger lie in one file and commit together. Several processes may read and write
at once (WAL); a kill at any moment leaves the last committed state. Vectors are searched exactly, in memory: 4
bytes a component, so 50,000 nodes of 384 dimensions take 77 MB and about 10 ms a search. Beyond some 250,000
vectors use the `weaviate` store. The data folder has to be on a local disk: network file systems lack the shared
memory and the locks that WAL needs.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from pydantic import Field, PrivateAttr

from sensorium.errors import MissingIndexError, QueryError, SpaceError, StoreError
from sensorium.stores._sqlite import inspection, ledger, notes, schema
from sensorium.stores._sqlite.asking import (
    blobs_of,
    condition_of,
    counted,
    ids_of,
    nodes_where,
    paged,
    restriction_of,
    sources_where,
)
from sensorium.stores._sqlite.connections import Connections
from sensorium.stores._sqlite.matrix import Matrix, Rows, Selections, View
from sensorium.stores._sqlite.sql_filters import one_of
from sensorium.stores._sqlite.stage import SqliteStage
from sensorium.stores._sqlite.text_index import TextIndex, term_counts
from sensorium.stores._sqlite.writing import (
    Tables,
    all_vector_tables,
    delete,
    delete_by_id,
    finish,
    insert,
    prepare_nodes,
)
from sensorium.stores.base import Scored, SourceRecord, Space, Stage, Store, Vector
from sensorium.stores.checking import query_matrix, restore_node, space_of
from sensorium.stores.codec import decode
from sensorium.stores.filters import restricts
from sensorium.stores.place import MAKE_ONE, check_there
from sensorium.stores.ranking import DIVERSIFIED, FUSED, POOL, diversified, max_sim, pooled, ranked, weighted
from sensorium.stores.verification import Verification

FILE_NAME = "index.sqlite3"
MAX_MATRIX_MB = 1000.0
RESCORED = 200
"""Nodes of a multi-vector space that are compared vector by vector, at least."""
_TRIES = 100
_PAGE = 500
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class SqliteStore(Store):
    """The embedded store.

    Args:
        data: The data folder; the index is its file `index.sqlite3`.
        spaces: The embedding spaces. None takes them as the file has them, to look into it or to empty it.
        busy_timeout_s: Seconds that a writer waits for another process that writes.
        warn_vectors: Vectors in one space above which `status` and the log point to Weaviate.
        create: Whether to make the index where there is none.

    Raises:
        MissingIndexError: there is none, and none is to be made.
        ConfigError: the folder of one that is to be there cannot be reached.
        StoreError: the file cannot be opened, or is none of ours.
        DataVersionError: a newer version wrote it.
        SpaceError: its nodes were embedded otherwise.
    """

    _spaces: dict[str, Space] = PrivateAttr()
    _tables: Tables = PrivateAttr()
    _connections: Connections = PrivateAttr()
    _matrices: dict[str, Matrix] = PrivateAttr()
    _texts: TextIndex = PrivateAttr(default_factory=TextIndex)
    _selections: Selections = PrivateAttr(default_factory=Selections)
    _warn_vectors: int = PrivateAttr()
    _warnings: dict[str, str] = PrivateAttr(default_factory=dict)
    _unsure: frozenset[str] = PrivateAttr(default=frozenset())

    def __init__(
        self,
        *,
        data: Path,
        spaces: Sequence[Space] | None = None,
        busy_timeout_s: Annotated[float, Field(ge=0)] = 60.0,
        warn_vectors: Annotated[int, Field(ge=1)] = 250_000,
        create: bool = True,
    ) -> None:
        super().__init__()
        schema.probe()
        if not create:
            self.check_there(Path(data))
        path = _file(Path(data))
        self._connections = Connections(path, busy_timeout_s)
        self._warn_vectors = warn_vectors
        try:
            self._open(path, spaces, create)
        except BaseException:
            self._connections.close()
            raise

    @classmethod
    def check_there(cls, data: Path, **options: Any) -> None:
        """See `Store.check_there`."""
        check_there(data / FILE_NAME, data)

    def _open(self, path: Path, spaces: Sequence[Space] | None, create: bool) -> None:
        for space in spaces or ():
            if space.options:
                raise SpaceError(f"The sqlite store has no options for the space {space.name!r}.")
        with self._connections.reading() as connection:
            settled = _look(connection, path, spaces)
            if settled is None and not create and not schema.prepare(connection, path):
                raise MissingIndexError(f"There is no index in {path}, an empty file.", MAKE_ONE)
        if settled is None:
            with self._connections.writing() as connection:
                settled = _set_up(connection, path, spaces or ())
        self._connections.use_wal()
        with self._connections.reading() as connection:
            self._unsure = schema.incomplete(connection)
        spaces, numbers = settled
        self._spaces = {space.name: space for space in spaces}
        self._tables = Tables(self._spaces, numbers)
        self._matrices = {
            name: Matrix(self._tables.matrix(name), space.dimension)
            for name, space in self._spaces.items()
            if space.searchable
        }

    @classmethod
    def class_name(cls) -> str:
        """Name for LlamaIndex's serialisation."""
        return "SqliteStore"

    @property
    def client(self) -> sqlite3.Connection:
        """A connection to the file for questions of your own; close it after use."""
        return self._connections.extra()

    @property
    def spaces(self) -> Mapping[str, Space]:
        """See `Store.spaces`."""
        return self._spaces

    @property
    def incomplete(self) -> frozenset[str]:
        """See `Store.incomplete`."""
        if self._unsure:
            with self._connections.reading() as connection:
                self._unsure = schema.incomplete(connection) & self._spaces.keys()
        return self._unsure

    def completed(self) -> None:
        """See `Store.completed`."""
        with self._connections.writing() as connection:
            sql, bound = one_of("name", list(self._spaces))
            connection.execute(f"UPDATE spaces SET complete = 1 WHERE {sql}", bound)

    # Searching --------------------------------------------------------------------------------------------

    def search(self, query: VectorStoreQuery, matrix: Vector | None = None) -> list[Scored]:
        """See `Store.search`."""
        self.check_complete(query)
        mode, top_k = query.mode, query.similarity_top_k
        if mode in (VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE):
            return self._text(query, top_k)
        if mode == VectorStoreQueryMode.DEFAULT:
            return self._dense(query, matrix, top_k)
        if mode == VectorStoreQueryMode.HYBRID:
            return self._hybrid(query, matrix)
        if mode == VectorStoreQueryMode.MMR:
            return self._mmr(query, top_k)
        raise QueryError(f"The store has no mode {mode.value!r}.", "Modes: default, text_search, sparse, hybrid, mmr.")

    def _text(self, query: VectorStoreQuery, top_k: int) -> list[Scored]:
        if query.query_str is None:
            raise QueryError("A keyword search needs the query's text.")
        restriction = restriction_of(query)
        with self._connections.reading() as connection:
            hits = self._texts.search(connection, query.query_str, top_k, restriction)
        return ranked(dict(hits), top_k)

    def _dense(self, query: VectorStoreQuery, matrix: Vector | None, top_k: int) -> list[Scored]:
        space = space_of(query.embedding_field, self._spaces)
        vectors = query_matrix(space, query.query_embedding, matrix)
        restriction = restriction_of(query)
        if top_k <= 0:
            return []

        def run(connection: sqlite3.Connection, view: View) -> list[Scored]:
            among = self._selections.rows(connection, view.generation, restriction) if restriction else None
            if space.multi:
                return self._rescored(connection, view, space, vectors, top_k, among)
            hits = view.best(vectors[0], top_k, among)
            ids = ids_of(connection, [row for row, _ in hits])
            return ranked({ids[row]: score for row, score in hits}, top_k)

        return self._viewing(space, run)

    def _rescored(
        self, connection: sqlite3.Connection, view: View, space: Space, query: Vector, top_k: int, among: Rows | None
    ) -> list[Scored]:
        """Two stages: the nearest pooled vectors, then all vectors of these nodes."""
        near = view.best(pooled(query), max(RESCORED, 4 * top_k), among)
        scores: dict[int, float] = {}
        for rows in paged([row for row, _ in near]):
            for row, data in blobs_of(connection, self._tables.vectors(space.name), rows):
                scores[row] = max_sim(query, decode(data, space))
        ids = ids_of(connection, list(scores))
        return ranked({ids[row]: score for row, score in scores.items()}, top_k)

    def _hybrid(self, query: VectorStoreQuery, matrix: Vector | None) -> list[Scored]:
        alpha = 0.5 if query.alpha is None else query.alpha
        if not 0.0 <= alpha <= 1.0:
            raise QueryError(f"alpha must lie in 0..1, got {alpha}.")
        top_k = query.similarity_top_k if query.hybrid_top_k is None else query.hybrid_top_k
        dense = self._dense(query, matrix, max(FUSED, 2 * top_k, query.similarity_top_k)) if alpha > 0 else []
        text = self._text(query, max(FUSED, 2 * top_k, query.sparse_top_k or 0)) if alpha < 1 else []
        return weighted(dense, text, alpha, top_k)

    def _mmr(self, query: VectorStoreQuery, top_k: int) -> list[Scored]:
        space = space_of(query.embedding_field, self._spaces)
        if space.multi:
            raise QueryError(f"MMR needs one vector a node; the space {space.name!r} has several.")
        threshold = 0.5 if query.mmr_threshold is None else query.mmr_threshold
        if not 0.0 <= threshold <= 1.0:
            raise QueryError(f"mmr_threshold must lie in 0..1, got {threshold}.")
        near = self._dense(query, None, min(max(POOL, 4 * top_k), DIVERSIFIED) if top_k > 0 else 0)
        vectors = self.vectors([hit.node_id for hit in near], space.name)
        return diversified([hit for hit in near if hit.node_id in vectors], vectors, threshold, top_k)

    def _viewing(self, space: Space, run: Callable[[sqlite3.Connection, View], _T]) -> _T:
        """Run a search on a view of the space's matrix and a transaction that see the same state."""
        matrix = self._matrices[space.name]
        for _ in range(_TRIES):
            with self._connections.reading() as connection:
                view = matrix.view(connection)
                if view is not None:
                    self._guard(space, view)
                    return run(connection, view)
        raise StoreError("The index changed faster than it could be read.")

    def _guard(self, space: Space, view: View) -> None:
        """Warn once when a space outgrows an exact search in memory."""
        vectors, megabytes = len(view.rows), view.matrix.nbytes / 1e6
        if space.name in self._warnings or (vectors < self._warn_vectors and megabytes < MAX_MATRIX_MB):
            return
        self._warnings[space.name] = (
            f"The space {space.name!r} has {vectors:,} vectors ({megabytes:,.0f} MB in memory); the sqlite store "
            "compares each of them with each query. Use the weaviate store."
        )
        _log.warning(self._warnings[space.name])

    # Reading ----------------------------------------------------------------------------------------------

    def fetch(self, node_ids: Sequence[str]) -> list[BaseNode]:
        """See `Store.fetch`."""
        wanted = list(node_ids)
        found: dict[str, BaseNode] = {}
        with self._connections.reading() as connection:
            for page in paged(list(dict.fromkeys(wanted))):
                found |= {node.node_id: node for node in nodes_where(connection, one_of("nodes.id", page), "nodes.row")}
        return [found[node_id] for node_id in wanted if node_id in found]

    def vectors(self, node_ids: Sequence[str], space: str) -> dict[str, Vector]:
        """See `Store.vectors`.

        Vectors of cosine spaces are normalised; spaces that are not searchable keep 8 bits a component
        (`stores.codec`).
        """
        facts, table = space_of(space, self._spaces), self._tables.vectors(space)
        found: dict[str, Vector] = {}
        with self._connections.reading() as connection:
            for page in paged(list(dict.fromkeys(node_ids))):
                sql, bound = one_of("id", page)
                rows = connection.execute(f"SELECT id, data FROM nodes JOIN {table} USING (row) WHERE {sql}", bound)
                found |= {node_id: decode(data, facts) for node_id, data in rows}
        return {node_id: found[node_id] for node_id in node_ids if node_id in found}

    def siblings(self, doc_id: str, first: int, last: int) -> list[BaseNode]:
        """See `Store.siblings`."""
        condition = ("nodes.doc = ? AND nodes.position BETWEEN ? AND ?", [doc_id, first, last])
        with self._connections.reading() as connection:
            return nodes_where(connection, condition, "nodes.position, nodes.id")

    def count(self) -> int:
        """See `Store.count`."""
        with self._connections.reading() as connection:
            return counted(connection, "nodes")

    def document_frequency(self, terms: Iterable[str]) -> dict[str, int]:
        """See `Store.document_frequency`."""
        with self._connections.reading() as connection:
            return self._texts.frequencies(connection, terms)

    def term_counts(self, doc_id: str, terms: Iterable[str]) -> dict[str, int]:
        """See `Store.term_counts`."""
        with self._connections.reading() as connection:
            return term_counts(connection, doc_id, terms)

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """See `Store.get_nodes`."""
        condition = condition_of(filters, node_ids=node_ids)
        with self._connections.reading() as connection:
            return nodes_where(connection, condition, "nodes.id")

    def iter_nodes(self, batch: int = 1000, doc_id: str | None = None) -> Iterator[tuple[BaseNode, dict[str, Vector]]]:
        """See `Store.iter_nodes`. All of one state, whatever is written meanwhile."""
        last = ""
        condition, bound = ("1", []) if doc_id is None else ("doc = ?", [doc_id])
        with self._connections.reading() as connection:
            while True:
                rows = connection.execute(
                    "SELECT row, id, metadata, body FROM nodes JOIN bodies USING (row) "
                    f"WHERE id > ? AND {condition} ORDER BY id LIMIT ?",
                    (last, *bound, batch),
                ).fetchall()
                if not rows:
                    return
                last = rows[-1][1]
                vectors = self._vectors_of(connection, [row for row, *_ in rows])
                for row, _, metadata, body in rows:
                    yield restore_node(metadata, body), vectors[row]

    def _vectors_of(self, connection: sqlite3.Connection, rows: Sequence[int]) -> dict[int, dict[str, Vector]]:
        found: dict[int, dict[str, Vector]] = {row: {} for row in rows}
        for name, space in self._spaces.items():
            for row, data in blobs_of(connection, self._tables.vectors(name), rows):
                found[row][name] = decode(data, space)
        return found

    # Writing ----------------------------------------------------------------------------------------------

    def add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:
        """See `Store.add`. The last of several nodes with one id stays. Nothing is stored when one is refused."""
        prepared = prepare_nodes(nodes, add_kwargs.get("vectors") or {}, self._tables)
        if not prepared:
            return []
        latest = list({node.id: node for node in prepared}.values())
        with self._connections.writing() as connection:
            ids = [node.id for node in latest]
            sources = {node.doc for node in latest} | sources_where(connection, one_of("id", ids))
            delete_by_id(connection, ids, all_vector_tables(connection))
            insert(connection, latest)
            self._finish(connection, sources)
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete a source: its nodes and its ledger row."""
        self.remove_source(ref_doc_id)

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """See `Store.delete_nodes`."""
        if node_ids is None and not restricts(filters):
            raise StoreError("delete_nodes needs node ids or filters.", "To delete everything, call clear().")
        condition = condition_of(filters, node_ids=node_ids)
        with self._connections.writing() as connection:
            sources = sources_where(connection, condition)
            if delete(connection, condition, all_vector_tables(connection)):
                self._finish(connection, sources)

    def _finish(self, connection: sqlite3.Connection, sources: Iterable[str]) -> None:
        for doc in sources:
            ledger.recount(connection, doc)
        finish(connection, self._tables)

    def clear(self) -> None:
        """See `Store.clear`."""
        with self._connections.writing() as connection:
            delete(connection, ("1", []), all_vector_tables(connection))
            connection.execute("DELETE FROM ledger")
            notes.clear(connection)
            finish(connection, self._tables)
            connection.execute("UPDATE spaces SET complete = 1")

    # Staged updates and the ledger ------------------------------------------------------------------------

    def stage(self, doc_id: str) -> Stage:
        """See `Store.stage`."""
        return SqliteStage(self._connections, self._tables, doc_id)

    def record(self, record: SourceRecord) -> None:
        """See `Store.record`."""
        with self._connections.writing() as connection:
            ledger.write(connection, record)

    def source(self, doc_id: str) -> SourceRecord | None:
        """See `Store.source`."""
        with self._connections.reading() as connection:
            return ledger.read(connection, doc_id)

    def sources(self) -> Iterator[SourceRecord]:
        """See `Store.sources`."""
        last: SourceRecord | None = None
        while True:
            with self._connections.reading() as connection:
                page = ledger.read_after(connection, last, _PAGE)
            if not page:
                return
            yield from page
            last = page[-1]

    def remove_source(self, doc_id: str) -> None:
        """See `Store.remove_source`."""
        with self._connections.writing() as connection:
            if delete(connection, ("doc = ?", [doc_id]), all_vector_tables(connection)):
                finish(connection, self._tables)
            ledger.remove(connection, doc_id)

    def notes(self, group: str) -> dict[str, Any]:
        """See `Store.notes`."""
        with self._connections.reading() as connection:
            return notes.read(connection, group)

    def keep_note(self, group: str, name: str, value: Any) -> None:
        """See `Store.keep_note`."""
        with self._connections.writing() as connection:
            notes.write(connection, group, name, value)

    def status(self) -> dict[str, Any]:
        """See `Store.status`."""
        path = self._connections.path
        with self._connections.reading() as connection:
            return {
                "engine": "sqlite",
                "path": str(path),
                "version": sqlite3.sqlite_version,
                "format": schema.FORMAT,
                "nodes": counted(connection, "nodes"),
                "sources": dict(ledger.by_status(connection)),
                "vectors": {name: counted(connection, self._tables.vectors(name)) for name in self._spaces},
                "size_mb": round(sum(f.stat().st_size for f in path.parent.glob(f"{FILE_NAME}*")) / 1e6, 1),
                "warnings": [*self._warnings.values(), *self.incomplete_warnings()],
            }

    def verify(self, repair: bool = False) -> Verification:
        """See `Store.verify`: the file's pages, each node's rows, vectors and full text, the ledger's counts."""

        def looked(connection: sqlite3.Connection, space: str) -> View | None:
            return self._matrices[space].view(connection)

        return inspection.verify(self._connections, self._tables, looked, repair)

    def close(self) -> None:
        """See `Store.close`."""
        self._connections.close()


_Settled = tuple[Sequence[Space], dict[str, int]]


def _look(connection: sqlite3.Connection, path: Path, spaces: Sequence[Space] | None) -> _Settled | None:
    """The spaces and their numbers; None when something has to be written first. Waits for no writer."""
    if not schema.prepare(connection, path):
        return None
    if spaces is None:
        spaces = [space for _, space, _ in schema.recorded_spaces(connection).values()]
    numbers = schema.settled(connection, spaces)
    return None if numbers is None else (spaces, numbers)


def _set_up(connection: sqlite3.Connection, path: Path, spaces: Sequence[Space]) -> _Settled:
    """Make what is missing in the file, unless another process was faster."""
    if not schema.prepare(connection, path):
        schema.create(connection)
    if schema.settled(connection, spaces) is None:
        make = schema.rewrite if schema.is_empty(connection) else schema.extend
        make(connection, spaces)
    return spaces, schema.settled(connection, spaces) or {}


def _file(data: Path) -> Path:
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file of that name is there" if isinstance(error, FileExistsError) else error.strerror or error
        raise StoreError(f"The data folder {data} cannot be made: {reason}.", "Choose another one (--data).") from error
    return data / FILE_NAME
