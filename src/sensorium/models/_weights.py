"""Weights of a transformer encoder, in the form that `_fuse` makes a graph of."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensorium.models.base import Matrix


@dataclass(frozen=True)
class Quantised:
    """A matrix of shape (inputs, outputs) as int8 `values` times one `scale` an output."""

    values: NDArray[np.int8]
    scale: NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """Weights of one encoder layer.

    Attributes:
        attention: Query, key and value side by side.
        attention_bias: Their biases in one row.
        output: Projection of what the heads attended to.
        output_bias: Its bias.
        norm: Gain and bias of the normalisation after attention.
        up: First matrix of the feed-forward part.
        up_bias: Its bias.
        down: Second matrix of the feed-forward part.
        down_bias: Its bias.
        final_norm: Gain and bias of the normalisation at the end.
    """

    attention: Quantised
    attention_bias: Matrix
    output: Quantised
    output_bias: Matrix
    norm: tuple[Matrix, Matrix]
    up: Quantised
    up_bias: Matrix
    down: Quantised
    down_bias: Matrix
    final_norm: tuple[Matrix, Matrix]


@dataclass(frozen=True)
class Embeddings:
    """Input of the encoder.

    Attributes:
        positions: Position vectors with the vector of token type 0 added, shape (longest, d).
        norm: Gain and bias of the normalisation.
        words: int8 table, (pieces, d), and its scale a row, (pieces, 1). Without it the graph takes the vectors
            of the pieces in place of their ids.
    """

    positions: Matrix
    norm: tuple[Matrix, Matrix]
    words: tuple[NDArray[np.int8], Matrix] | None = None


def quantise(matrix: Matrix) -> Quantised:
    """Symmetric int8 with one scale a column: the largest absolute value of a column becomes 127."""
    scale = np.maximum(np.abs(matrix).max(axis=0), 1e-12) / 127
    return Quantised(np.rint(matrix / scale).astype(np.int8), scale.astype(np.float32))


def side_by_side(matrices: Iterable[Quantised]) -> Quantised:
    """Matrices of the same inputs joined along their outputs."""
    parts = list(matrices)
    return Quantised(
        np.concatenate([part.values for part in parts], axis=1),
        np.concatenate([part.scale for part in parts]),
    )
