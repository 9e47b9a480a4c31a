"""The Weaviate store: the same contract as the embedded store, on a server.

One object a node, one named vector a space, and beside it a ledger collection that makes every machine see the same
sources. What is written is read back through every vector index before anyone sees it, and appears in one step
(`_weaviate.writing`, `_weaviate.manifest`). Scores are raw, as in `Scored`.

It also is a `WeaviateVectorStore` of LlamaIndex, so that code which asks for one takes it; none of that class's
input and output is used.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import weaviate
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.weaviate import WeaviateVectorStore
from pydantic import PrivateAttr

from sensorium.errors import PartialWriteError, StoreError
from sensorium.stores._weaviate import ledger, notes
from sensorium.stores._weaviate.connection import Address, Connection, Consistency
from sensorium.stores._weaviate.encoding import restored
from sensorium.stores._weaviate.engine import Engine
from sensorium.stores._weaviate.fields import check_fields
from sensorium.stores._weaviate.inspection import verify
from sensorium.stores._weaviate.migration import fill_fields
from sensorium.stores._weaviate.names import check_collection, check_tenant, ledger_name
from sensorium.stores._weaviate.parts import Parts
from sensorium.stores._weaviate.reading import Reader
from sensorium.stores._weaviate.schema import Plan
from sensorium.stores._weaviate.searching import Fusion, Searcher
from sensorium.stores._weaviate.spaces import check_options
from sensorium.stores._weaviate.stage import WeaviateStage
from sensorium.stores._weaviate.state import status
from sensorium.stores._weaviate.updating import add_nodes, delete_found
from sensorium.stores._weaviate.watch import Watch
from sensorium.stores.base import Scored, SourceRecord, Space, Stage, Store, Vector
from sensorium.stores.filters import restricts
from sensorium.stores.place import check_there
from sensorium.stores.verification import Verification

URL = "http://localhost:8080"
EMBEDDED = "embedded"
FOLDER = "weaviate"


class WeaviateStore(Store, WeaviateVectorStore):
    """The Weaviate store.

    Asynchronous methods are those of `Store`: the synchronous ones in a thread. The client's own asynchronous half
    is bound to one event loop, and a cancelled task would cut off its insert, which leaves nodes that no search
    finds; a thread runs to its end.

    A search sees what was published through this store at once, and what others published within a quarter of a
    second; never half of it.

    Args:
        data: The data folder; used by the embedded server only.
        spaces: The embedding spaces; `Space.options` as in `_weaviate.spaces`. None takes them as the index has them.
        url: The server, or "embedded" for one that is started in the data folder.
        grpc: Its gRPC address, "host:port"; found by the usual rules when None.
        api_key: API key; the environment variable WEAVIATE_API_KEY when None.
        oidc: Login with the server's identity provider, in place of a key: {client_secret, scope}, {username,
            password, scope} or {token, refresh_token, expires_in}.
        headers: More HTTP headers.
        collection: Name of the collection of nodes; the ledger's is that with "_Ledger".
        tenant: Keeps this index apart from others in the same collection. Indexing makes it when it is missing.
        consistency: How many replicas have to answer; the server's default when None.
        replication_factor: Copies of each object, when the collection is made.
        filter_fields: Metadata keys, "text" or "number", that filters compare by order or search for parts of.
            Other filters need none; source, page, slide, order, start_s and end_s are declared already.
        fusion: Who fuses the two lists of a hybrid query. "server" is slower for few hits and keeps no raw scores.
        timeout_s: Seconds after which a question without an answer is an error.
        insert_timeout_s: Seconds that the server may take for one batch.
        batch: Nodes in one insert; 200 is fastest, as some are stored while others are indexed.
        create: Whether to make collections and tenant where they are missing.

    Raises:
        MissingIndexError: they are, and are not to be made.
        StoreError: no server, a wrong key, a version that is too old, or a collection that is not ours.
        SpaceError: the nodes were embedded otherwise.
    """

    _connection: Connection = PrivateAttr()
    _parts: Parts = PrivateAttr()
    _reader: Reader = PrivateAttr()
    _searcher: Searcher = PrivateAttr()
    _watch: Watch | None = PrivateAttr(default=None)
    _server: Any = PrivateAttr(default=None)

    def __init__(
        self,
        *,
        data: Path | None = None,
        spaces: Sequence[Space] | None = None,
        url: str = URL,
        grpc: str | None = None,
        api_key: str | None = None,
        oidc: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        collection: str = "Sensorium",
        tenant: str | None = None,
        consistency: Consistency | None = None,
        replication_factor: int = 1,
        filter_fields: dict[str, Literal["text", "number"]] | None = None,
        fusion: Fusion = "ours",
        timeout_s: float = 15.0,
        insert_timeout_s: float = 300.0,
        batch: int = 200,
        create: bool = True,
    ) -> None:
        # Not WeaviateVectorStore's, which would connect and make a schema of its own.
        fields = {"index_name": check_collection(collection), "url": url, "text_key": "text"}
        BasePydanticVectorStore.__init__(self, **fields)  # type: ignore[arg-type]
        plan = Plan(
            collection,
            check_tenant(tenant),
            tuple(spaces) if spaces is not None else None,
            check_fields(filter_fields or {}),
            replication_factor,
            create,
        )
        for space in spaces or ():
            check_options(space)
        if batch < 1:
            raise StoreError(f"batch must be at least 1, got {batch}.")
        if url == EMBEDDED:
            url, grpc, api_key = self._start(data, create)
        try:
            address = Address.parse(url, grpc)
            self._connection = Connection(address, api_key, headers, timeout_s, insert_timeout_s, oidc)
            self._open(plan, consistency, fusion, batch)
        except BaseException:
            self.close()
            raise

    def _start(self, data: Path | None, create: bool) -> tuple[str, str, str]:
        from sensorium.stores._weaviate.server import start

        if data is None:
            raise StoreError("The embedded Weaviate server needs a data folder.", "Set data: in the configuration.")
        if not create:
            self.check_there(Path(data), url=EMBEDDED)
        self._server = start(Path(data) / FOLDER)
        return self._server.url, f"127.0.0.1:{self._server.grpc_port}", self._server.state.api_key

    @classmethod
    def check_there(cls, data: Path, **options: Any) -> None:
        """See `Store.check_there`; a server elsewhere has to be asked."""
        if options.get("url") == EMBEDDED:
            check_there(data / FOLDER, data)

    def _open(self, plan: Plan, consistency: Consistency | None, fusion: Fusion, batch: int) -> None:
        handles = [
            self._connection.collection(name, plan.tenant, consistency)
            for name in (plan.collection, ledger_name(plan.collection))
        ]
        grace = self._connection.timeout_s + 5.0
        self._parts = Parts(self._connection, Engine(self._connection, *handles), plan, batch, grace)
        self._reader = Reader(self._parts)
        self._searcher = Searcher(self._parts, self._reader, fusion)
        self._watch = Watch(self._parts)
        self._parts.sweep(now=True)

    def __del__(self) -> None:
        """Replaces the one of `WeaviateVectorStore`, which fails when the constructor did."""

    @classmethod
    def class_name(cls) -> str:
        """Name for LlamaIndex's serialisation."""
        return "WeaviateStore"

    @property
    def client(self) -> weaviate.WeaviateClient:
        """The client of weaviate-client; closed with the store."""
        return self._connection.client

    @property
    def spaces(self) -> Mapping[str, Space]:
        """See `Store.spaces`."""
        return self._parts.spaces

    @property
    def incomplete(self) -> frozenset[str]:
        """See `Store.incomplete`."""
        return self._parts.incomplete()

    def completed(self) -> None:
        """See `Store.completed`."""
        self._parts.set_complete()

    # Searching --------------------------------------------------------------------------------------------

    def search(self, query: VectorStoreQuery, matrix: Vector | None = None) -> list[Scored]:
        """See `Store.search`.

        Raises:
            QueryError: also a filter that could only be decided by looking at more than 10,000 nodes one by one; the
                message says how to declare its key.
        """
        self.check_complete(query)
        return self._searcher.search(query, matrix, bodies=False)[0]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """See `Store.query`; one request for hits and nodes."""
        self.check_complete(query)
        scored, found = self._searcher.search(query, kwargs.get("matrix"), bodies=True)
        objects = {f.node_id: f for f in found}
        return VectorStoreQueryResult(
            nodes=[restored(objects[s.node_id]) for s in scored],
            similarities=[s.score for s in scored],
            ids=[s.node_id for s in scored],
        )

    # Reading ----------------------------------------------------------------------------------------------

    def fetch(self, node_ids: Sequence[str]) -> list[BaseNode]:
        """See `Store.fetch`."""
        return self._reader.fetch(node_ids)

    def vectors(self, node_ids: Sequence[str], space: str) -> dict[str, Vector]:
        """See `Store.vectors`. Vectors of spaces that are not searchable are kept in 8 bits a component."""
        return self._reader.vectors(node_ids, space)

    def siblings(self, doc_id: str, first: int, last: int) -> list[BaseNode]:
        """See `Store.siblings`."""
        return self._reader.siblings(doc_id, first, last)

    def count(self) -> int:
        """See `Store.count`."""
        return self._reader.count()

    def document_frequency(self, terms: Iterable[str]) -> dict[str, int]:
        """See `Store.document_frequency`."""
        return self._reader.frequencies(terms)

    def term_counts(self, doc_id: str, terms: Iterable[str]) -> dict[str, int]:
        """See `Store.term_counts`."""
        return self._reader.frequencies(terms, doc_id)

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """See `Store.get_nodes`."""
        return self._reader.nodes(node_ids, filters)

    def iter_nodes(self, batch: int = 1000, doc_id: str | None = None) -> Iterator[tuple[BaseNode, dict[str, Vector]]]:
        """See `Store.iter_nodes`. Nodes that go while it runs are left out."""
        return self._reader.iterate(batch, doc_id)

    # Writing ----------------------------------------------------------------------------------------------

    def add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:
        """See `Store.add`. The last of several nodes with one id stays."""
        prepared = self._parts.prepare(nodes, add_kwargs.get("vectors") or {})
        self._watching.begin()
        failed = add_nodes(self._parts, list({node.id: node for node in prepared}.values()), self._watching)
        if failed:
            raise PartialWriteError([n.node_id for n in nodes if n.node_id not in failed], failed)
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
        self._parts.generations.read()  # what is there now is what goes
        delete_found(self._parts, self._reader.matching(node_ids, filters, ["kind"]))

    def clear(self) -> None:
        """See `Store.clear`. The collections are dropped and made anew."""
        self._parts.clear()

    # Staged updates and the ledger ------------------------------------------------------------------------

    def stage(self, doc_id: str) -> Stage:
        """See `Store.stage`."""
        self._connection.check_open()
        self._watching.begin()
        return WeaviateStage(self._parts, doc_id, self._watching)

    def record(self, record: SourceRecord) -> None:
        """See `Store.record`."""
        self._parts.generations.put(record)

    def source(self, doc_id: str) -> SourceRecord | None:
        """See `Store.source`."""
        return ledger.source(self._parts, doc_id)

    def sources(self) -> Iterator[SourceRecord]:
        """See `Store.sources`. Holds the names of all sources in memory, to put them in order."""
        return ledger.sources(self._parts)

    def remove_source(self, doc_id: str) -> None:
        """See `Store.remove_source`."""
        ledger.remove(self._parts, doc_id)

    # Small notes of pipelines -----------------------------------------------------------------------------

    def notes(self, group: str) -> dict[str, Any]:
        """See `Store.notes`."""
        return notes.read(self._parts, group)

    def keep_note(self, group: str, name: str, value: Any) -> None:
        """See `Store.keep_note`."""
        notes.write(self._parts, group, name, value)

    @property
    def _watching(self) -> Watch:
        assert self._watch is not None
        return self._watch

    # Looking after it -------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """See `Store.status`."""
        facts = status(self._parts, self._reader)
        return facts | {"warnings": [*facts["warnings"], *self.incomplete_warnings()]}

    def verify(self, repair: bool = False) -> Verification:
        """See `Store.verify`: every object through each vector index, filters and keyword search; the counts.

        A repair also fills the typed properties of `filter_fields` that were declared after nodes had been stored.
        """
        if repair:
            fill_fields(self._parts)
        return verify(self._parts, repair)

    def close(self) -> None:
        """See `Store.close`. An embedded server stops when nobody else uses it."""
        connection = getattr(self, "_connection", None)
        if connection is not None:
            if self._watch is not None:
                self._watch.close()
            connection.close()
        searcher = getattr(self, "_searcher", None)
        if searcher is not None:
            searcher.close()
        if self._server is not None:
            self._server.stop()

    # What is left of WeaviateVectorStore --------------------------------------------------------------------

    @property
    def async_client(self) -> NoReturn:
        """There is none; asynchronous methods run in threads."""
        raise StoreError("The weaviate store has no asynchronous client.", "Its asynchronous methods need none.")

    @classmethod
    def from_params(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported."""
        raise StoreError("The weaviate store is not made by from_params.", "Call WeaviateStore(url=..., spaces=...).")

    def delete_index(self) -> None:
        """Delete both collections, of all tenants; the store cannot be used afterwards."""
        self._watching.forget()
        for name in (self.index_name, ledger_name(self.index_name)):
            with self._connection.translated():
                self.client.collections.delete(name)

    async def adelete_index(self) -> None:
        """As `delete_index`."""
        import asyncio

        await asyncio.to_thread(self.delete_index)
