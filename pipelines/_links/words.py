"""Likeness of the words on a screen to the words of slides, robust to what text recognition gets wrong.

Recognition drops blanks and mistakes letters, so texts are compared by their runs of four letters, blanks left out.
Runs that many slides of a deck have (its template) say nothing about which slide is shown; each run weighs by how
rare it is among them.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

RUN = 4
SMALL = 5  # slides; a deck of fewer cannot tell what its template is
Runs = frozenset[str]


def runs(text: str) -> Runs:
    """Runs of four letters and digits of each line (or table cell) of a text, folded, without blanks between words."""
    found: set[str] = set()
    for line in re.split(r"[\n\t|]+", text):
        letters = "".join(c for c in unicodedata.normalize("NFKD", line.casefold()) if c.isalnum())
        found.update(letters[i : i + RUN] for i in range(len(letters) - RUN + 1))
        if 0 < len(letters) < RUN:
            found.add(letters)
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike the words on a screen and those of a slide are.

    Attributes:
        both: Weighted share of runs that both have, 0..1 (Dice).
        seen: How much of the slide's words is on the screen.
        told: How much of the screen's words is on the slide.
        weight: Of the runs that both have: what the likeness rests on. A rare word of eight letters weighs about 5.
    """

    both: float
    seen: float
    told: float
    weight: float


class Weights:
    """What runs weigh: nothing when most slides have them, 1 when only one of many does.

    Args:
        decks: The runs of the slides of each deck that may be shown.
    """

    def __init__(self, decks: Iterable[Iterable[Runs]]) -> None:
        self._counts: list[tuple[Counter[str], int]] = []
        everywhere: Counter[str] = Counter()
        total = 0
        for deck in decks:
            slides = list(deck)
            counts = Counter(run for slide in slides for run in slide)
            self._counts.append((counts, len(slides)))
            everywhere.update(counts)
            total += len(slides)
        self._counts.append((everywhere, total))
        self._known: dict[tuple[int, str], float] = {}

    @property
    def _all(self) -> int:
        return len(self._counts) - 1

    def of(self, run: str, deck: int) -> float:
        """Weight of a run for slides of one deck (by its number)."""
        key = (deck, run)
        if key not in self._known:
            small = self._counts[deck][1] < SMALL
            rarities = [self._rarity(run, i) for i in ([self._all] if small else [deck, self._all])]
            self._known[key] = min(rarities)
        return self._known[key]

    def _rarity(self, run: str, index: int) -> float:
        counts, total = self._counts[index]
        total = max(total, SMALL)
        return math.log((total + 1) / (counts[run] + 0.5)) / math.log((total + 1) / 0.5)

    def likeness(self, screen: Runs, slide: Runs, deck: int, usual: Runs = frozenset()) -> Likeness:
        """Compare a screen with a slide.

        Args:
            screen: Runs of the words on the screen.
            slide: Runs of the slide's words.
            deck: Number of the slide's deck.
            usual: Runs that the recording shows most of the time: they do not speak against a slide that lacks them.
        """
        shared = sum(self.of(run, deck) for run in screen & slide)
        extra = sum(self.of(run, deck) for run in screen - slide - usual)
        hidden = sum(self.of(run, deck) for run in slide - screen)
        if shared <= 0:
            return Likeness(0.0, 0.0, 0.0, 0.0)
        both = 2 * shared / (2 * shared + extra + hidden)
        return Likeness(both, shared / (shared + hidden), shared / (shared + extra), shared)


def usual(screens: Mapping[str, Runs]) -> Runs:
    """Runs that more than half of the different screens of a recording show; none when there are few screens."""
    different = set(screens.values()) - {frozenset()}
    if len(different) < 4:
        return frozenset()
    counts = Counter(run for screen in different for run in screen)
    return frozenset(run for run, count in counts.items() if count > len(different) / 2)
