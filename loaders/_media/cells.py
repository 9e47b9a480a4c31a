"""Square cells of a picture, in which it is looked at part by part."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

CELL = 8
"""Pixels of a cell's side."""


def grid(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of whole cells in an array (height, width)."""
    return shape[0] // CELL, shape[1] // CELL


def cell_means(values: NDArray[Any], total: type[np.generic] = np.float32) -> NDArray[np.float32]:
    """Mean of each whole cell, shape `grid`.

    Args:
        values: Shape (height, width).
        total: What the sum of a cell is counted in; small ones are quicker.
    """
    rows, columns = grid(values.shape)
    whole = values[: rows * CELL, : columns * CELL]
    down = whole.reshape(rows, CELL, columns * CELL).sum(1, total)  # in two steps: far quicker than over both at once
    return np.asarray(down.reshape(rows, columns, CELL).sum(2, total) / CELL**2, np.float32)
