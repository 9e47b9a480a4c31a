"""Adding and deleting single nodes, outside of staged updates."""

import uuid
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence

from weaviate.classes.query import Filter

from sensorium.stores._weaviate.encoding import Prepared
from sensorium.stores._weaviate.engine import Found
from sensorium.stores._weaviate.manifest import of_generations, parse_record
from sensorium.stores._weaviate.names import IDENTITY, KEY, KIND, digest, doc_key
from sensorium.stores._weaviate.parts import Parts
from sensorium.stores._weaviate.watch import Watch
from sensorium.stores._weaviate.writing import pages


def add_nodes(parts: Parts, nodes: Sequence[Prepared], watch: Watch) -> dict[str, str]:
    """Insert or replace nodes in the live generations of their sources.

    Each is verified as in a staged update. Where a node lies in another generation (its source changed), the old
    object goes after the new one is there.

    Returns:
        Id and reason of nodes that the server refused.
    """
    if not nodes:
        return {}
    manifest = parts.cleared()
    live = parts.generations.live_of({node.doc for node in nodes}, manifest)
    replaced = _stored(parts, [node.id for node in nodes])
    by_generation: defaultdict[str, list[Prepared]] = defaultdict(list)
    for node in nodes:
        by_generation[live[node.doc]].append(node)
    parts.mark_incomplete()
    with watch.announced({generation: doc_key(doc) for doc, generation in live.items()}) as watched:
        announced = parts.generations.announce(_objects(nodes, live, {}), watched)
    failed: dict[str, str] = {}
    try:
        for generation, members in by_generation.items():
            failed |= parts.writer.insert(members, generation)
        there = parts.make_sure(_objects(nodes, live, failed), manifest.cuts)
        kept = {one for ids in there.values() for one in ids}
        new = {node.id: node.uuid(live[node.doc]) for node in nodes if node.id not in failed}
        _delete(parts, [f.uuid for f in replaced if new.get(f.node_id, f.uuid) != f.uuid and f.uuid not in kept])
        parts.generations.changed()
        parts.generations.settle(announced)
    except BaseException:
        parts.generations.leave(announced)
        raise
    _recount(parts, {node.doc for node in nodes}, {f.doc for f in replaced})
    watch.published()
    return failed


def _objects(nodes: Sequence[Prepared], live: Mapping[str, str], failed: Container[str]) -> dict[str, list[uuid.UUID]]:
    """For each space the objects that have a vector in it."""
    objects: defaultdict[str, list[uuid.UUID]] = defaultdict(list)
    for node in nodes:
        for space in node.spaces if node.id not in failed else ():
            objects[space].append(node.uuid(live[node.doc]))
    return objects


def delete_found(parts: Parts, found: Sequence[Found]) -> None:
    """Delete nodes, and count what is left of their sources."""
    if not found:
        return
    _delete(parts, [f.uuid for f in found])
    parts.generations.changed()
    _recount(parts, (), {f.doc for f in found})


def _stored(parts: Parts, node_ids: Sequence[str]) -> list[Found]:
    """Visible objects of nodes."""
    found: list[Found] = []
    for ids in pages(node_ids):
        condition = Filter.by_property(KEY).contains_any([digest(i) for i in ids])
        found += parts.generations.valid(
            lambda manifest, condition=condition: parts.engine.find(manifest.visible(condition), IDENTITY)  # type: ignore[misc]
        )
    return found


def _delete(parts: Parts, uuids: Sequence[uuid.UUID]) -> None:
    for ids in pages(uuids):
        parts.engine.delete_where(Filter.by_id().contains_any(list(ids)))


def _recount(parts: Parts, docs: Iterable[str], keys: Iterable[str]) -> None:
    """Set the counts of the sources' records, where they have one, to what is stored."""
    wanted = {doc_key(doc) for doc in docs} | set(keys)
    for head in parts.generations.heads(wanted).values():
        if head.record:
            record = parse_record(head.record)
            counts = parts.engine.count_by(KIND, of_generations([head.live]))
            parts.generations.put(record.changed(counts=dict(sorted(counts.items()))))
