"""Which slides the screens of a recording show.

First the decks: one that has a screen's words, enough of them and rare ones, is shown in the recording; one of few
slides, whose template cannot be told from what it says, if screens show most of it exactly. Then the slides of
these decks: titles, agendas and photographs, which many decks share, link only to a deck that is shown. Last the
screens that words did not place, small print above all: they are compared with the pages that are due.
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
# In a deck of few slides: words that no template has so many of, and how alike they are where there is no picture.
_WORDY, _SAID = 100.0, 0.95
# Of the look: for a deck to be shown, and for a slide of a deck that is.
_SAME, _ALIKE, _TILES = 0.75, 0.6, 20
# A slide of a shown deck needs some words in common, if it has any.
_SOME, _WORDLESS = 0.15, 12
# Small print that recognition could hardly read (so much of it): the page has to look the same throughout.
_UNREAD, _EXACT, _DENSE = 0.3, 0.8, 60
# Slides whose words are nearly as alike are told apart by their look.
_RIVAL = 0.1
# Of the details: for a screen to show exactly this slide, and nothing but it.
_PRECISE, _DETAILS = 0.975, 50
_NEAREST, _LOOKED_AT, _MOST_LOOKS = 5, 3, 600
# Pages compared with a screen that words did not place: where few could be read and else, and in a whole recording.
_AROUND, _AROUND_READ, _MOST_AROUND = 24, 6, 240
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
            return max(self.look.alike, self.look.exact)
        return max(self.words.both, (self.words.both + max(self.look.alike, self.look.exact)) / 2)


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
        self._few = [len(deck.places) < SMALL for deck in decks]
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
        chosen = [self._chosen(screen, found, shown) for screen, found in zip(screens, near, strict=True)]
        self._place_by_look(screens, chosen, shown)
        found: dict[int, list[Found]] = {}
        for screen, several in zip(screens, chosen, strict=True):
            for best in several:
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
        shown = {c.deck for found in near for c in found if c.words.both >= _SURE and self._weighs(c)}
        for screen, found in zip(screens, near, strict=True):
            for c in found[:_LOOKED_AT]:
                likely = c.words.both >= _LIKELY and self._weighs(c)
                if c.deck not in shown and (likely or c.unread):
                    look = self._look(screen, c).look
                    if _looks(look, _SAME, _TILES) if likely else _looks(look, _EXACT, _DENSE):
                        shown.add(c.deck)
        shown.update(i for i, few in enumerate(self._few) if few and i not in shown and self._is_most(i, screens, near))
        for i, deck in enumerate(self._decks):
            if i not in shown and all(not place.runs for place in deck.places):
                shown.update(self._seen(i, screens))
        return shown

    def _weighs(self, candidate: _Candidate) -> bool:
        """Whether the words that a screen and a slide share are more than those of a template."""
        return candidate.words.weight >= (_WORDY if self._few[candidate.deck] else _WEIGHT)

    def _is_most(self, deck: int, screens: Sequence[Screen], near: Sequence[list[_Candidate]]) -> bool:
        """Whether screens show more than half of a small deck exactly: not only its agenda and its thanks."""
        left = {place.number for place in self._decks[deck].places}
        least = len(left) / 2
        for screen, found in zip(screens, near, strict=True):
            for c in [c for c in found if c.deck == deck][:_LOOKED_AT]:
                if c.place.number in left:
                    looked = self._look(screen, c)
                    alike = _is_precise(looked.look) if looked.look else c.words.both >= _SAID
                    left -= {c.place.number} if alike else set()
        return len(left) < least

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
        if len(best) > 1:  # scores are comparable with a look on each
            best = [c if c.look else self._look(screen, c) for c in best]
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
        return max((c for c in looked if _fits(c)), key=_order, default=None)

    def _place_by_look(self, screens: Sequence[Screen], chosen: list[list[_Candidate]], shown: set[int]) -> None:
        """Find what is on screens that words did not place, those pages first that are due by the screens around."""
        left = _MOST_AROUND
        for at, screen in enumerate(screens):
            if chosen[at]:
                continue
            for candidate in [c for deck in sorted(shown) for c in self._due(screen, chosen, at, deck)][:left]:
                left -= 1
                looked = self._look(screen, candidate)
                if _is_precise(looked.look):
                    chosen[at] = [looked]
                    break

    def _due(self, screen: Screen, chosen: Sequence[Sequence[_Candidate]], at: int, deck: int) -> Iterator[_Candidate]:
        """Slides of a deck near the one after what was shown last, and the one before what is shown next."""
        before = [c.place.number + 1 for several in chosen[:at] for c in several if c.deck == deck][-1:]
        after = [c.place.number - 1 for several in chosen[at + 1 :] for c in several if c.deck == deck][:1]
        due = before + after
        places = [place for place in self._decks[deck].places if place.runs]
        places.sort(key=lambda p: (min((abs(p.number - n) for n in due), default=0), p.number))
        for i, place in enumerate(places[:_AROUND]):
            if i < _AROUND_READ or len(screen.runs) < _UNREAD * len(place.runs):
                yield _Candidate(deck, place, _NOTHING, unread=True)

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
    if candidate.words.both >= _SURE or _is_precise(candidate.look):
        return True
    enough = (_EXACT, _DENSE) if candidate.unread else (_ALIKE, _TILES)
    return _looks(candidate.look, *enough)


def _order(candidate: _Candidate) -> tuple[float, int]:
    look = candidate.look or Sight(0.0, 0)
    return candidate.words.both + look.alike + look.exact, -candidate.place.number


def _is_precise(look: Sight | None) -> bool:
    return look is not None and look.exact >= _PRECISE and look.details >= _DETAILS


def _looks(look: Sight | None, alike: float, tiles: int) -> bool:
    return look is not None and look.alike >= alike and look.tiles >= tiles


def _unread(screen: Screen, place: Place) -> bool:
    """Whether a screen has so few words that it can only show a page if they could not be read."""
    return len(screen.runs) < _UNREAD * len(place.runs) and len(place.runs) > 10 * _WORDLESS
