"""The objects of the Weaviate benchmark: made-up passages by number, and vectors from a file."""

import json
import random
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORDS = 20_000
PAGES = 100
TOPIC = 12
SOURCE = 2_500
"""Objects of one source; a write is one source."""


def words(number: int) -> list[str]:
    """Thirty to ninety words, unevenly distributed like a language's."""
    rng = random.Random(number)
    return [f"word{min(int(rng.paretovariate(0.5)), WORDS)}" for _ in range(rng.randint(30, 90))]


def object_id(number: int) -> str:
    """A UUID: some stores take nothing else."""
    return str(uuid.UUID(int=number + 1))


def number_of(object_id: str) -> int:
    """The other way round."""
    return uuid.UUID(object_id).int - 1


def metadata(number: int) -> dict[str, Any]:
    """What lies beside the text."""
    return {"source": f"d{number // SOURCE}.pdf", "kind": "text", "page": number % PAGES, "section": "Made up"}


@dataclass
class Data:
    """Vectors of objects and queries.

    Attributes:
        vectors: Shape (n, d), or (n, m, d) for several vectors an object.
        queries: The same for queries.
    """

    vectors: Any
    queries: Any
    _questions: dict[int, str] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> "Data":
        """Map the files into memory."""
        return cls(np.load(folder / "vectors.npy", mmap_mode="r"), np.load(folder / "queries.npy"))

    def question(self, number: int) -> str:
        """Four words of an object, the rarest it has."""
        if number not in self._questions:
            found = set(words(number * 7 % len(self.vectors)))
            self._questions[number] = " ".join(sorted(found, key=lambda word: int(word[4:]))[-4:])
        return self._questions[number]


def make(folder: Path, count: int, queries: int, dimension: int, parts: int = 0) -> Data:
    """Vectors in clusters, as embeddings are, and queries near some of them.

    Args:
        folder: Where to write them.
        count: Objects.
        queries: Queries.
        dimension: Components.
        parts: Vectors an object (half as many a query); 0 for one that is no matrix.
    """
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((max(count * max(parts, 1) // 100, 1), dimension), np.float32)
    drawn = rng.integers(0, len(centres), (count, parts) if parts else count)
    if parts:  # most words of a text are those of its topic
        topics = rng.integers(0, len(centres), (max(count // 25, 1), TOPIC))
        own = topics[rng.integers(0, len(topics), count)]
        typical = np.take_along_axis(own, rng.integers(0, TOPIC, drawn.shape), axis=1)
        drawn = np.where(rng.random(drawn.shape) < 0.7, typical, drawn)
    vectors: NDArray[np.float32] = centres[drawn]
    vectors += 0.7 * rng.standard_normal(vectors.shape, np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    near = vectors[rng.integers(0, count, queries)]
    if parts:
        near = near[:, : parts // 2]
    found = near + 0.3 * rng.standard_normal(near.shape, np.float32) / np.sqrt(dimension)
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "queries.npy", found / np.linalg.norm(found, axis=-1, keepdims=True))
    return Data.load(folder)


def exact(data: Data, top_k: int = 10) -> list[list[int]]:
    """The nearest objects of every query; by MaxSim where there are several vectors."""
    if data.vectors.ndim == 2:
        scores = data.queries @ np.asarray(data.vectors).T
    else:
        flat = np.asarray(data.vectors).reshape(-1, data.vectors.shape[-1])
        shape = data.vectors.shape[:2]
        scores = np.stack([(query @ flat.T).reshape(-1, *shape).max(2).sum(0) for query in data.queries])
    return [[int(i) for i in np.argsort(-row)[:top_k]] for row in scores]


def node_json(number: int) -> str:
    """About as much JSON as a node takes beside its text."""
    source = {"1": f"d{number // SOURCE}"}
    node = {"id": object_id(number), "class_name": "TextNode", "relationships": source, "excluded": ["source", "kind"]}
    return json.dumps(node | {"template": "{metadata_str}\n\n{content}", "separator": "\n", "mimetype": "text/plain"})
