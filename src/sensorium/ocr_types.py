"""What text recognition takes and gives; shared by the loaders that ask for it and the models that do it."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class OcrLine:
    """One recognised line: its text, box in fractions of the picture, and mean character score in 0..1."""

    text: str
    box: Box
    score: float


class OcrEngine(Protocol):
    """Recognises text in a picture."""

    def read(self, picture: Any) -> list[OcrLine]:
        """Lines in reading order.

        Args:
            picture: A `PIL.Image.Image` in any mode; transparency is drawn on white.
        """
        ...


@runtime_checkable
class QuickOcrEngine(OcrEngine, Protocol):
    """One that can also do it quickly."""

    def glance(self, picture: Any) -> list[OcrLine]:
        """As `read`, in a fraction of the time where the print is small, with more errors there."""
        ...


def glance(engine: OcrEngine, picture: Any) -> list[OcrLine]:
    """Read quickly, if the engine can."""
    return engine.glance(picture) if isinstance(engine, QuickOcrEngine) else engine.read(picture)
