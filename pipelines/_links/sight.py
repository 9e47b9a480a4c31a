"""Likeness of a filmed screen to a drawn slide, wherever on the screen the slide is and whatever covers a corner of it.

The slide is found on the screen by matching local features (SIFT, Lowe 2004) and a similarity transform (RANSAC);
then both are compared tile by tile where either has something to see.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

# A page is drawn about as large as it is on a screen that is made as small.
WIDTH, HEIGHT = 640, 420
_FEATURES = 1500
_RATIO = 0.8
_TILES = (9, 16)
_TILE = 24
_FLAT = 3.0  # standard deviation of grey values below which a tile shows nothing
_ALIKE = 0.55
Grey = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sight:
    """How alike a screen and a slide look.

    Attributes:
        alike: Share of the tiles with something to see that are alike, 0..1; 0 when the slide was not found.
        tiles: How many tiles have something to see.
    """

    alike: float
    tiles: int


class View:
    """A picture to compare.

    Args:
        picture: A filmed screen or a drawn slide.
    """

    def __init__(self, picture: "Image") -> None:
        scale = min(WIDTH / picture.width, HEIGHT / picture.height)
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        self.grey: Grey = np.asarray(picture.convert("L").resize(size), np.uint8)

    @cached_property
    def features(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Places (n, 2) and descriptors (n, 128) of the local features."""
        cv2 = _cv2()
        found, descriptors = cv2.SIFT_create(nfeatures=_FEATURES).detectAndCompute(self.grey, None)
        if descriptors is None:
            return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
        return np.array([point.pt for point in found], np.float32), descriptors


def _cv2() -> Any:
    """OpenCV, which comes with text recognition; its types lack half of it."""
    import cv2

    return cv2


def compare(screen: View, slide: View) -> Sight:
    """Compare a filmed screen with a drawn slide."""
    place = _found(screen, slide)
    return Sight(0.0, 0) if place is None else _tiles(screen.grey, slide.grey, place)


def _found(screen: View, slide: View) -> NDArray[Any] | None:
    """The transform (2, 3) from the slide to the screen, upright and large enough; None when there is none."""
    cv2 = _cv2()
    (from_, a), (to, b) = slide.features, screen.features
    if len(a) < 4 or len(b) < 4:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(a, b, k=2)
    good = [m for m, *rest in pairs if rest and m.distance < _RATIO * rest[0].distance]
    if len(good) < 6:
        return None
    source, target = from_[[m.queryIdx for m in good]], to[[m.trainIdx for m in good]]
    cv2.setRNGSeed(0)
    place, inliers = cv2.estimateAffinePartial2D(source, target, ransacReprojThreshold=3.0)
    if place is None or int(inliers.sum()) < 6:
        return None
    scale, turn = float(np.hypot(place[0, 0], place[1, 0])), abs(float(np.arctan2(place[1, 0], place[0, 0])))
    return place if 0.3 < scale < 1.5 and turn < 0.05 else None


def _tiles(screen: Grey, slide: Grey, place: NDArray[Any]) -> Sight:
    cv2 = _cv2()
    rows, columns = _TILES
    size = (columns * _TILE, rows * _TILE)
    across = np.array([[slide.shape[1] / size[0], 0, 0], [0, slide.shape[0] / size[1], 0], [0, 0, 1]])
    seen = cv2.warpAffine(
        screen,
        _chain(place, across),
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    drawn = cv2.resize(slide, size, interpolation=cv2.INTER_AREA)
    a, b = (cv2.GaussianBlur(p, (0, 0), 1.5).astype(np.float32) for p in (seen, drawn))
    a, b = (p.reshape(rows, _TILE, columns, _TILE).swapaxes(1, 2).reshape(-1, _TILE * _TILE) for p in (a, b))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    da, db = a.std(1), b.std(1)
    full = (da > _FLAT) | (db > _FLAT)
    if not full.any():
        return Sight(0.0, 0)
    correlation = (a * b).mean(1) / np.maximum(da * db, 1e-6)
    alike = (correlation > _ALIKE) & (np.minimum(da, db) > 0.4 * np.maximum(da, db))
    return Sight(float(alike[full].mean()), int(full.sum()))


def _chain(place: NDArray[Any], across: NDArray[Any]) -> NDArray[Any]:
    """First `across`, then `place`, as (2, 3)."""
    return np.asarray((np.vstack([place, [0, 0, 1]]) @ across)[:2])
