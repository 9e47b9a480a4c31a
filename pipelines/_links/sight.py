"""Likeness of a filmed screen to a drawn slide, wherever on the screen the slide is and whatever covers a corner of it.

The slide is found on the screen by matching local features (SIFT, Lowe 2004) and a similarity transform (RANSAC);
then both are compared tile by tile where either has something to see: as a whole, and in detail (`details`).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sensorium.pipelines._links import details

if TYPE_CHECKING:
    from PIL.Image import Image

# A page is drawn about as large as it is on a screen that is made as small.
WIDTH, HEIGHT = 640, 420
_FEATURES = 1500
_RATIO = 0.8
_SPREAD = 30  # places, and pixels between them, by which a transform is made more exact
_TILES = (9, 16)
_TILE = 24
_FLAT = 3.0  # standard deviation of grey values below which a tile shows nothing
_ALIKE = 0.55
_LIKELY = 0.5  # share of alike tiles from which on the details are worth a look
Grey = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sight:
    """How alike a screen and a slide look.

    Attributes:
        alike: Share of the tiles with something to see that are alike, 0..1; 0 when the slide was not found.
        tiles: How many tiles have something to see.
        exact: Share of the details that are alike, but for a covered corner, 0..1; see `details`.
        details: How many there are.
    """

    alike: float
    tiles: int
    exact: float = 0.0
    details: int = 0


class View:
    """A picture to compare.

    Args:
        picture: A filmed screen or a drawn slide.
    """

    def __init__(self, picture: "Image") -> None:
        grey = picture.convert("L")
        scale = min(WIDTH / grey.width, HEIGHT / grey.height)
        size = max(1, round(grey.width * scale)), max(1, round(grey.height * scale))
        self.grey: Grey = np.asarray(grey.resize(size), np.uint8)
        grey.thumbnail((details.LONGEST, details.LONGEST))
        self.fine: Grey = np.asarray(grey, np.uint8)

    @property
    def fineness(self) -> float:
        """Pixels of `fine` in one of `grey`."""
        return float(self.fine.shape[1] / self.grey.shape[1])

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
    if place is None:
        return Sight(0.0, 0)
    sight = _tiles(screen.grey, slide.grey, place)
    if sight.alike < _LIKELY:
        return sight
    fine = np.array(place, np.float64) * screen.fineness
    fine[:, :2] /= slide.fineness
    exact, count = details.compared(screen.fine, slide.fine, fine)
    return replace(sight, exact=exact, details=count)


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
    if not 0.3 < scale < 1.5 or turn > 0.05:
        return None
    used = inliers.ravel() > 0
    return _polished(source[used], target[used], place)


def _polished(source: NDArray[np.float32], target: NDArray[np.float32], place: NDArray[Any]) -> NDArray[Any]:
    """The transform with scales of its own across and down, by least squares: exact to a fraction of a pixel.

    Unchanged where the places lie too close together to tell.
    """
    if len(source) < _SPREAD or min(np.ptp(source, 0)) < _SPREAD:
        return place
    polished = np.array(place, np.float64)
    for axis in (0, 1):
        turned = target[:, axis] - place[axis, 1 - axis] * source[:, 1 - axis]
        polished[axis, axis], polished[axis, 2] = np.polyfit(source[:, axis], turned, 1)
    return polished


def _tiles(screen: Grey, slide: Grey, place: NDArray[Any]) -> Sight:
    cv2 = _cv2()
    rows, columns = _TILES
    size = (columns * _TILE, rows * _TILE)
    seen = details.part_of(screen, slide, place, size)
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
