"""Which documents are worth comparing with a recording: those whose words its screens show, by keyword search."""

from collections.abc import Iterable, Iterator, Sequence

from llama_index.core.schema import BaseNode, TextNode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from sensorium.pipelines._links.decks import wordless
from sensorium.pipelines._links.screens import Screen
from sensorium.pipelines._links.words import Runs, runs
from sensorium.stores.base import SourceRecord, Store

_HITS = 8
# Share of the words that a screen and a node have in common, or a screen and all that was found of a document, which
# then has to be more than chance.
_SHARED, _SHARED_IN_ALL, _BY_CHANCE = 0.3, 0.2, 20
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
        found.update(_sharing(runs(text), store.fetch([hit.node_id for hit in store.search(query)])))
    found.update(record.doc_id for record in wordless(decks)[:_WORDLESS])
    return [wanted[doc] for doc in sorted(found & wanted.keys())]


def _sharing(screen: Runs, nodes: Iterable[BaseNode]) -> Iterator[str]:
    """Documents that share words with a screen, in one node or in several: a page may be split into rows of a table."""
    said: dict[str, Runs] = {}
    for node in nodes:
        words = runs(node.text) if isinstance(node, TextNode) else Runs()
        if node.ref_doc_id:
            whole = said[node.ref_doc_id] = said.get(node.ref_doc_id, Runs()) | words
            by_all = len(whole & screen) > _BY_CHANCE and _share(whole, screen) >= _SHARED_IN_ALL
            if by_all or _share(words, screen) >= _SHARED:
                yield node.ref_doc_id


def _share(words: Runs, screen: Runs) -> float:
    return len(words & screen) / max(1, min(len(words), len(screen)))
