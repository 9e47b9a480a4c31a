"""What a recording shows, stretch by stretch: its scenes, divided where the words on the screen change."""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from llama_index.core.schema import BaseNode, ImageNode, TextNode

from sensorium.errors import EvidenceError
from sensorium.pipelines._links.sight import View
from sensorium.pipelines._links.words import Runs, runs
from sensorium.speech_types import Timed, word_times

_STEADY_S = 1.5
_CHANGED = 0.15  # share of a scene's words that come or go, for it to be divided
_MOST = 30


@dataclass(frozen=True)
class Screen:
    """What a recording shows for some seconds.

    Attributes:
        start_s: From.
        end_s: To.
        text: Recognised on it.
        asset: Name of its picture; empty when none was kept.
        read: Reads the picture by this name.
    """

    start_s: float
    end_s: float
    text: str
    asset: str
    read: Callable[[str], bytes]

    @cached_property
    def runs(self) -> Runs:
        """Of its words."""
        return runs(self.text)

    @cached_property
    def view(self) -> View | None:
        """To compare by look; None without a picture."""
        try:
            return view_of(self.read(self.asset)) if self.asset else None
        except EvidenceError:
            return None


def screens(nodes: Iterable[BaseNode], read: Callable[[str], bytes]) -> list[Screen]:
    """What the scenes and frames among a recording's nodes show, in order of time.

    Args:
        nodes: Of one recording.
        read: Reads a picture that was kept, by name.
    """
    shown = (s for n in nodes if isinstance(n, TextNode) and _has_picture(n) for s in _screens(n, read))
    return sorted(shown, key=lambda screen: screen.start_s)


def _has_picture(node: TextNode) -> bool:
    return node.metadata.get("kind") in ("scene", "frame") and node.metadata.get("start_s") is not None


def _screens(node: TextNode, read: Callable[[str], bytes]) -> Iterator[Screen]:
    facts = node.metadata
    start = float(facts["start_s"])
    end = float(facts.get("end_s") or start)
    asset = str(facts.get("asset", "")) if isinstance(node, ImageNode) else ""
    times = word_times(node)
    borders = _borders(times, start, end) if _changes(times, start, end) else [start, end]
    if len(borders) == 2:
        yield Screen(start, end, node.text, asset, read)
        return
    taken = float(facts.get("at_s", -1.0))
    for first, last in pairwise(borders):
        middle = (first + last) / 2
        text = "\n".join(node.text[a:b] for a, b, since, until in times if since <= middle < until)
        yield Screen(first, last, text, asset if first <= taken < last else "", read)


def _changes(times: Iterable[Timed], start: float, end: float) -> bool:
    """Whether words come or go in the middle of a scene, more than a clock or a counter."""
    passing = everything = 0
    for first, last, since, until in times:
        everything += last - first
        passing += last - first if since > start + _STEADY_S or until < end - _STEADY_S else 0
    return passing > _CHANGED * everything


def _borders(times: Iterable[Timed], start: float, end: float) -> list[float]:
    """Where words come or go, at least `_STEADY_S` apart."""
    found = [start]
    for time in sorted({t for _, _, since, until in times for t in (since, until)}):
        if time - found[-1] >= _STEADY_S and end - time >= _STEADY_S and len(found) < _MOST:
            found.append(time)
    return [*found, end]


def view_of(data: bytes) -> View:
    """An encoded picture, to be compared."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        return View(picture)
