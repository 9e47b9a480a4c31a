"""The heading path of each element: outline titles where they fit, else detected headings by type size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sensorium.loaders._pdf.blocks import Block, plain

_JUNK = {"", "untitled", "cover", "blankpage"}
_DETECTED = 1000  # ranks of detected headings come after all outline levels


@dataclass(frozen=True)
class OutlineEntry:
    """An outline entry: depth from 1, title, 1-based page, and its height on the page from the top in points."""

    level: int
    title: str
    page: int
    y: float


def read_outline(document: Any) -> list[OutlineEntry]:
    """The outline of a PyMuPDF document, without entries that name nothing."""
    found = []
    for level, title, page, *rest in document.get_toc(simple=False):
        point = rest[0].get("to") if rest and isinstance(rest[0], dict) else None
        title = " ".join(str(title).split())
        if plain(title) not in _JUNK and page > 0:
            found.append(OutlineEntry(level, title, page, float(point.y) if point is not None else 0.0))
    return found


class Sections:
    """Follows the headings of a document in reading order and knows the path at each point."""

    def __init__(self, outline: Sequence[OutlineEntry]) -> None:
        self._outline = outline
        self._pending: list[OutlineEntry] = []
        self._stack: list[tuple[float, str]] = []
        self._by_title = {plain(e.title): e for e in outline}

    @property
    def path(self) -> str:
        """Headings that hold here, outermost first."""
        return " > ".join(title for _, title in self._stack)

    def start_page(self, number: int) -> None:
        """Go to a page: entries of earlier pages whose heading was not seen take effect."""
        for entry in self._pending:
            self._push(entry.level, entry.title)
        self._pending = [e for e in self._outline if e.page == number]

    def heading(self, block: Block) -> None:
        """Note a heading."""
        key = plain(block.text)
        entry = next((e for e in self._pending if _same(key, plain(e.title))), None) or self._by_title.get(key)
        if entry is not None:
            if entry in self._pending:
                self._pending.remove(entry)
            self._push(entry.level, entry.title)
            return
        self._push(_DETECTED - 2 * block.size - block.lines[0].bold * 0.5, block.text)

    def _push(self, rank: float, title: str) -> None:
        while self._stack and self._stack[-1][0] >= rank:
            self._stack.pop()
        self._stack.append((rank, title))
        if len(self._stack) > 6:
            del self._stack[1]


def _same(a: str, b: str) -> bool:
    return a == b or (min(len(a), len(b)) > 8 and (a.endswith(b) or b.endswith(a)))
