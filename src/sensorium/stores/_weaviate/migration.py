"""Filling the typed properties of fields that were declared after nodes had been stored."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sensorium.stores._weaviate.engine import Found
from sensorium.stores._weaviate.fields import Fields, indexed
from sensorium.stores._weaviate.manifest import version_row
from sensorium.stores._weaviate.names import BARRIER, IDENTITY, METADATA, TAGS
from sensorium.stores._weaviate.parts import Parts
from sensorium.stores._weaviate.writing import pages


def fill_fields(parts: Parts) -> int:
    """Write the nodes again that have a declared key whose property they lack.

    They are written as a repair writes them: copies under new ids, found through every index before the old objects
    go, so that it may be cut off and run again. Vectors are taken along.

    Returns:
        How many nodes were written.
    """
    fields = {**parts.plan.fields, **parts.settings.fields}
    new = {key: kind for key, kind in parts.plan.fields.items() if key not in parts.settings.fields}
    if not new:
        return 0

    def filled(found: Found) -> Mapping[str, Any]:
        tokens, typed = indexed(json.loads(found.metadata), fields)
        spaces = [token for token in found.properties[TAGS] or [] if token.startswith("@")]
        return {**typed, TAGS: [*tokens, *spaces]}

    lacking = [f.uuid for f in _having(parts, new)]
    for ids in pages(lacking, parts.batch):
        parts.writer.mend(ids, filled)
    parts.set_fields(new)
    parts.engine.write_rows([version_row()])
    return len(lacking)


def _having(parts: Parts, new: Fields) -> Iterator[Found]:
    """Visible objects whose metadata have one of the keys; what is staged now is filled by its writer."""
    hidden = parts.generations.read().dead | {BARRIER}
    for found in parts.engine.scan([*IDENTITY, METADATA]):
        if found.generation not in hidden and new.keys() & json.loads(found.metadata).keys():
            yield found
