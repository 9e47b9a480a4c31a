"""A film's text is read carefully as long as that keeps pace with the film."""

from typing import Any

from sensorium.loaders._media.pace import Paced
from sensorium.ocr_types import OcrLine

LINE = OcrLine("a line", (0.0, 0.0, 1.0, 0.1), 0.9)


class Careful:
    """Finds a hundred lines, and says how it read."""

    def __init__(self) -> None:
        self.how: list[str] = []

    def read(self, picture: Any) -> list[OcrLine]:
        """A careful look."""
        self.how.append("careful")
        return [LINE] * 100


class Both(Careful):
    """Can also do it quickly."""

    def glance(self, picture: Any) -> list[OcrLine]:
        """A quick look."""
        self.how.append("quick")
        return [LINE] * 99


def test_pages_that_come_faster_than_they_can_be_read_are_read_quickly() -> None:
    engine = Both()
    paced = Paced(engine)
    for at in range(6):
        paced.at(at * 2.0)
        assert len(paced.read(None)) == (100 if engine.how[-1] == "careful" else 99)
    assert engine.how == ["careful", "careful", "quick", "quick", "quick", "quick"]
    paced.at(60.0)
    paced.read(None)
    assert engine.how[-1] == "careful"


def test_a_talk_is_read_carefully_all_the_time() -> None:
    engine = Both()
    paced = Paced(engine)
    for at in range(0, 3600, 60):
        paced.at(float(at))
        paced.read(None)
    assert set(engine.how) == {"careful"}


def test_what_cannot_read_quickly_reads_carefully() -> None:
    engine = Careful()
    paced = Paced(engine)
    for _ in range(9):
        paced.read(None)
    assert engine.how == ["careful"] * 9
