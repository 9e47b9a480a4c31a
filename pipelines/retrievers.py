"""Retrieval legs and the retriever that runs them in parallel and fuses what they find.

All are LlamaIndex retrievers. Inside a pipeline they pass ids and scores; nodes are read once, after fusion.
"""

import asyncio
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any

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
from sensorium.pipelines.moments import at_filters
from sensorium.pipelines.rerank import Reranked, arerank, rerank
from sensorium.pipelines.results import Hit
from sensorium.stores.base import Scored, Store, Vector

if TYPE_CHECKING:
    from sensorium.pipelines.expand import Expanded, Expansion, Variant

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
    """Hits of one search, how long its parts took, in seconds, and what a reader should know of it."""

    hits: tuple[Hit, ...]
    trace: Mapping[str, Any]
    notes: tuple[str, ...] = ()


class FusedRetriever(BaseRetriever):
    """Runs legs in parallel, fuses their hits, folds duplicates and reranks.

    Args:
        legs: At least one.
        fusion: Joins the lists.
        rerank: LlamaIndex postprocessors, in order.
        top_k: How many hits come out.
        expansion: Query steps that find out what else to search for.
    """

    def __init__(
        self, store: Store, legs: Sequence[Leg], fusion: Fusion,
        rerank: Sequence[BaseNodePostprocessor] = (), top_k: int = 10, expansion: "Expansion | None" = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.store, self.legs, self.fusion, self.rerank, self.top_k = store, tuple(legs), fusion, rerank, top_k
        self.expansion = expansion
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
        expanded = self.expansion.run(query.text) if self.expansion else None
        found = self._searched(query, wanted, expanded)
        for postprocessor in self.rerank:
            found.add(rerank(postprocessor, found.scored, query.text))
        return found.finished(wanted, expanded)

    async def asearch(self, text: str, filters: MetadataFilters | None = None, top_k: int | None = None) -> Retrieved:
        """`search`, without blocking the event loop; cancelling closes requests to models."""
        wanted = self.top_k if top_k is None else max(0, top_k)
        query = Query(checked(text), filters)
        if wanted == 0:
            return Retrieved((), {})
        expanded = await self.expansion.arun(query.text) if self.expansion else None
        found = await asyncio.to_thread(self._searched, query, wanted, expanded)
        for postprocessor in self.rerank:
            found.add(await arerank(postprocessor, found.scored, query.text))
        return found.finished(wanted, expanded)

    def _searched(self, query: Query, wanted: int, expanded: "Expanded | None") -> "_Found":
        started = time.perf_counter()
        lists = self._run(query, wanted, expanded.variants if expanded else ())
        searched = time.perf_counter()
        hits = self._hits(self.fusion.fuse(lists), wanted)
        return _Found(hits, {
            "legs": {r.leg: len(r.found) for r in lists}, "search_s": searched - started,
            "fuse_s": time.perf_counter() - searched,
        })  # fmt: skip

    def _run(self, query: Query, wanted: int, variants: "Sequence[Variant]" = ()) -> list[Ranked]:
        legs = self._deep(wanted)
        jobs = [(leg, query, leg.name, leg.weight) for leg in legs]
        for number, variant in enumerate(variants, 1):
            other = Query(checked(variant.text), query.filters)
            jobs += [
                (leg, other, f"{leg.name} ({variant.step} {number})", leg.weight * variant.weight)
                for leg in legs if variant.by == "all" or isinstance(leg, VectorLeg)
            ]  # fmt: skip
        run = map if self._pool is None else self._pool.map
        found = list(run(lambda job: job[0].scored(job[1]), jobs))
        return [Ranked(name, weight, scored) for (_, _, name, weight), scored in zip(jobs, found, strict=True)]

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

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self.search(query_bundle.query_str).hits
        return [NodeWithScore(node=hit.node, score=hit.score) for hit in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = (await self.asearch(query_bundle.query_str)).hits
        return [NodeWithScore(node=hit.node, score=hit.score) for hit in hits]


class _Found:
    """Fused hits on their way through the rerankers."""

    def __init__(self, hits: Sequence[Hit], trace: Mapping[str, Any]) -> None:
        self._hits, self._trace = hits, dict(trace)
        self._reranked: list[NodeWithScore] | None = None
        self._stages: list[Mapping[str, Any]] = []
        self._notes: list[str] = []
        self._started = time.perf_counter()

    @property
    def scored(self) -> list[NodeWithScore]:
        """The hits as LlamaIndex has them."""
        if self._reranked is None:
            return [NodeWithScore(node=hit.node, score=hit.score) for hit in self._hits]
        return self._reranked

    def add(self, done: Reranked) -> None:
        """Take over what a reranker made of the hits."""
        self._reranked = done.nodes
        self._notes += done.notes
        self._stages += [done.trace] if done.trace else []

    def finished(self, wanted: int, expanded: "Expanded | None") -> Retrieved:
        """The best hits, with the times and notes of all stages."""
        trace = {**(expanded.trace if expanded else {}), **self._trace, "rerank_s": time.perf_counter() - self._started}
        if self._stages:
            trace["rerank"] = list(self._stages)
        notes = (*(expanded.notes if expanded else ()), *self._notes)
        return Retrieved(tuple(self._placed(wanted)), trace, notes)

    def _placed(self, wanted: int) -> Sequence[Hit]:
        if self._reranked is None:
            return self._hits[:wanted]
        known = {hit.node.node_id: hit for hit in self._hits}
        # A postprocessor may bring nodes of its own, such as neighbours, which no leg has found.
        found = [(s, known.get(s.node.node_id) or Hit(0, 0.0, s.node)) for s in self._reranked[:wanted]]
        return [
            Hit(rank, float(s.score or 0.0), s.node, hit.legs, hit.duplicates) for rank, (s, hit) in enumerate(found, 1)
        ]


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
    """LlamaIndex filters from `{key: value}`; a list means any of its values, `at` a time in recordings (`at_filter`).

    Raises:
        QueryError: a kind that no node can have, no time, or something that is neither a value nor a list of values.
    """
    if not filters:
        return None
    if not isinstance(filters, Mapping):
        raise QueryError(f"Filters are a mapping, not {filters!r}.", 'Write them like {"kind": "table"}.')
    return MetadataFilters(filters=[_equal(key, value) for key, value in filters.items()])


def _equal(key: str, value: Any) -> MetadataFilter | MetadataFilters:
    several = isinstance(value, list | tuple | set | frozenset)
    values = list(value) if several else [value]
    if key == "at":
        return at_filters(values)
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
