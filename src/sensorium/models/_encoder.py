"""Texts through an encoder: token states, their mean, and the means of parts (late chunking)."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from sensorium.errors import ModelError
from sensorium.models.base import Matrix, Span

Ids = NDArray[np.int64]
T = TypeVar("T")


def session(model: bytes) -> Any:
    """An ONNX Runtime session of one thread; texts run side by side in Python threads instead.

    Two threads that each run a text give 1.3 times the passages a second of one run on two cores.

    Raises:
        ModelError: ONNX Runtime does not take the model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base but this
        raise ModelError(f"ONNX Runtime {onnxruntime.__version__} cannot load the model: {error}") from error


def cores() -> int:
    """Processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Encoder:
    """A tokenizer and a network as a function from text to unit vectors. Safe to use from several threads.

    Args:
        tokenizer: Gives ids with one special token at each end, and character offsets.
        run: Token ids, shape (t,), to token states, float32 (t, d).
        dimension: d.
        max_tokens: Longest input with its special tokens; what is longer is cut.
        threads: How many texts run at once; 0 means all cores.
    """

    def __init__(
        self, tokenizer: Tokenizer, run: Callable[[Ids], Matrix], dimension: int, max_tokens: int, threads: int = 0
    ) -> None:
        self.tokenizer = tokenizer
        self.run = run
        self.dimension = dimension
        self.max_tokens = max_tokens
        self.threads = threads or cores()

    def encode(self, texts: Sequence[str], prefix: str = "") -> Matrix:
        """Unit vectors of texts: the mean of the token states. Shape (n, d)."""
        vectors = self._each(self._vector, [prefix + text for text in texts])
        return np.array(vectors, np.float32).reshape(len(texts), self.dimension)

    def encode_parts(
        self, texts: Sequence[str], parts: Sequence[Sequence[Span]], prefix: str = ""
    ) -> tuple[Matrix, list[Matrix]]:
        """Unit vectors of texts and of character spans in them; see `PartEncoder.encode_parts`."""

        def one(text: str, spans: Sequence[Span]) -> tuple[Matrix, Matrix]:
            return self._vector_and_parts(prefix + text, [(s + len(prefix), e + len(prefix)) for s, e in spans])

        pairs = self._each(one, texts, parts)
        whole = np.array([vector for vector, _ in pairs], np.float32).reshape(len(texts), self.dimension)
        return whole, [vectors for _, vectors in pairs]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special ones and before any cut."""
        return [len(e) for e in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def _each(self, function: Callable[..., T], texts: Sequence[str], *more: Sequence[Any]) -> list[T]:
        if self.threads == 1 or len(texts) < 2:
            return list(map(function, texts, *more))
        with ThreadPoolExecutor(min(self.threads, len(texts))) as pool:
            return list(pool.map(function, texts, *more))

    def _states(self, encoding: Encoding) -> Matrix:
        ids = encoding.ids
        if len(ids) > self.max_tokens:
            ids = [*ids[: self.max_tokens - 1], ids[-1]]
        return self.run(np.array(ids, np.int64))

    def _vector(self, text: str) -> Matrix:
        return unit(self._states(self.tokenizer.encode(text)).mean(axis=0))

    def _vector_and_parts(self, text: str, spans: Sequence[Span]) -> tuple[Matrix, Matrix]:
        encoding = self.tokenizer.encode(text)
        states = self._states(encoding)
        offsets = _offsets(encoding.offsets[1 : len(states) - 1], text)
        return unit(states.mean(axis=0)), span_means(states[1:-1], offsets, spans)


def _offsets(pairs: Sequence[Span], text: str) -> Ids:
    """Character offsets of tokens, without the space that some tokenizers count to the token after it."""
    trimmed = [(start + text[start : start + 1].isspace(), end) for start, end in pairs]
    return np.array(trimmed, np.int64).reshape(-1, 2)


def span_means(states: Matrix, offsets: Ids, spans: Sequence[Span]) -> Matrix:
    """Unit mean of the token states in each span: late chunking (Günther et al. 2024, arXiv 2409.04701).

    Args:
        states: Token states without special tokens, shape (t, d).
        offsets: Start and end character of each token, ascending, shape (t, 2).
        spans: Start and end character of each part; a token counts when it overlaps.

    Returns:
        Shape (m, d); zeros for a span without any token.
    """
    bounds = np.array(spans, np.int64).reshape(-1, 2)
    first = np.searchsorted(offsets[:, 1], bounds[:, 0], side="right")
    last = np.searchsorted(offsets[:, 0], bounds[:, 1], side="left")
    last = np.where(bounds[:, 0] < bounds[:, 1], np.maximum(last, first), first)
    # Unit length makes the division by the number of tokens needless.
    sums = [states[start:end].sum(axis=0) for start, end in zip(first.tolist(), last.tolist(), strict=True)]
    return unit(np.array(sums, np.float32).reshape(len(sums), states.shape[1]))


def unit(vectors: Matrix) -> Matrix:
    """Rows (or one vector) divided by their length; zeros stay zeros."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)
