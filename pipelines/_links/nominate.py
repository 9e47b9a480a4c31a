"""Which documents are worth comparing with a recording: those whose words its screens show, by keyword search."""

from collections.abc import Sequence

from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from sensorium.pipelines._links.decks import wordless
from sensorium.pipelines._links.screens import Screen
from sensorium.pipelines._links.words import runs
from sensorium.stores.base import SourceRecord, Store

_HITS = 8
_SHARED = 0.3
_WORDLESS = 5
# A filter that names more sources than this is slower than to look at what comes.
_NAMED = 200


def nominated(store: Store, screens: Sequence[Screen], decks: Sequence[SourceRecord]) -> list[SourceRecord]:
    """Documents of which a screen shows words, and a few that have no words at all.

    Args:
        store: Is searched by keyword, once for each different text on the screens.
        screens: Of a recording.
        decks: What may be nominated.
    """
    found: set[str] = set()
    wanted = {deck.doc_id: deck for deck in decks}
    types = sorted({deck.media_type for deck in decks})
    filters = MetadataFilters(filters=[MetadataFilter(key="media_type", value=types, operator=FilterOperator.IN)])
    for text in {screen.text for screen in screens if screen.text.strip()}:
        query = VectorStoreQuery(
            query_str=text, similarity_top_k=_HITS, mode=VectorStoreQueryMode.TEXT_SEARCH, filters=filters,
            doc_ids=list(wanted) if len(wanted) <= _NAMED else None,
        )  # fmt: skip
        screen = runs(text)
        for node in store.fetch([hit.node_id for hit in store.search(query)]):
            words = runs(node.text) if isinstance(node, TextNode) else frozenset()
            least = min(len(words), len(screen))
            if least and len(words & screen) >= _SHARED * least and node.ref_doc_id:
                found.add(node.ref_doc_id)
    found.update(record.doc_id for record in wordless(decks)[:_WORDLESS])
    return [wanted[doc] for doc in sorted(found & wanted.keys())]
