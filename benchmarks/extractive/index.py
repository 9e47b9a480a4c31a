"""A small index in memory with the same statistics and search as a store, for quick experiments."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from llama_index.core.schema import TextNode
from numpy.typing import NDArray

from sensorium.analysis import terms, tokens
from sensorium.models.text import MiniLM
from sensorium.nodes import embedding_text
from sensorium.pipelines._extractive.terms import idf
from sensorium.pipelines.results import Hit
from sensorium.pipelines.units import UNITS_VERSION, unit_spans
from sensorium.stores.base import Space

K1, B, RRF, DEPTH = 1.2, 0.75, 60, 30


class MemoryIndex:
    """BM25 and vectors fused by reciprocal rank, as in the default pipeline.

    Args:
        nodes: What is indexed.
        encoder: Embeds nodes, units and questions.
        cache: File that keeps the vectors for the next run.
    """

    def __init__(self, nodes: Sequence[TextNode], encoder: MiniLM, cache: Path | None = None) -> None:
        self.nodes, self.encoder = list(nodes), encoder
        self.spaces = {"sentences": Space("sentences", 384, "dev", multi=True, searchable=False)}
        counted = [Counter(terms(embedding_text(node))) for node in nodes]
        self._df = Counter(term for counts in counted for term in counts)
        self._lengths = np.array([sum(c.values()) for c in counted], dtype=float)
        self._postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._in_document: dict[str, Counter[str]] = defaultdict(Counter)
        for i, (node, counts) in enumerate(zip(nodes, counted, strict=True)):
            self._in_document[node.ref_doc_id or ""].update(counts.keys())
            for term, count in counts.items():
                self._postings[term].append((i, count))
        self._matrix, self._units = self._embedded(cache)

    def _embedded(self, cache: Path | None) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        ids = [node.node_id for node in self.nodes]
        key = f"{UNITS_VERSION} {hash(tuple(span for node in self.nodes for span in unit_spans(node)))}"
        if cache and cache.exists():
            data = np.load(cache, allow_pickle=False)
            if list(data["ids"]) == ids and str(data["key"]) == key:
                parts = np.split(data["units"], data["cuts"])
                return data["matrix"], dict(zip(ids, parts, strict=True))
        texts, spans = [embedding_text(n) for n in self.nodes], [unit_spans(n) for n in self.nodes]
        matrix, units = self.encoder.encode_parts(texts, spans)
        if cache:
            cuts = np.cumsum([len(u) for u in units])[:-1]
            np.savez(cache, ids=ids, key=key, matrix=matrix, units=np.concatenate(units), cuts=cuts)
        return matrix, dict(zip(ids, units, strict=True))

    def search(self, question: str, vector: NDArray[np.float32], top_k: int) -> list[Hit]:
        """Hits, best first."""
        fused: dict[int, float] = defaultdict(float)
        for order in (self._keyword(question), np.argsort(-(self._matrix @ vector), kind="stable")[:DEPTH]):
            for rank, i in enumerate(order):
                fused[int(i)] += 1 / (RRF + 1 + rank)
        best = sorted(fused, key=lambda i: (-fused[i], i))[:top_k]
        return [Hit(rank, fused[i], self.nodes[i]) for rank, i in enumerate(best, 1)]

    def _keyword(self, question: str) -> list[int]:
        scores: dict[int, float] = defaultdict(float)
        mean = float(self._lengths.mean())
        for term in {t.term for t in tokens(question) if not t.is_stop_word}:
            weight = idf(self._df[term], len(self.nodes))
            for i, count in self._postings.get(term, ()):
                norm = K1 * (1 - B + B * self._lengths[i] / mean)
                scores[i] += weight * count * (K1 + 1) / (count + norm)
        return sorted(scores, key=lambda i: (-scores[i], i))[:DEPTH]

    # What the synthesizer asks of a store ----------------------------------------------------------------

    def count(self) -> int:
        """Nodes."""
        return len(self.nodes)

    def document_frequency(self, words: Iterable[str]) -> dict[str, int]:
        """Nodes with each term."""
        return {word: self._df[word] for word in words}

    def term_counts(self, doc_id: str, words: Iterable[str]) -> dict[str, int]:
        """Nodes of a document with each term."""
        return {word: self._in_document[doc_id][word] for word in words}

    def vectors(self, node_ids: Sequence[str], space: str) -> Mapping[str, NDArray[np.float32]]:
        """Unit vectors of nodes."""
        return {node_id: self._units[node_id] for node_id in node_ids}
