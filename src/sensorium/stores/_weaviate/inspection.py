"""Looking after an index: its status, what is stored but not found, and mending it."""

import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from sensorium.stores._weaviate import ledger
from sensorium.stores._weaviate.fields import space_token
from sensorium.stores._weaviate.manifest import version_row
from sensorium.stores._weaviate.names import BARRIER, FORMAT, IDENTITY, TAGS, first_generation
from sensorium.stores._weaviate.parts import Parts
from sensorium.stores._weaviate.reading import Reader
from sensorium.stores._weaviate.writing import pages


@dataclass
class Inspection:
    """What `verify` found.

    Attributes:
        nodes: Visible nodes that were looked at.
        lost: For each space the ids of nodes that are stored, but that its index does not return.
        orphans: Objects that belong to no source's live version, nor to an update under way.
    """

    nodes: int = 0
    lost: dict[str, list[str]] = field(default_factory=dict)
    orphans: int = 0
    lost_objects: set[uuid.UUID] = field(default_factory=set, repr=False)
    orphan_objects: list[uuid.UUID] = field(default_factory=list, repr=False)

    @property
    def sound(self) -> bool:
        """Whether there is nothing to mend."""
        return not self.lost and not self.orphans

    def public(self) -> dict[str, Any]:
        """For people and JSON."""
        return {"sound": self.sound, "nodes": self.nodes, "lost": self.lost, "orphans": self.orphans}


def inspect(parts: Parts) -> Inspection:
    """Go through every object and look for it in every vector index that it belongs to."""
    manifest = parts.generations.read()
    tokens = {space_token(s.name): s.name for s in parts.spaces.values() if s.searchable}
    live: dict[str, str] = {}
    ids: dict[uuid.UUID, str] = {}
    expected: defaultdict[str, list[uuid.UUID]] = defaultdict(list)
    result = Inspection()
    for part in pages(list(parts.engine.scan([*IDENTITY, TAGS]))):
        unknown = {f.doc for f in part if f.doc not in live}
        live |= {doc: first_generation(doc) for doc in unknown} | parts.generations.live_by_key(unknown, manifest)
        for f in part:
            if f.generation == BARRIER or f.generation in manifest.dead:
                continue
            if live[f.doc] != f.generation:
                result.orphan_objects.append(f.uuid)
                continue
            ids[f.uuid] = f.node_id
            for token in set(f.properties[TAGS] or []) & tokens.keys():
                expected[tokens[token]].append(f.uuid)
    for space, objects in expected.items():
        if lost := parts.writer.lost({space: objects}):
            result.lost[space] = sorted(ids[one] for one in lost)
            result.lost_objects |= lost
    result.nodes, result.orphans = len(ids), len(result.orphan_objects)
    return result


def mend(parts: Parts, found: Inspection) -> None:
    """Write lost nodes again, and delete what belongs to nobody."""
    parts.generations.sweep()
    if found.lost_objects:
        parts.writer.mend(found.lost_objects)
    parts.engine.delete_each(found.orphan_objects)
    if not found.sound:
        parts.engine.write_rows([version_row()])


def status(parts: Parts, reader: Reader) -> dict[str, Any]:
    """See `Store.status`."""
    connection, plan = parts.connection, parts.plan
    with connection.translated():
        config = parts.engine.data.config.get()
        tenants = sorted(parts.engine.data.tenants.get()) if config.multi_tenancy_config.enabled else []
    return {
        "engine": "weaviate",
        "url": connection.address.url,
        "grpc": connection.address.grpc,
        "version": connection.version,
        "format": FORMAT,
        "collection": plan.collection,
        "tenant": plan.tenant,
        "tenants": tenants,
        "replication_factor": config.replication_config.factor,
        "shards": config.sharding_config.actual_count if config.sharding_config else len(tenants),
        "nodes": reader.count(),
        "sources": ledger.by_status(parts),
        "vectors": {name: reader.count_with_vectors(name) for name in parts.spaces},
        "spaces": {name: _index(space.options, space.searchable) for name, space in parts.spaces.items()},
        "filter_fields": dict(parts.fields),
        "updates": len(parts.generations.read().updates),
        "warnings": _warnings(parts),
    }


def _index(options: Any, searchable: bool) -> dict[str, Any]:
    return {"index": "hnsw", "quantisation": "none", **options} if searchable else {"index": "none"}


def _warnings(parts: Parts) -> list[str]:
    slow = sorted(set(parts.plan.fields) - set(parts.fields))
    warnings = []
    if slow:
        warnings.append(
            f"filter_fields {', '.join(slow)} were declared after nodes were stored, so filters on them are slow. "
            "Index again into another collection."
        )
    unused = sorted(parts.settings.complete - set(parts.spaces))
    if unused:
        warnings.append(f"The index has spaces that are not configured: {', '.join(unused)}.")
    return warnings
