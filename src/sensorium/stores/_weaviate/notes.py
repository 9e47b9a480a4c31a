"""Small JSON values of pipelines, as rows of the ledger."""

import json
from typing import Any

from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter

from sensorium.stores._weaviate.names import ROW, ROW_DOC, VALUE, digest, row_uuid
from sensorium.stores._weaviate.parts import Parts
from sensorium.stores._weaviate.where import all_of


def read(parts: Parts, group: str) -> dict[str, Any]:
    """See `Store.notes`."""
    of_group = [Filter.by_property(ROW).equal("note"), Filter.by_property(ROW_DOC).equal(digest(group))]
    rows = parts.engine.rows(all_of(of_group), [VALUE])
    found = [json.loads(str(row.properties[VALUE])) for row in rows]
    return dict(sorted(found, key=lambda pair: str(pair[0])))


def write(parts: Parts, group: str, name: str, value: Any) -> None:
    """See `Store.keep_note`."""
    uuid = row_uuid("note", json.dumps([group, name]))
    if value is None:
        parts.engine.delete_rows([uuid])
        return
    properties = {ROW: "note", ROW_DOC: digest(group), VALUE: json.dumps([name, value])}
    parts.engine.write_rows([DataObject(uuid=uuid, properties=properties)])
