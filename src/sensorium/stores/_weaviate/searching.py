"""Search: dense, by keywords, both, and for diversity."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Literal

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from sensorium import analysis
from sensorium.errors import QueryError
from sensorium.stores._weaviate.engine import MOST, Found
from sensorium.stores._weaviate.manifest import Manifest
from sensorium.stores._weaviate.names import IDENTITY, METADATA, PAYLOAD
from sensorium.stores._weaviate.parts import Parts
from sensorium.stores._weaviate.reading import Reader, restriction, takes, unique
from sensorium.stores._weaviate.where import Condition, all_of, bounds
from sensorium.stores.base import Scored, Vector
from sensorium.stores.checking import query_matrix, space_of
from sensorium.stores.filters import check
from sensorium.stores.ranking import DIVERSIFIED, FUSED, POOL, diversified, ranked, weighted
from sensorium.stores.terms import indexed

Fusion = Literal["ours", "server"]
RESCORED = 200
"""Nodes that a multi-vector search asks for at least: MUVERA finds candidates, which are then compared exactly."""
MOST_TERMS = 256
TIED, MOST_TIED = 64, 512
"""Hits that are looked at when some tie at the end: at first, and at most, unless more are wanted anyway."""
_BESIDE = 16  # searches that run at once beside those of their callers
_Run = Callable[[Condition, int, Sequence[str]], list[Found]]


@dataclass(frozen=True)
class Leg:
    """One search of a query.

    Attributes:
        run: Asks the server: condition, hits, properties to bring along.
        top_k: Hits wanted.
        at_least: Hits to ask for at least.
        condition: What may match, for the server.
        takes: Decides where the condition takes too much; None where it is exact.
        vague: Keys of filters that only the metadata decide.
        settles: Whether it matters which of several hits that tie at the end are taken.
    """

    run: _Run
    top_k: int
    at_least: int
    condition: Condition
    takes: Callable[[Found], bool] | None
    vague: tuple[str, ...] = ()
    settles: bool = True


_NO_LEG = Leg(lambda condition, limit, names: [], 0, 0, False, None)


class Searcher:
    """Runs queries.

    Args:
        parts: Of the store.
        reader: Of the store.
        fusion: Who fuses the lists of a hybrid query.
    """

    def __init__(self, parts: Parts, reader: Reader, fusion: Fusion) -> None:
        self._parts = parts
        self._reader = reader
        self._fusion = fusion
        self._beside = ThreadPoolExecutor(_BESIDE, "sensorium-search")

    def close(self) -> None:
        """Let the threads end."""
        self._beside.shutdown(wait=False)

    def search(self, query: VectorStoreQuery, matrix: Vector | None, bodies: bool) -> tuple[list[Scored], list[Found]]:
        """Scores, and the objects behind them.

        Args:
            query: As for `Store.search`.
            matrix: As for `Store.search`.
            bodies: Whether the objects bring their nodes along.
        """
        mode, top_k = query.mode, query.similarity_top_k
        extra = PAYLOAD if bodies else []
        if mode in (VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE):
            (found,) = self._best([self._text(query, top_k)], extra)
        elif mode == VectorStoreQueryMode.DEFAULT:
            (found,) = self._best([self._dense(query, matrix, top_k)], extra)
        elif mode == VectorStoreQueryMode.HYBRID:
            return self._hybrid(query, matrix, extra)
        elif mode == VectorStoreQueryMode.MMR:
            return self._mmr(query, top_k, extra)
        else:
            raise QueryError(
                f"The store has no mode {mode.value!r}.", "Modes: default, text_search, sparse, hybrid, mmr."
            )
        return _ranked(found, top_k), found

    def _dense(self, query: VectorStoreQuery, matrix: Vector | None, top_k: int) -> Leg:
        space = space_of(query.embedding_field, self._parts.spaces)
        vectors = query_matrix(space, query.query_embedding, matrix)
        engine = self._parts.engine
        run: _Run = lambda where, limit, names: engine.near(space, vectors, limit, where, names)  # noqa: E731
        return self._leg(query, run, top_k, RESCORED if space.multi else 0)

    def _text(self, query: VectorStoreQuery, top_k: int) -> Leg:
        terms = query_terms(query.query_str)
        engine = self._parts.engine
        run: _Run = lambda where, limit, names: engine.bm25(terms, limit, where, names)  # noqa: E731
        return self._leg(query, run, top_k if terms else 0)

    def _hybrid(
        self, query: VectorStoreQuery, matrix: Vector | None, extra: Sequence[str]
    ) -> tuple[list[Scored], list[Found]]:
        alpha = 0.5 if query.alpha is None else query.alpha
        if not 0.0 <= alpha <= 1.0:
            raise QueryError(f"alpha must lie in 0..1, got {alpha}.")
        top_k = query.similarity_top_k if query.hybrid_top_k is None else query.hybrid_top_k
        if self._fusion == "server" and 0.0 < alpha < 1.0:
            (found,) = self._best([self._fused(query, matrix, alpha, top_k)], extra)
            return _ranked(found, top_k), found
        dense, text = max(FUSED, 2 * top_k, query.similarity_top_k), max(FUSED, 2 * top_k, query.sparse_top_k or 0)
        legs = [
            self._dense(query, matrix, dense) if alpha > 0 else _NO_LEG,
            self._text(query, text) if alpha < 1 else _NO_LEG,
        ]
        near, words = self._best([replace(leg, settles=False) for leg in legs], extra)
        fused = weighted(_ranked(near, dense), _ranked(words, text), alpha, top_k)
        if any(_matters(found, leg.top_k, fused, top_k) for leg, found in zip(legs, (near, words), strict=True)):
            near, words = self._best(legs, extra)
            fused = weighted(_ranked(near, dense), _ranked(words, text), alpha, top_k)
        return fused, [*near, *words]

    def _fused(self, query: VectorStoreQuery, matrix: Vector | None, alpha: float, top_k: int) -> Leg:
        terms = query_terms(query.query_str)
        if not terms:
            return self._dense(query, matrix, top_k)
        space = space_of(query.embedding_field, self._parts.spaces)
        vectors = query_matrix(space, query.query_embedding, matrix)
        run = partial(self._parts.engine.hybrid, space, vectors, terms, alpha)
        return self._leg(query, lambda where, limit, names: run(limit, where, names), top_k)

    def _mmr(self, query: VectorStoreQuery, top_k: int, extra: Sequence[str]) -> tuple[list[Scored], list[Found]]:
        space = space_of(query.embedding_field, self._parts.spaces)
        if space.multi:
            raise QueryError(f"MMR needs one vector a node; the space {space.name!r} has several.")
        threshold = 0.5 if query.mmr_threshold is None else query.mmr_threshold
        if not 0.0 <= threshold <= 1.0:
            raise QueryError(f"mmr_threshold must lie in 0..1, got {threshold}.")
        wanted = min(max(POOL, 4 * top_k), DIVERSIFIED) if top_k > 0 else 0
        (found,) = self._best([self._dense(query, None, wanted)], extra)
        near = _ranked(found, wanted)
        vectors = self._reader.vectors([hit.node_id for hit in near], space.name)
        return diversified([hit for hit in near if hit.node_id in vectors], vectors, threshold, top_k), found

    # One leg ----------------------------------------------------------------------------------------------

    def _leg(self, query: VectorStoreQuery, run: _Run, top_k: int, at_least: int = 0) -> Leg:
        check(query.filters)
        limits = bounds(query.filters, self._parts.fields)
        # LlamaIndex's VectorStoreIndex sends an empty list of node ids when it means all nodes.
        condition = all_of([limits.upper, *restriction(query.node_ids or None, query.doc_ids)])
        decides = None if limits.exact else partial(takes, query.filters)
        return Leg(run, top_k, at_least, condition, decides, limits.vague)

    def _best(self, legs: Sequence[Leg], extra: Sequence[str]) -> list[list[Found]]:
        """The hits of each leg, all of one state of the index; the legs run side by side."""

        def run(manifest: Manifest) -> list[list[Found]]:
            self._parts.connection.check_open()
            beside = [self._beside.submit(_hits, leg, manifest, extra) for leg in legs[1:]]
            return [_hits(legs[0], manifest, extra), *(hits.result() for hits in beside)]

        return self._parts.generations.all_valid(run)


def _hits(leg: Leg, manifest: Manifest, extra: Sequence[str]) -> list[Found]:
    """The best hits of one leg, and all that tie at the end: who of them stays is decided by node id."""
    condition = manifest.visible(leg.condition)
    top_k = leg.top_k
    if top_k <= 0 or condition is False:
        return []
    names = [*IDENTITY, *extra, *([METADATA] if leg.takes is not None and not extra else [])]
    limit = min(max(top_k + 1, leg.at_least), MOST)
    for attempt in count():
        raw = leg.run(condition, limit, names)
        hits = unique(raw if leg.takes is None else list(filter(leg.takes, raw)))
        hits.sort(key=lambda f: -f.score)
        if len(raw) < limit or (len(hits) > top_k and not (leg.settles and _tied(hits, top_k))):
            return hits
        # Of very many that tie, as copies of one page do, those that the server gives first are taken.
        if len(hits) > top_k and limit >= MOST_TIED:
            return hits
        if limit >= MOST:
            break
        limit = min(max(2 * limit, TIED) if len(hits) > top_k and not attempt else 8 * limit, MOST)
    return _most(hits, leg)


def _tied(hits: Sequence[Found], top_k: int) -> bool:
    """Whether more hits than were asked for may tie with the last of the `top_k`."""
    return len(hits) > top_k and hits[-1].score == hits[top_k - 1].score


def _matters(hits: Sequence[Found], top_k: int, fused: Sequence[Scored], wanted: int) -> bool:
    """Whether it matters for fused hits which of those that tie at the end of one list are in it.

    The last of a list counts nothing there (`ranking.weighted`), unless all of the list tie.
    """
    if not _tied(hits, top_k):
        return False
    return hits[0].score == hits[-1].score or len(fused) < wanted or fused[-1].score <= 0


def query_terms(text: str | None) -> str:
    """The analysed terms of a question, without stop words where others remain."""
    if text is None:
        raise QueryError("A keyword search needs the query's text.")
    tokens = list(analysis.tokens(text))
    words = dict.fromkeys(t.term for t in tokens if not t.is_stop_word) or dict.fromkeys(t.term for t in tokens)
    terms = [indexed(term) for term in list(words)[:MOST_TERMS]]
    return " ".join(terms).encode("utf-8", "replace").decode()


def _most(hits: list[Found], leg: Leg) -> list[Found]:
    """What is left to do when the server gives no more."""
    if len(hits) >= leg.top_k:
        return hits
    if leg.takes is not None:
        declared = json.dumps(list(leg.vague))
        raise QueryError(
            f"More than {MOST} nodes have to be looked at to decide the filter on {', '.join(leg.vague) or 'text'}.",
            f"Declare it, and index again: store: {{weaviate: {{filter_fields: ...}}}} with the keys {declared}.",
        )
    raise QueryError(f"Weaviate gives at most {MOST} hits; {leg.top_k} were asked for.", "Ask for fewer.")


def _ranked(found: Sequence[Found], top_k: int) -> list[Scored]:
    return ranked({f.node_id: f.score for f in found}, top_k)
