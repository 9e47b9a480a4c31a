"""The contract of every store: LlamaIndex's vector store, plus spaces, staged updates and the ledger.

`sensorium.testing.StoreContract` is the suite that every engine has to pass.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from numpy.typing import NDArray

from sensorium.errors import SpaceError
from sensorium.models.base import Distance

if TYPE_CHECKING:
    from sensorium.stores.verification import Verification

Vector = NDArray[np.float32]
"""Shape (d,), or (m, d) in a multi-vector space."""
Vectors = Mapping[str, Sequence[Vector | None] | Vector]
"""For each space one vector a node, in a list or as a matrix (n, d); None where a node has none in that space."""


@dataclass(frozen=True)
class Space:
    """A named embedding space.

    Attributes:
        name: Its name in YAML.
        dimension: Length of its vectors.
        revision: Of the embedder: another revision means another space, so the index must be made anew.
        distance: How vectors are compared. Cosine vectors are normalised on the way in.
        multi: A node has a matrix of vectors (late interaction: score is MaxSim / query vectors).
        searchable: False for vectors that are only kept beside the nodes (`vectors()`), such as the sentence
            vectors of the extractive answer.
        options: Engine options of the space (index type, quantisation); engines that have none refuse them.
    """

    name: str
    dimension: int
    revision: str
    distance: Distance = "cosine"
    multi: bool = False
    searchable: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scored:
    """A node id and its score in one search.

    Higher is better. Dense: cosine similarity (-1..1) or dot product. Multi-vector: mean over the query's vectors of
    the best cosine. Text: raw BM25 (unbounded, above 0). Hybrid: weighted sum of relative scores (0..1). MMR:
    marginal relevance, in the order in which hits were taken.
    """

    node_id: str
    score: float


Status = Literal["stored", "skipped", "failed"]
_WORDS_ONLY = (VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE)


@dataclass(frozen=True)
class SourceRecord:
    """What the ledger knows about one source.

    Attributes:
        doc_id: Identity (`nodes.source_id`).
        root: Absolute path or URL of the indexed folder.
        source: Path inside it.
        status: How the last attempt ended. After a failed update the nodes of the old version stay searchable.
        reason: Why it was skipped or failed; empty when stored.
        sha256: Digest of the file at the last attempt; empty when it could not be read.
        size: Its size in bytes.
        mtime_ns: Its modification time.
        media_type: Its type.
        fingerprint: Of the configuration that the last attempt ran with.
        live_sha256: Digest of the version whose nodes are stored; empty when there are none.
        counts: Stored nodes by kind.
        warnings: Parts that did not make it, one line each.
        seconds: Time the last attempt took.
        indexed_at: When it ended, ISO 8601 UTC.
    """

    doc_id: str
    root: str
    source: str
    status: Status
    reason: str = ""
    sha256: str = ""
    size: int = 0
    mtime_ns: int = 0
    media_type: str = ""
    fingerprint: str = ""
    live_sha256: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    indexed_at: str = ""

    def changed(self, **values: Any) -> "SourceRecord":
        """A copy with other values."""
        return replace(self, **values)


class Stage(ABC):
    """A new version of one source on its way in: invisible until `publish`, gone if that is never called.

    A context manager: leaving it without `publish` discards what was added.
    """

    @abstractmethod
    def add(self, nodes: Sequence[BaseNode], vectors: Vectors) -> None:
        """Add a batch of nodes.

        Raises:
            PartialWriteError: the engine refused some.
            StoreError: the engine cannot be written to.
        """

    @abstractmethod
    def publish(self, record: SourceRecord) -> None:
        """Replace the source's old nodes by the added ones, and its ledger row, in one step.

        Counts are compared with what is really stored, before readers see anything.

        Raises:
            StoreError: the counts do not agree; the old version stays.
        """

    @abstractmethod
    def discard(self) -> None:
        """Throw away what was added. Harmless after `publish`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


class Store(BasePydanticVectorStore, ABC):
    """A LlamaIndex vector store with several spaces, staged updates and a ledger.

    In LlamaIndex's `VectorStoreQuery`, `embedding_field` names the space ("text" when None). Modes: DEFAULT
    (dense), TEXT_SEARCH and SPARSE (BM25 over the analysed title, section, caption and text), HYBRID (both;
    `alpha` weighs dense, 0 is pure text), MMR (`mmr_threshold` as in LlamaIndex: 1 is pure relevance; among the
    nearest 1,000 nodes at most). Filters, `doc_ids` and `node_ids` are combined by AND. Empty `doc_ids` let nothing
    pass; empty `node_ids` restrict nothing, as LlamaIndex's `VectorStoreIndex` sends them with every query. Every
    `FilterOperator` and nested AND/OR/NOT work, with the meaning of core's `build_metadata_filter_fn` extended to
    nesting (`stores.filters`).
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    flat_metadata: bool = False

    @classmethod
    def check_there(cls, data: Path, **options: Any) -> None:
        """Say early that there is no index, where that can be seen without opening it; by default it cannot.

        Args:
            data: The data folder.
            **options: Of the store.

        Raises:
            MissingIndexError: there is none.
            ConfigError: the folder cannot be reached.
        """

    @property
    @abstractmethod
    def spaces(self) -> Mapping[str, Space]:
        """The spaces, by name."""

    @property
    @abstractmethod
    def incomplete(self) -> frozenset[str]:
        """Spaces that cannot be searched yet: nodes were stored before they were added, or while they were left out.

        Indexing the sources again gives their nodes the missing vectors; then `completed` opens the spaces.
        """

    @abstractmethod
    def completed(self) -> None:
        """Note down that every node was stored with all of the configured spaces at hand."""

    def check_complete(self, query: VectorStoreQuery) -> None:
        """Refuse a search that would miss nodes silently.

        Raises:
            SpaceError: it needs a space that is incomplete; says what to index again.
        """
        name = query.embedding_field or "text"
        if query.mode not in _WORDS_ONLY and name in self.incomplete:
            raise SpaceError(*self._lacking(name))

    def incomplete_warnings(self) -> list[str]:
        """A line for each incomplete space, for `status`."""
        return [" ".join(self._lacking(name)) for name in sorted(self.incomplete)]

    def _lacking(self, name: str) -> tuple[str, str]:
        roots = sorted({record.root for record in self.sources()})
        return (
            f"The space {name!r} was added after nodes had been stored, which have no vectors in it.",
            f"Index their sources again: sensorium index {' '.join(roots) or 'FOLDER'}",
        )

    # What pipelines call ----------------------------------------------------------------------------------

    @abstractmethod
    def search(self, query: VectorStoreQuery, matrix: Vector | None = None) -> list[Scored]:
        """Ids and scores only, best first; ties in order of node id.

        Args:
            query: As for `query`.
            matrix: The query's vectors (m, d), for a multi-vector space.

        Raises:
            SpaceError: unknown space, or a vector of another dimension.
            QueryError: a query without what its mode needs.
        """

    @abstractmethod
    def fetch(self, node_ids: Sequence[str]) -> list[BaseNode]:
        """Nodes in the order of the ids; unknown ids are left out. Without embeddings."""

    @abstractmethod
    def vectors(self, node_ids: Sequence[str], space: str) -> dict[str, Vector]:
        """Vectors of nodes in one space; nodes without one are left out."""

    @abstractmethod
    def siblings(self, doc_id: str, first: int, last: int) -> list[BaseNode]:
        """Nodes of a source whose `order` lies in first..last, in that order."""

    @abstractmethod
    def count(self) -> int:
        """Stored nodes."""

    @abstractmethod
    def document_frequency(self, terms: Iterable[str]) -> dict[str, int]:
        """In how many nodes each analysed term (`analysis.terms`) occurs; 0 for unknown ones."""

    @abstractmethod
    def term_counts(self, doc_id: str, terms: Iterable[str]) -> dict[str, int]:
        """In how many nodes of one source each analysed term occurs."""

    # Staged updates and the ledger ------------------------------------------------------------------------

    @abstractmethod
    def stage(self, doc_id: str) -> Stage:
        """Begin a new version of a source."""

    @abstractmethod
    def record(self, record: SourceRecord) -> None:
        """Write a ledger row without touching nodes (a skipped or failed source, a new modification time)."""

    @abstractmethod
    def source(self, doc_id: str) -> SourceRecord | None:
        """The ledger row of a source."""

    @abstractmethod
    def sources(self) -> Iterator[SourceRecord]:
        """All ledger rows, in order of root and source."""

    @abstractmethod
    def remove_source(self, doc_id: str) -> None:
        """Delete a source: its nodes, vectors and ledger row, in one step."""

    # Small notes of pipelines ------------------------------------------------------------------------------

    @abstractmethod
    def notes(self, group: str) -> dict[str, Any]:
        """Small JSON values that pipelines keep beside the ledger (links between sources), by name.

        Notes belong to no source: they survive updates and removals, until `keep_note` or `clear` removes them.

        Args:
            group: Any text.
        """

    @abstractmethod
    def keep_note(self, group: str, name: str, value: Any) -> None:
        """Write a note that every process sees; the last writer wins.

        Args:
            group: Of notes that are read together.
            name: Within the group; any text.
            value: What JSON can hold; None removes the note.
        """

    @abstractmethod
    def status(self) -> dict[str, Any]:
        """Engine facts for `sensorium status`: engine, location, version, nodes, vectors by space, size."""

    @abstractmethod
    def verify(self, repair: bool = False) -> "Verification":
        """Look for every node through every search that has to find it, and compare the ledger's counts.

        Args:
            repair: Mend what is found. What cannot be mended here (nodes that are gone) is marked in the ledger, so
                that the next indexing run reads its source again, and stays in `left`.
        """

    @abstractmethod
    def close(self) -> None:
        """Release connections and files; the store cannot be used afterwards."""

    # LlamaIndex's interface on top of it ---------------------------------------------------------------------

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """LlamaIndex's query: nodes, similarities and ids, best first."""
        scored = self.search(query, kwargs.get("matrix"))
        nodes = {node.node_id: node for node in self.fetch([s.node_id for s in scored])}
        found = [s for s in scored if s.node_id in nodes]
        return VectorStoreQueryResult(
            nodes=[nodes[s.node_id] for s in found],
            similarities=[s.score for s in found],
            ids=[s.node_id for s in found],
        )

    @abstractmethod
    def add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:
        """Insert or replace nodes at once, outside of any staged update.

        Args:
            nodes: Nodes; `embedding`, where set, goes to the space "text".
            **add_kwargs: `vectors`: see `Vectors`.

        Returns:
            Ids of the stored nodes.

        Raises:
            PartialWriteError: nodes that could not come back whole (media as bytes, foreign classes), or vectors
                that are not finite.
            SpaceError: unknown space, or vectors of another dimension.
        """

    @abstractmethod
    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Delete nodes by id and filter (both must hold).

        Raises:
            StoreError: neither was given; `clear` deletes everything.
        """

    @abstractmethod
    def clear(self) -> None:
        """Delete all nodes and the ledger; the spaces stay as they are configured."""

    @abstractmethod
    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Nodes by id and filter, in order of id; all nodes without either."""

    @abstractmethod
    def iter_nodes(self, batch: int = 1000, doc_id: str | None = None) -> Iterator[tuple[BaseNode, dict[str, Vector]]]:
        """Every node with its vectors by space, streamed in order of id (for moving between engines).

        Args:
            batch: How many are read at once.
            doc_id: Only the nodes of this source.
        """

    # Async: the same, in a thread. Engines with an async client of their own override these. ----------------------

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As `add`."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """As `delete`."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """As `delete_nodes`."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aclear(self) -> None:
        """As `clear`."""
        await asyncio.to_thread(self.clear)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """As `get_nodes`."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As `query`."""
        return await asyncio.to_thread(self.query, query, **kwargs)
