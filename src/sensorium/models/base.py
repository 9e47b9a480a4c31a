"""What a model is, readable without loading its weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Span = tuple[int, int]
Distance = Literal["cosine", "dot"]


@dataclass(frozen=True)
class ModelFacts:
    """Facts of a model.

    Attributes:
        name: Its name in YAML.
        task: What it does.
        source: The package that carries the weights, with its version.
        revision: Changes whenever the output changes; part of cache keys and of the index's settings.
        licence: SPDX identifier.
        size_mb: Size of the weights in megabytes.
        dimension: Length of its vectors; None where it makes none.
        max_tokens: Longest input in tokens; what is longer is cut.
        languages: BCP 47 codes, or "multi".
        modalities: What it embeds as documents and as queries.
    """

    name: str
    task: Literal["text embedding", "ocr", "speech", "image embedding"]
    source: str
    revision: str
    licence: str
    size_mb: float
    dimension: int | None = None
    max_tokens: int | None = None
    languages: str = "en"
    modalities: tuple[str, ...] = ("text",)


@runtime_checkable
class PartEncoder(Protocol):
    """A text embedder that also gives the vectors of parts of a text, from the same run of the model."""

    def encode_parts(self, texts: Sequence[str], parts: Sequence[Sequence[Span]]) -> tuple[Matrix, list[Matrix]]:
        """Embed texts and, of each, some character spans in their context.

        Args:
            texts: `n` texts.
            parts: For each text its spans, as (start, end) character offsets.

        Returns:
            Unit vectors of the texts, shape (n, d), and for each text the unit vectors of its spans, (m, d).
            A span beyond the model's longest input gets a zero vector.
        """
        ...
