"""Reading that keeps pace with a film: carefully while there is time, else quickly.

A careful reading of a page of small print takes ten seconds, a quick one two or three. A talk shows a page for
minutes; a film that leafs or scrolls through pages would be read for hours.
"""

from typing import Any

from sensorium.ocr_types import OcrEngine, OcrLine, glance

_LINES_PER_S = 2.0
"""Lines that are read carefully, for each second of the film: some tenth of a second of work each."""
_SAVED = 150.0
"""Lines at the beginning, and at most after a time in which little was read."""


class Paced:
    """An OCR engine for one film. Times, not clocks, decide, so that a film is always read alike.

    Args:
        ocr: Reads.
        start_s: Where the film is.
    """

    def __init__(self, ocr: OcrEngine, start_s: float = 0.0) -> None:
        self._ocr = ocr
        self._time_s, self._lines = start_s, _SAVED

    def at(self, time_s: float) -> None:
        """The film goes on."""
        self._lines = min(_SAVED, self._lines + _LINES_PER_S * max(0.0, time_s - self._time_s))
        self._time_s = time_s

    def read(self, picture: Any) -> list[OcrLine]:
        """See `OcrEngine.read`."""
        if self._lines <= 0:
            return glance(self._ocr, picture)
        found = self._ocr.read(picture)
        self._lines -= len(found)
        return found
