"""Rows of sources."""

import json
from collections.abc import Iterator

from weaviate.classes.query import Filter

from sensorium.stores._weaviate.manifest import parse_record
from sensorium.stores._weaviate.names import ORDERED, ROW, ROW_DOC, STATUS
from sensorium.stores._weaviate.parts import Parts
from sensorium.stores._weaviate.writing import pages
from sensorium.stores.base import SourceRecord

_PAGE = 500


def source(parts: Parts, doc_id: str) -> SourceRecord | None:
    """See `Store.source`."""
    head = parts.generations.head(doc_id)
    return parse_record(head.record) if head is not None and head.record else None


def sources(parts: Parts) -> Iterator[SourceRecord]:
    """See `Store.sources`."""
    manifest = parts.generations.read()
    keys = {key: _sort_key(text) for key, text in _ordered(parts)}
    for key, update in manifest.published.items():
        values = json.loads(update.record) if update.record else None
        keys.pop(key, None)
        if values is not None:
            keys[key] = (values["root"].encode(*_RAW), values["source"].encode(*_RAW))
    for part in pages(sorted(keys, key=lambda k: keys[k]), _PAGE):
        heads = parts.generations.heads(part)
        for key in part:
            if key in heads and heads[key].record:
                yield parse_record(heads[key].record)


def remove(parts: Parts, doc_id: str) -> None:
    """See `Store.remove_source`: an update without nodes and without a record."""
    generations = parts.generations
    manifest = generations.read()
    head = generations.head(doc_id, manifest)
    if (head is None or not head.record) and not parts.stored_counts(generations.live(doc_id, manifest)):
        return
    generations.publish(generations.begin(doc_id), None)
    parts.sweep()


def by_status(parts: Parts) -> dict[str, int]:
    """Sources by status."""
    return dict(sorted(parts.engine.count_rows_by(STATUS, Filter.by_property(ROW).equal("source")).items()))


_RAW = ("utf-8", "surrogatepass")


def _ordered(parts: Parts) -> Iterator[tuple[str, str]]:
    """Sources that have a record, as indexed, with their sort keys."""
    for row in parts.engine.scan_rows([ROW, ROW_DOC, ORDERED]):
        if row.properties[ROW] == "source" and row.properties[ORDERED]:
            yield str(row.properties[ROW_DOC]), str(row.properties[ORDERED])


def _sort_key(text: str) -> tuple[bytes, bytes]:
    root, name = json.loads(text)
    return root.encode(*_RAW), name.encode(*_RAW)
