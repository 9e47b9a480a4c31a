"""A deterministic embedder without a model."""

import re
from hashlib import blake2b
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import Field

_WORD = re.compile(r"\w+")


class FakeEmbedding(BaseEmbedding):
    """Texts that share words are near each other; equal texts have equal vectors, in every process.

    Each word has a fixed random direction, drawn from its hash; a text is the normalised sum of its words.
    """

    dimension: int = Field(default=16, gt=0)
    revision: str = "fake-1"

    @classmethod
    def class_name(cls) -> str:
        """Name for LlamaIndex's serialisation."""
        return "FakeEmbedding"

    def embed(self, text: str) -> list[float]:
        """The unit vector of a text."""
        words = _WORD.findall(text.lower()) or [""]
        total = np.sum([self._direction(word) for word in words], axis=0)
        length = float(np.linalg.norm(total)) or 1.0
        return [float(x) for x in total / length]

    def _direction(self, word: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        seed = int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        return np.random.default_rng(seed).normal(size=self.dimension)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self.embed(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self.embed(text)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self.embed(query)
