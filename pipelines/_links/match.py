"""Which slides the screens of a recording show.

First the decks: one that has a screen's words, enough of them and rare ones, is shown in the recording. Then the
slides of these decks: titles, agendas and photographs, which many decks share, link only to a deck that is shown.
Slides are drawn only where words leave it open. The limits below were measured on recordings of real and made-up
decks (`benchmarks/media.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from sensorium.pipelines._links.decks import Deck, Place
from sensorium.pipelines._links.screens import Screen, view_of
from sensorium.pipelines._links.sight import Sight, View, compare
from sensorium.pipelines._links.words import SMALL, Likeness, Runs, Weights, usual

LEAST = 0.5
"""Links with a lower score are not kept."""
# Of words, for a deck to be shown: how alike, and on how much it must rest; less alike words need a look.
_SURE, _LIKELY, _WEIGHT = 0.75, 0.45, 25.0
# Of the look: for a deck to be shown, and for a slide of a deck that is.
_SAME, _ALIKE, _TILES = 0.75, 0.6, 20
# A slide of a shown deck needs some words in common, if it has any.
_SOME, _WORDLESS = 0.15, 12
# Small print that recognition could hardly read (so much of it): the page has to look the same throughout.
_UNREAD, _EXACT, _DENSE = 0.3, 0.8, 60
# Slides whose words are nearly as alike are told apart by their look.
_RIVAL = 0.1
_NEAREST, _LOOKED_AT, _MOST_LOOKS = 5, 3, 600
_NOTHING = Likeness(0.0, 0.0, 0.0, 0.0)

Found = tuple[int, float, float, float]
"""A slide's number, seconds from and to, score."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    deck: int
    place: Place
    words: Likeness
    unread: bool = False
    look: Sight | None = None

    @property
    def score(self) -> float:
        """Words and look together, each good enough alone when it is very good."""
        if self.look is None:
            return self.words.both
        if not self.words.weight or self.unread:
            return self.look.alike
        return max(self.words.both, (self.words.both + self.look.alike) / 2)


class Matcher:
    """Compares screens with slides.

    Args:
        decks: Those that may be shown.
        picture: Draws a slide as an encoded picture; None when that is not possible.
    """

    def __init__(self, decks: Sequence[Deck], picture: Callable[[Deck, int], bytes | None]) -> None:
        self._decks = decks
        self._weights = Weights([place.runs for place in deck.places] for deck in decks)
        # Few slides do not show what their template is, and so what their words are worth.
        self._telling = sum(len(deck.places) for deck in decks) >= SMALL
        self._looks = 0

        @lru_cache(maxsize=128)
        def drawn(deck: int, number: int) -> View | None:
            data = picture(decks[deck], number)
            return None if data is None else view_of(data)

        self._drawn = drawn

    def links(self, screens: Sequence[Screen]) -> Iterator[tuple[Deck, list[Found]]]:
        """The slides that are shown, by deck; decks that are not shown are left out."""
        ignored = usual({str(i): screen.runs for i, screen in enumerate(screens)})
        near = [self._near(screen, ignored) for screen in screens]
        shown = self._shown_decks(screens, near)
        found: dict[int, list[Found]] = {}
        for screen, candidates in zip(screens, near, strict=True):
            for best in self._chosen(screen, candidates, shown):
                found.setdefault(best.deck, []).append((best.place.number, screen.start_s, screen.end_s, best.score))
        for deck in sorted(found):
            yield self._decks[deck], found[deck]

    def _near(self, screen: Screen, ignored: Runs) -> list[_Candidate]:
        """The slides whose words are nearest to those on a screen, best first."""
        found = [
            _Candidate(i, place, self._weights.likeness(screen.runs, place.runs, i, ignored), _unread(screen, place))
            for i, deck in enumerate(self._decks)
            for place in deck.nearest(screen.runs, _NEAREST)
        ]
        return sorted((c for c in found if c.words.both >= _SOME or c.unread), key=lambda c: -c.words.both)

    def _shown_decks(self, screens: Sequence[Screen], near: Sequence[list[_Candidate]]) -> set[int]:
        """Decks that surely are shown."""
        shown = {c.deck for found in near for c in found if c.words.both >= _SURE and c.words.weight >= _WEIGHT}
        for screen, found in zip(screens, near, strict=True):
            for c in found[:_LOOKED_AT]:
                likely = c.words.both >= _LIKELY and c.words.weight >= _WEIGHT and self._telling
                if c.deck not in shown and (likely or c.unread):
                    look = self._look(screen, c).look
                    if _looks(look, _SAME, _TILES) if likely else _looks(look, _EXACT, _DENSE):
                        shown.add(c.deck)
        for i, deck in enumerate(self._decks):
            if i not in shown and all(not place.runs for place in deck.places):
                shown.update(self._seen(i, screens))
        return shown

    def _seen(self, deck: int, screens: Sequence[Screen]) -> Iterator[int]:
        """The deck, if it has no words and a screen looks just like one of its slides."""
        for screen in screens:
            for place in self._decks[deck].places:
                if _looks(self._look(screen, _Candidate(deck, place, _NOTHING)).look, _EXACT, _DENSE):
                    yield deck
                    return

    def _chosen(self, screen: Screen, near: Sequence[_Candidate], shown: set[int]) -> list[_Candidate]:
        """The slide of each shown deck that a screen shows; only the best decks where several have one."""
        best = [c for deck in sorted(shown) if (c := self._best(screen, [c for c in near if c.deck == deck], deck))]
        most = max((c.score for c in best), default=0.0)
        return [c for c in best if c.score >= max(LEAST, most - 0.02)]

    def _best(self, screen: Screen, near: Sequence[_Candidate], deck: int) -> _Candidate | None:
        """The slide of one deck that a screen shows, if any."""
        if near and near[0].words.both >= _SURE and not _rivals(near):
            return near[0]
        looked = [self._look(screen, c) for c in near[:_LOOKED_AT]]
        if not near or near[0].words.both < _LIKELY:
            blank = [place for place in self._decks[deck].places if len(place.runs) < _WORDLESS]
            looked += [self._look(screen, _Candidate(deck, place, _NOTHING)) for place in blank]
        fit = [c for c in looked if _fits(c)]
        return max(fit, key=lambda c: (c.words.both + (c.look.alike if c.look else 0.0), -c.place.number), default=None)

    def _look(self, screen: Screen, candidate: _Candidate) -> _Candidate:
        """A candidate with its look, where both pictures can be had."""
        if self._looks >= _MOST_LOOKS or screen.view is None:
            return candidate
        drawn = self._drawn(candidate.deck, candidate.place.number)
        if drawn is None:
            return candidate
        self._looks += 1
        return replace(candidate, look=compare(screen.view, drawn))


def _rivals(near: Iterable[_Candidate]) -> bool:
    first, *rest = near
    return any(c.words.both > first.words.both - _RIVAL for c in rest)


def _fits(candidate: _Candidate) -> bool:
    if candidate.words.both >= _SURE:
        return True
    enough = (_EXACT, _DENSE) if candidate.unread else (_ALIKE, _TILES)
    return _looks(candidate.look, *enough)


def _looks(look: Sight | None, alike: float, tiles: int) -> bool:
    return look is not None and look.alike >= alike and look.tiles >= tiles


def _unread(screen: Screen, place: Place) -> bool:
    """Whether a screen has so few words that it can only show a page if they could not be read."""
    return len(screen.runs) < _UNREAD * len(place.runs) and len(place.runs) > 10 * _WORDLESS
