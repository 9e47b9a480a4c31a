"""Whether a filmed screen shows exactly a drawn slide: numbers, words and lines of small print included.

Slides of one template and tables with other numbers look much alike as a whole, and pages of small print cannot be
read. So both are compared at the screen's own size, in tiles about as large as two letters of a table: of the right
slide nearly all are alike, whatever the blur and the noise; of another one those with other letters are not.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Values = NDArray[np.float32]

LONGEST = 960
"""Pixels of the longer side of pictures whose details are compared."""
_ACROSS = 40  # tiles along the longer side of a slide,
_SMALLEST = 12  # and pixels of a tile at least
_BLUR, _DRAWN_BLUR = 0.8, 1.1  # a drawn slide is sharper than a filmed one
_FLAT = 8.0  # standard deviation of grey values below which a tile shows nothing
_ALIKE = 0.85  # correlation of alike tiles,
_CONTRAST = 0.45  # and share of the contrast that they have in common
# Somebody may stand in a corner: shares of the height and width, and of the details that have to be left.
_CORNERS = tuple((high, wide) for high in (0.2, 0.28, 0.36) for wide in (0.15, 0.24, 0.3))
_LEFT = 0.6


def compared(screen: Grey, slide: Grey, place: NDArray[Any]) -> tuple[float, int]:
    """Compare the details of a screen and of a slide.

    Args:
        screen: Its grey values.
        slide: Its grey values, about as fine.
        place: Transform (2, 3) from the slide's pixels to the screen's.

    Returns:
        Share of the tiles with something to see that are alike, but for those in one corner; how many these are.
    """
    seen, drawn = _at_one_size(screen, slide, place)
    height, width = drawn.shape
    side = max(_SMALLEST, round(max(height, width) / _ACROSS))
    rows, columns = height // side - 1, width // side - 1
    if rows < 3 or columns < 3:
        return 0.0, 0
    tiles = _Tiles(rows, columns, side)
    full, alike = tiles.compare(seen, drawn)
    return _without_corner(full, alike)


def _at_one_size(screen: Grey, slide: Grey, place: NDArray[Any]) -> tuple[Values, Values]:
    """The part of the screen where the slide is, and the slide, both as large as on the screen."""
    import cv2

    scale = float(np.hypot(place[0, 0], place[1, 0]))
    size = tuple(max(8, round(length * scale)) for length in slide.shape[::-1])
    drawn = cv2.resize(slide, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    seen = part_of(screen, slide, place, size)
    blurred = (cv2.GaussianBlur(p, (0, 0), b) for p, b in ((seen, _BLUR), (drawn, _DRAWN_BLUR)))
    one, other = (np.asarray(p, np.float32) for p in blurred)
    return one, other


def part_of(screen: Grey, slide: Grey, place: NDArray[Any], size: tuple[int, ...]) -> Grey:
    """The part of the screen where the slide is, of a size (width, height); see `compared`."""
    import cv2

    across = np.array(place, np.float64)
    across[:, :2] = across[:, :2] @ np.diag([slide.shape[1] / size[0], slide.shape[0] / size[1]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(screen, across, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8)


class _Tiles:
    """A grid of square tiles, half a tile from the edge, beyond which begins what is not the slide."""

    def __init__(self, rows: int, columns: int, side: int) -> None:
        self._rows, self._columns, self._side = rows, columns, side

    def compare(self, seen: Values, drawn: Values) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Tiles with something to see, and tiles that are alike where one is shifted by a pixel at most."""
        other = self._part(drawn, 1, 1)
        mean, spread = self._spread(other)
        best = np.full((self._rows, self._columns), -1, np.float32)
        middle = spread
        for down in range(3):
            for across in range(3):
                part = self._part(seen, down, across)
                part_mean, part_spread = self._spread(part)
                shared = self._mean(part * other) - part_mean * mean
                best = np.maximum(best, shared / np.maximum(part_spread * spread, 1e-3))
                middle = part_spread if down == across == 1 else middle
        larger, smaller = np.maximum(middle, spread), np.minimum(middle, spread)
        return np.asarray(larger > _FLAT), np.asarray((best > _ALIKE) & (smaller > _CONTRAST * larger))

    def _part(self, picture: Values, down: int, across: int) -> Values:
        top, left = (self._side // 2 - 1 + shift for shift in (down, across))
        return picture[top : top + self._rows * self._side, left : left + self._columns * self._side]

    def _spread(self, part: Values) -> tuple[Values, Values]:
        mean = self._mean(part)
        return mean, np.sqrt(np.maximum(self._mean(part * part) - mean * mean, 0))

    def _mean(self, part: Values) -> Values:
        import cv2

        size = (self._columns, self._rows)
        return np.asarray(cv2.resize(np.ascontiguousarray(part), size, interpolation=cv2.INTER_AREA), np.float32)


def _without_corner(full: NDArray[np.bool_], alike: NDArray[np.bool_]) -> tuple[float, int]:
    """Share of the full tiles that are alike, without the corner that is least alike; how many are full."""
    count = int(full.sum())
    if not count:
        return 0.0, 0
    best = float(alike[full].mean())
    rows, columns = full.shape
    for high, wide in _CORNERS:
        down, across = int(np.ceil(rows * high)), int(np.ceil(columns * wide))
        for top in (0, rows - down):
            for left in (0, columns - across):
                kept = full.copy()
                kept[top : top + down, left : left + across] = False
                if kept.sum() >= _LEFT * count:
                    best = max(best, float(alike[kept].mean()))
    return best, count
