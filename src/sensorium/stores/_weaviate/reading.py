"""Nodes, vectors, counts and statistics of terms, as readers see them."""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import MetadataFilters
from weaviate.classes.query import Filter

from sensorium.stores._weaviate.encoding import kept_properties, named_vectors, restored, vectors_of
from sensorium.stores._weaviate.engine import MOST, Engine, Found
from sensorium.stores._weaviate.fields import space_token
from sensorium.stores._weaviate.manifest import Manifest, of_generations, of_source
from sensorium.stores._weaviate.names import (
    BARRIER,
    IDENTITY,
    KEY,
    PAYLOAD,
    TERMS,
    digest,
    doc_key,
    field_property,
)
from sensorium.stores._weaviate.parts import Parts
from sensorium.stores._weaviate.where import Condition, all_of, any_of, bounds, tagged
from sensorium.stores._weaviate.writing import pages
from sensorium.stores.base import Vector
from sensorium.stores.checking import order_of, space_of
from sensorium.stores.filters import check, matches
from sensorium.stores.terms import indexed

_CACHED = 20_000
_PAGE = 1000


class Reader:
    """Reads what is visible.

    Args:
        parts: Of the store.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = Lock()
        self._counts: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._key: object = None

    def fetch(self, node_ids: Sequence[str]) -> list[BaseNode]:
        """See `Store.fetch`."""
        wanted = list(node_ids)
        found: dict[str, BaseNode] = {}
        for ids in pages(list(dict.fromkeys(wanted))):
            hits = self._visible(Filter.by_property(KEY).contains_any([digest(i) for i in ids]), PAYLOAD)
            found |= {f.node_id: restored(f) for f in hits}
        return [found[node_id] for node_id in wanted if node_id in found]

    def vectors(self, node_ids: Sequence[str], name: str) -> dict[str, Vector]:
        """See `Store.vectors`."""
        space = space_of(name, self._parts.spaces)
        found: dict[str, Vector] = {}
        for ids in pages(list(dict.fromkeys(node_ids))):
            condition = Filter.by_property(KEY).contains_any([digest(i) for i in ids])
            for hit in self._visible(condition, kept_properties([space]), named_vectors([space])):
                if vector := vectors_of(hit, [space]):
                    found[hit.node_id] = vector[name]
        return {node_id: found[node_id] for node_id in node_ids if node_id in found}

    def siblings(self, doc_id: str, first: int, last: int) -> list[BaseNode]:
        """See `Store.siblings`."""
        order = Filter.by_property(field_property("order"))
        within = all_of([of_source(doc_id), order.greater_or_equal(float(first)), order.less_or_equal(float(last))])
        nodes = [restored(f) for f in self._visible(within, PAYLOAD)]
        placed = [(position, n) for n in nodes if (position := order_of(n)) is not None]
        return [n for _, n in sorted(placed, key=lambda p: (p[0], p[1].node_id))]

    def nodes(self, node_ids: Sequence[str] | None, filters: MetadataFilters | None) -> list[BaseNode]:
        """See `Store.get_nodes`."""
        found = self.matching(node_ids, filters, PAYLOAD)
        return sorted((restored(f) for f in found), key=lambda n: n.node_id)

    def matching(
        self, node_ids: Sequence[str] | None, filters: MetadataFilters | None, properties: Sequence[str]
    ) -> list[Found]:
        """Objects of the nodes that have one of the ids and that the filters take."""
        check(filters)
        limits = bounds(filters, self._parts.fields)
        if limits.upper is False:
            return []
        wanted = properties if limits.exact else [*dict.fromkeys((*properties, *PAYLOAD))]
        if node_ids is None:
            found = self._visible(limits.upper, wanted, decides=lambda f: takes(filters, f))
        else:
            found = [
                f
                for ids in pages(list(dict.fromkeys(node_ids)))
                for f in self._visible(
                    all_of([limits.upper, Filter.by_property(KEY).contains_any([digest(i) for i in ids])]), wanted
                )
            ]
        return found if limits.exact else [f for f in found if takes(filters, f)]

    def _visible(
        self,
        condition: Condition,
        properties: Sequence[str],
        vectors: Sequence[str] = (),
        decides: Callable[[Found], bool] | None = None,
    ) -> list[Found]:
        """Visible objects that a condition holds for, one a node.

        Where they are more than the server gives at once, all objects are gone through, and `decides` takes the place
        of the condition.
        """
        asked = [*IDENTITY, *properties]

        def search(manifest: Manifest) -> list[Found]:
            if condition is True:
                return self._scanned(manifest, asked, vectors)
            found = self._parts.engine.find(manifest.visible(condition, barrier=True), asked, vectors)
            if len(found) < MOST or decides is None:
                return found
            everything = self._scanned(manifest, [*dict.fromkeys((*asked, *PAYLOAD))], vectors)
            return [f for f in everything if decides(f)]

        return unique(self._parts.generations.valid(search))

    def _scanned(self, manifest: Manifest, properties: Sequence[str], vectors: Sequence[str]) -> list[Found]:
        hidden = manifest.dead | {BARRIER}
        return [f for f in self._parts.engine.scan(properties, vectors) if f.generation not in hidden]

    def iterate(self, batch: int, doc_id: str | None) -> Iterator[tuple[BaseNode, dict[str, Vector]]]:
        """See `Store.iter_nodes`. Holds the ids of all nodes in memory, to put them in order."""
        spaces = list(self._parts.spaces.values())
        if doc_id is None:
            visible = self._visible(True, [])
        else:
            key = doc_key(doc_id)
            visible = self._visible(of_source(doc_id), [], decides=lambda f: f.doc == key)
        places = sorted((f.node_id, f.uuid) for f in visible)
        for part in pages(places, batch):
            ids = Filter.by_id().contains_any([one for _, one in part])
            asked = [*IDENTITY, *PAYLOAD, *kept_properties(spaces)]
            found = {f.uuid: f for f in self._parts.engine.find(ids, asked, named_vectors(spaces))}
            for _, one in part:
                if one in found:
                    yield restored(found[one]), vectors_of(found[one], spaces)

    # Counts -----------------------------------------------------------------------------------------------

    def count(self, condition: Condition = True) -> int:
        """Visible nodes that a condition holds for."""
        return int(self._parts.generations.steady(lambda m: count_visible(self._parts.engine, m, condition)))

    def count_with_vectors(self, space: str) -> int:
        """Visible nodes that have a vector in a space."""
        return self.count(tagged([space_token(space)]))

    def frequencies(self, terms: Iterable[str], doc_id: str | None = None) -> dict[str, int]:
        """In how many visible nodes, of one source or of all, each analysed term occurs."""
        wanted = list(dict.fromkeys(terms))
        if not wanted:
            return {}
        source = "" if doc_id is None else doc_key(doc_id)
        result: dict[str, int] = self._parts.generations.steady(lambda m: self._frequencies(m, wanted, source, doc_id))
        return result

    def _frequencies(self, manifest: Manifest, terms: Sequence[str], source: str, doc_id: str | None) -> dict[str, int]:
        """Counted by the server, one question a term, and kept until the data change."""
        with self._lock:
            if manifest.key != self._key:
                self._counts.clear()
                self._key = manifest.key
            found = {t: self._counts[source, t] for t in terms if (source, t) in self._counts}
        among = of_source(doc_id) if doc_id is not None else True
        for term in terms:
            if term not in found:
                held = all_of([among, _holds(term)])
                found[term] = count_visible(self._parts.engine, manifest, held) if held is not False else 0
        with self._lock:
            if manifest.key == self._key:
                self._counts.update({(source, t): found[t] for t in terms})
                while len(self._counts) > _CACHED:
                    self._counts.popitem(last=False)
        return {t: found[t] for t in terms}


def count_visible(engine: Engine, manifest: Manifest, condition: Condition = True) -> int:
    """Visible nodes that a condition holds for.

    Counted by what is to be left out: negated filters also count what was deleted while it was written.
    """
    total = engine.count(condition)
    if condition is not True and not manifest.dead:
        return total
    return total - engine.count(all_of([condition, of_generations(manifest.hidden)])) if total else 0


def takes(filters: MetadataFilters | None, found: Found) -> bool:
    """Whether filters take a node, by its metadata."""
    return filters is None or matches(filters, json.loads(found.metadata))


def unique(found: Sequence[Found]) -> list[Found]:
    """One object a node: while a node moves from one generation to another, both may be there for a moment."""
    return list({f.node_id: f for f in reversed(found)}.values())[::-1]


def restriction(node_ids: Sequence[str] | None, doc_ids: Sequence[str] | None) -> list[Condition]:
    """Conditions on ids; an empty list lets nothing pass."""
    conditions: list[Condition] = []
    if node_ids is not None:
        keys = [digest(i) for i in node_ids]
        conditions.append(Filter.by_property(KEY).contains_any(keys) if keys else False)
    if doc_ids is not None:
        conditions.append(any_of([of_source(d) for d in doc_ids]))
    return conditions


def _holds(term: str) -> Condition:
    """Nodes with a term in any of the searched texts."""
    word = indexed(term)
    if not word or any(c.isspace() for c in term):
        return False
    return Filter.by_property(TERMS).equal(word)
