"""What `sensorium status` says of an index on Weaviate."""

from collections.abc import Mapping
from typing import Any

from sensorium.stores._weaviate import ledger
from sensorium.stores._weaviate.connection import version_numbers
from sensorium.stores._weaviate.names import FORMAT
from sensorium.stores._weaviate.parts import Parts
from sensorium.stores._weaviate.reading import Reader


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
            "Fill them: sensorium status --repair"
        )
    warnings += _too_old(parts)
    unused = sorted(parts.settings.complete - set(parts.spaces))
    if unused:
        warnings.append(f"The index has spaces that are not configured: {', '.join(unused)}.")
    return warnings


_NEEDS: tuple[tuple[Mapping[str, str], tuple[int, int]], ...] = (({"index": "flat", "quantisation": "rq"}, (1, 34)),)
"""Options of a space that came after the oldest server that is taken at all, and the version that has them."""


def _too_old(parts: Parts) -> list[str]:
    """What the configured spaces want, and the server is too old for."""
    found = []
    for space in parts.spaces.values():
        for options, since in _NEEDS:
            if options.items() <= dict(space.options).items() and version_numbers(parts.connection.version) < since:
                wanted = ", ".join(f"{name}: {value}" for name, value in options.items())
                needed = ".".join(map(str, since))
                found.append(
                    f"The space {space.name!r} ({wanted}) needs Weaviate {needed} or newer; update the server."
                )
    return found
