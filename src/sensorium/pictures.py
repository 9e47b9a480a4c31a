"""Small steps on pictures that loaders and models share."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_silencing = RLock()


def on_white(picture: "Image") -> "Image":
    """The picture as 8-bit RGB, transparency drawn on white, 16-bit and float greys scaled to 8 bits.

    Args:
        picture: Of any Pillow mode.
    """
    import PIL.Image

    if picture.mode.startswith(("I", "F")):
        picture = _eight_bits(picture)
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        white = PIL.Image.new("RGBA", layer.size, "white")
        white.alpha_composite(layer)
        picture = white
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _eight_bits(picture: "Image") -> "Image":
    import numpy as np
    import PIL.Image

    values = np.nan_to_num(np.asarray(picture, np.float32))
    low, high = float(values.min()), float(values.max())
    if picture.mode.startswith("I") and low >= 0 and high <= 65535:
        # 16-bit samples; some writers put 8-bit ones into them.
        low, high = 0.0, 65535.0 if high > 255 else 255.0
    return PIL.Image.fromarray(((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8))


@contextmanager
def silent() -> Iterator[None]:
    """Without warnings, one thread at a time: Pillow's limits and Python's filters are the whole process's."""
    with _silencing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
