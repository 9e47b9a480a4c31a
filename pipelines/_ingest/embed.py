"""Vectors of a batch of nodes in every space."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import TextNode

from sensorium.models.base import Matrix
from sensorium.models.cache import CachedEncoder, EmbeddingCache
from sensorium.models.text import BundledEmbedding
from sensorium.nodes import FULL, embedding_text
from sensorium.pipelines.units import unit_spans
from sensorium.stores.base import Vector

TEXT = "text"
Vectors = dict[str, list[Vector | None]]
"""For each space one vector (or matrix) a node."""


class Vectoriser:
    """Embeds batches of nodes. Safe to use from several threads.

    Args:
        embedders: The embedder of each searchable space.
        sentences: Space of the sentence vectors, which the embedder of the space "text" makes in the same run;
            None keeps none.
        cache: Where vectors are kept; None keeps none.
    """

    def __init__(
        self, embedders: Mapping[str, BaseEmbedding], sentences: str | None, cache: EmbeddingCache | None
    ) -> None:
        self._embedders = embedders
        self._cache = cache
        self._sentences = sentences if TEXT in embedders else None

    @cached_property
    def _encoders(self) -> dict[str, CachedEncoder]:
        return {space: CachedEncoder(embedder, self._cache) for space, embedder in self._embedders.items()}

    def load(self) -> None:
        """Load the weights of bundled embedders now, beside the start of the workers.

        Raises:
            SensoriumError: they cannot be loaded; `vectors` says so again.
        """
        for embedder in self._embedders.values():
            if isinstance(embedder, BundledEmbedding):
                _ = embedder.encoder

    def vectors(self, nodes: Sequence[TextNode]) -> Vectors:
        """For each space one vector (or matrix) a node; None for pictures without words.

        Raises:
            ModelError: an embedder failed.
        """
        worded = [at for at, node in enumerate(nodes) if _has_words(node)]
        texts = [embedding_text(nodes[at]) for at in worded]
        made: Vectors = {}
        for space, encoder in self._encoders.items():
            with_units = space == TEXT and self._sentences is not None
            spans = [unit_spans(nodes[at]) for at in worded] if with_units else None
            whole, parts = encoder.encode_nodes(texts, spans)
            made[space] = _spread(whole, worded, len(nodes))
            if self._sentences is not None and parts is not None:
                made[self._sentences] = _spread([part if len(part) else None for part in parts], worded, len(nodes))
        return made


def _has_words(node: TextNode) -> bool:
    """Whether a node says something itself; title and section alone are those of its surroundings.

    A whole picture is the exception: its title is its own, and all there is to find it by.
    """
    if node.text.strip() or node.metadata.get("caption"):
        return True
    return bool(node.metadata.get("title")) and node.metadata.get("bbox") == list(FULL)


def _spread(vectors: Matrix | Sequence[Matrix | None], places: Sequence[int], count: int) -> list[Vector | None]:
    spread: list[Vector | None] = [None] * count
    for place, vector in zip(places, vectors, strict=True):
        spread[place] = vector
    return spread
