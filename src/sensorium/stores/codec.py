"""Vectors as blobs.

Searchable spaces: float32, little endian, row after row. Spaces that are only kept (`searchable=False`): each row
as a float32 scale and its components as int8, x ≈ scale * q with scale = max |x| / 127, so that a component is off
by at most max |x| / 254. A quarter of the space, and enough for the sentence vectors of an answer.
"""

import numpy as np

from sensorium.stores.base import Space, Vector


def encode(vector: Vector, space: Space) -> bytes:
    """A vector (d,) or the vectors (m, d) of a node as a blob."""
    rows = np.atleast_2d(vector)
    if space.searchable:
        return rows.astype("<f4", copy=False).tobytes()
    scale = (np.abs(rows).max(axis=1, keepdims=True) / 127.0).astype("<f4")
    safe = np.where(scale > 0, scale, 1.0)
    quantised = np.clip(np.rint(rows / safe), -127, 127).astype(np.int8)
    return np.concatenate([scale.view(np.int8), quantised], axis=1).tobytes()


def decode(blob: bytes, space: Space) -> Vector:
    """The vector (d,) or vectors (m, d) of a blob."""
    if space.searchable:
        rows = np.frombuffer(blob, dtype="<f4").reshape(-1, space.dimension)
    else:
        raw = np.frombuffer(blob, dtype=np.int8).reshape(-1, space.dimension + 4)
        scale = np.ascontiguousarray(raw[:, :4]).view("<f4")
        rows = raw[:, 4:].astype(np.float32) * scale
    return np.asarray(rows if space.multi else rows[0], dtype=np.float32)
