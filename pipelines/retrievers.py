"""Retrieval legs and the retriever that runs them in parallel and fuses what they find.

All are LlamaIndex retrievers. Inside a pipeline they pass ids and scores; nodes are read once, after fusion.
"""

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Annotated, Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from pydantic import Field

from sensorium.analysis import terms
from sensorium.errors import QueryError
from sensorium.nodes import KINDS, whole_characters
from sensorium.pipelines.duplicates import fold
from sensorium.pipelines.fusion import Fused, Fusion, Ranked
from sensorium.pipelines.results import Hit
from sensorium.stores.base import Scored, Store, Vector

TopK = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
MAX_QUERY_CHARS = 20_000
"""Longer questions are cut for search: no embedder reads more, and a keyword query of a book finds everything."""


@dataclass
class Query:
    """One question on its way through the legs; vectors are computed once and shared.

    Attributes:
        text: What is searched for.
        filters: Metadata filters for every leg.
    """

    text: str
    filters: MetadataFilters | None = None
    _vectors: dict[int, Vector] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def vector(self, embedder: BaseEmbedding) -> Vector:
        """The question's vector from this embedder, shape (d,)."""
        with self._lock:
            if id(embedder) not in self._vectors:
                values = embedder.get_query_embedding(self.text)
                self._vectors[id(embedder)] = np.asarray(values, dtype=np.float32)
            return self._vectors[id(embedder)]


class Leg(BaseRetriever):
    """One way to search. `name` shows in traces; `weight` is its say in the fusion."""

    name: str
    weight: float
    top_k: int
    store: Store

    def __init__(self) -> None:
        super().__init__()

    @abstractmethod
    def scored(self, query: Query) -> list[Scored]:
        """Ids and raw scores, best first, without hits of no relevance."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = {s.node_id: s.score for s in self.scored(Query(query_bundle.query_str))}
        return [NodeWithScore(node=n, score=found[n.node_id]) for n in self.store.fetch(list(found))]


class VectorLeg(Leg):
    """Nearest vectors in one space.

    Args:
        store: Supplied by the pipeline.
        embedder: Supplied by the pipeline: the space's embedder.
        space: Name of the space.
        top_k: How many hits.
        weight: Say in the fusion.
        filters: Equality filters on metadata, e.g. `{kind: table}`.
    """

    def __init__(
        self, store: Store, embedder: BaseEmbedding, space: str = "text", top_k: TopK = 30,
        weight: Weight = 1.0, filters: dict[str, str | int | list[str]] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.name, self.store, self.embedder, self.space = f"vector:{space}", store, embedder, space
        self.top_k, self.weight, self.filters = top_k, weight, equality(filters)

    def scored(self, query: Query) -> list[Scored]:
        """See `Leg.scored`; scores are cosine similarities."""
        vector = query.vector(self.embedder)
        return self.store.search(
            VectorStoreQuery(
                query_embedding=vector.tolist(), similarity_top_k=self.top_k, embedding_field=self.space,
                filters=both(self.filters, query.filters), mode=VectorStoreQueryMode.DEFAULT,
            )
        )  # fmt: skip


class KeywordLeg(Leg):
    """BM25 over title, section, caption and text.

    Args:
        store: Supplied by the pipeline.
        top_k: How many hits.
        weight: Say in the fusion.
        filters: Equality filters on metadata, e.g. `{kind: table}`.
    """

    def __init__(
        self, store: Store, top_k: TopK = 30, weight: Weight = 1.0,
        filters: dict[str, str | int | list[str]] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.name, self.store = "keyword", store
        self.top_k, self.weight, self.filters = top_k, weight, equality(filters)

    def scored(self, query: Query) -> list[Scored]:
        """See `Leg.scored`; scores are raw BM25. A question without a single search term finds nothing."""
        if not terms(query.text):
            return []
        found = self.store.search(
            VectorStoreQuery(
                query_str=query.text, similarity_top_k=self.top_k, mode=VectorStoreQueryMode.TEXT_SEARCH,
                filters=both(self.filters, query.filters),
            )
        )  # fmt: skip
        return [scored for scored in found if scored.score > 0]


@dataclass(frozen=True)
class Retrieved:
    """Hits of one search and how long its parts took, in seconds."""

    hits: tuple[Hit, ...]
    trace: Mapping[str, Any]


class FusedRetriever(BaseRetriever):
    """Runs legs in parallel, fuses their hits, folds duplicates and reranks.

    Args:
        legs: At least one.
        fusion: Joins the lists.
        rerank: LlamaIndex postprocessors, in order.
        top_k: How many hits come out.
    """

    def __init__(
        self, store: Store, legs: Sequence[Leg], fusion: Fusion,
        rerank: Sequence[BaseNodePostprocessor] = (), top_k: int = 10,
    ) -> None:  # fmt: skip
        super().__init__()
        self.store, self.legs, self.fusion, self.rerank, self.top_k = store, tuple(legs), fusion, rerank, top_k
        self._pool = ThreadPoolExecutor(len(self.legs), "leg") if len(self.legs) > 1 else None

    def search(self, text: str, filters: MetadataFilters | None = None, top_k: int | None = None) -> Retrieved:
        """Search with a question.

        Raises:
            QueryError: an empty question.
        """
        wanted = self.top_k if top_k is None else max(0, top_k)
        query = Query(checked(text), filters)
        if wanted == 0:
            return Retrieved((), {})
        started = time.perf_counter()
        lists = self._run(query, wanted)
        searched = time.perf_counter()
        hits = self._hits(self.fusion.fuse(lists), wanted)
        fused = time.perf_counter()
        hits = self._reranked(hits, query.text)[:wanted]
        trace = {
            "legs": {r.leg: len(r.found) for r in lists}, "search_s": searched - started,
            "fuse_s": fused - searched, "rerank_s": time.perf_counter() - fused,
        }  # fmt: skip
        return Retrieved(tuple(hits), trace)

    def _run(self, query: Query, wanted: int) -> list[Ranked]:
        if self._pool is None:
            found = [leg.scored(query) for leg in self._deep(wanted)]
        else:
            found = list(self._pool.map(lambda leg: leg.scored(query), self._deep(wanted)))
        return [Ranked(leg.name, leg.weight, scored) for leg, scored in zip(self.legs, found, strict=True)]

    def _deep(self, wanted: int) -> Sequence[Leg]:
        """The legs, looking deeper when more hits are wanted than they bring."""
        import copy

        if all(leg.top_k >= wanted for leg in self.legs):
            return self.legs
        deep = [copy.copy(leg) for leg in self.legs]
        for leg in deep:
            leg.top_k = max(leg.top_k, wanted)
        return deep

    def _hits(self, fused: Sequence[Fused], wanted: int) -> list[Hit]:
        # Some more than wanted are read, so that folding duplicates and reranking have something to choose from.
        best = fused[: wanted * 2 + 10]
        nodes = {node.node_id: node for node in self.store.fetch([f.node_id for f in best])}
        hits = [Hit(0, f.score, nodes[f.node_id], f.legs) for f in best if f.node_id in nodes]
        return fold(sorted(hits, key=_by_score_and_place))

    def _reranked(self, hits: list[Hit], text: str) -> list[Hit]:
        if not self.rerank:
            return hits
        by_id = {hit.node.node_id: hit for hit in hits}
        scored = [NodeWithScore(node=hit.node, score=hit.score) for hit in hits]
        for postprocessor in self.rerank:
            scored = postprocessor.postprocess_nodes(scored, QueryBundle(text))
        # A postprocessor may bring nodes of its own, such as neighbours, which no leg has found.
        found = [by_id.get(s.node.node_id) or Hit(0, 0.0, s.node) for s in scored]
        return [
            Hit(rank, float(s.score or 0.0), s.node, hit.legs, hit.duplicates)
            for rank, (s, hit) in enumerate(zip(scored, found, strict=True), 1)
        ]

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self.search(query_bundle.query_str).hits
        return [NodeWithScore(node=hit.node, score=hit.score) for hit in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        import asyncio

        return await asyncio.to_thread(self._retrieve, query_bundle)


def _by_score_and_place(hit: Hit) -> tuple[float, str, int]:
    # Node ids follow from the folder's path, so ties in their order would differ from machine to machine.
    return -hit.score, str(hit.node.metadata.get("source", "")), int(hit.node.metadata.get("order", 0))


def checked(text: str) -> str:
    """A question that can be searched with: stripped and cut to `MAX_QUERY_CHARS`.

    Raises:
        QueryError: nothing is left.
    """
    text = whole_characters(text).strip()
    if not text:
        raise QueryError("The question is empty.", 'Ask for something, e.g. "How many ducks were counted?"')
    return text[:MAX_QUERY_CHARS]


def equality(filters: Mapping[str, Any] | None) -> MetadataFilters | None:
    """LlamaIndex filters from `{key: value}`; a list means any of its values.

    Raises:
        QueryError: a kind that no node can have, or something that is neither a value nor a list of values.
    """
    if not filters:
        return None
    if not isinstance(filters, Mapping):
        raise QueryError(f"Filters are a mapping, not {filters!r}.", 'Write them like {"kind": "table"}.')
    return MetadataFilters(filters=[_equal(key, value) for key, value in filters.items()])


def _equal(key: str, value: Any) -> MetadataFilter:
    several = isinstance(value, list | tuple | set | frozenset)
    values = list(value) if several else [value]
    if any(not isinstance(v, str | int | float) for v in values):
        raise QueryError(f"The filter on {key!r} is neither a value nor a list of values: {value!r}.")
    unknown = [v for v in values if v not in KINDS] if key == "kind" else []
    if unknown:  # it would pass for a kind of which there is nothing
        raise QueryError(f"There is no kind {unknown[0]!r} of nodes.", f"Kinds: {', '.join(KINDS)}.")
    if several:
        return MetadataFilter(key=key, value=values, operator=FilterOperator.IN)
    return MetadataFilter(key=key, value=value, operator=FilterOperator.EQ)


def both(first: MetadataFilters | None, second: MetadataFilters | None) -> MetadataFilters | None:
    """Filters that both hold."""
    if first is None or second is None:
        return first or second
    return MetadataFilters(filters=[first, second], condition=FilterCondition.AND)
