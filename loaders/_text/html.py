"""HTML pages: what a reader would see, with headings as path. No script runs, nothing is fetched."""

import re
from collections.abc import Iterator
from typing import Any

from sensorium.loaders._text.parts import Headings, Part, linked, markdown_table, pieces

_UNSEEN = frozenset(
    "script style template noscript head iframe object embed svg canvas nav input select textarea button "
    "audio video datalist dialog".split()
)
_BLOCKS = frozenset(
    "address article aside blockquote body dd details div dl dt fieldset figcaption figure footer form header hr "
    "html legend main p section summary td th tr tbody thead tfoot caption center".split()
)
_LISTS = ("ul", "ol", "menu")
_DEEPEST = 150  # Levels that are followed; what lies deeper is taken as one text.
# A line break of the page, told apart from those of its source; `str.split` takes it for a blank.
_BREAK = "\v"
_HIDDEN = re.compile(r"(?i)display\s*:\s*none|visibility\s*:\s*hidden")


def html_parts(source: bytes) -> Iterator[Part]:
    """Passages and tables of a page; the encoding is found from the mark, the `meta` element, or the bytes."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(source, "lxml")
    yield from _Page(" ".join(soup.title.get_text().split()) if soup.title else "").walk(soup)


def html_text(fragment: str) -> str:
    """A fragment's text in one piece."""
    from bs4 import BeautifulSoup

    return "\n".join(part.text for part in _Page("").walk(BeautifulSoup(fragment, "lxml")))


class _Page:
    """Walks a page in reading order and gathers what stands in one block."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._headings = Headings()
        self._gathered: list[str] = []

    def walk(self, root: Any) -> Iterator[Part]:
        yield from self._inside(root, 0)
        yield from self._flush()
        yield from self._headings.end()

    def _inside(self, element: Any, depth: int) -> Iterator[Part]:
        for child in element.children:
            yield from self._visit(child, depth + 1)

    def _visit(self, node: Any, depth: int) -> Iterator[Part]:
        from bs4.element import NavigableString, PreformattedString

        if isinstance(node, NavigableString):
            # Comments, doctypes and the like are no text.
            if not isinstance(node, PreformattedString):
                self._gathered.append(str(node))
            return
        if _unseen(node):
            return
        if depth > _DEEPEST:
            self._gathered.append(node.get_text(" "))
            return
        name = node.name
        if name in _BLOCKS:
            yield from self._flush()
            yield from self._inside(node, depth)
            yield from self._flush()
        elif re.fullmatch(r"h[1-6]", name):
            yield from self._flush()
            yield from self._headings.enter(int(name[1]), _words(_inline(node)))
        elif name == "table":
            yield from self._flush()
            yield from self._table(node, depth)
        elif name in (*_LISTS, "pre"):
            yield from self._flush()
            text = f"```\n{node.get_text().strip(chr(10))}\n```" if name == "pre" else _list(node)
            yield from self._parts(text)
        elif _holds_blocks(node):
            yield from self._inside(node, depth)
        else:
            self._gathered.append(_inline(node))

    def _flush(self) -> Iterator[Part]:
        text = _lines("".join(self._gathered))
        self._gathered = []
        yield from self._parts(text)

    def _parts(self, text: str) -> Iterator[Part]:
        for piece in pieces(text):
            yield Part(piece, section=self._headings.below(), title=self._title)

    def _table(self, table: Any, depth: int) -> Iterator[Part]:
        # The cells of a table in a table are read there, not once for every level above.
        rows = [] if table.find("table") else _grid(table)
        if len(rows) < 2 or max(map(len, rows)) < 2:
            # A table that only lays out the page.
            yield from self._inside(table, depth)
            yield from self._flush()
            return
        caption = _words(table.caption.get_text()) if table.caption else ""
        yield Part(markdown_table(rows), "table", self._headings.below(), caption=caption, title=self._title)


def _unseen(element: Any) -> bool:
    return (
        element.name in _UNSEEN
        or element.has_attr("hidden")
        or element.get("aria-hidden") == "true"
        or bool(_HIDDEN.search(str(element.get("style", ""))))
    )


def _holds_blocks(element: Any) -> bool:
    names = (*_BLOCKS, *_LISTS, "table", "pre", "h1", "h2", "h3", "h4", "h5", "h6")
    return element.find(names) is not None


def _inline(element: Any, depth: int = 0) -> str:
    """Text within a line: links with their address, pictures by their description."""
    from bs4.element import NavigableString, PreformattedString

    if isinstance(element, NavigableString):
        return "" if isinstance(element, PreformattedString) else str(element)
    if element.name == "br":
        return _BREAK
    if element.name == "img":
        return str(element.get("alt", "")).strip()
    if _unseen(element):
        return ""
    if depth > _DEEPEST:
        return str(element.get_text(" "))
    text = "".join(_inline(child, depth + 1) for child in element.children)
    return linked(_words(text), str(element["href"])) if element.name == "a" and element.has_attr("href") else text


def _list(element: Any, indent: str = "") -> str:
    if len(indent) > _DEEPEST:
        return str(element.get_text(" "))
    lines = []
    numbered = element.name == "ol"
    for number, item in enumerate(element.find_all("li", recursive=False), 1):
        inner = [child for child in item.children if getattr(child, "name", None) in _LISTS]
        own = "".join(_inline(child) for child in item.children if child not in inner)
        lines.append(f"{indent}{f'{number}.' if numbered else '-'} {_words(own)}")
        lines += [_list(child, indent + "  ") for child in inner]
    return "\n".join(line for line in lines if line.strip(" -"))


def _grid(table: Any) -> list[list[str]]:
    """Cells of a table, those that span rows or columns repeated."""
    rows: list[list[str]] = []
    carried: dict[int, tuple[int, str]] = {}
    for tr in table.find_all("tr"):
        row: list[str] = []
        cells = iter(tr.find_all(("td", "th"), recursive=False))
        cell = next(cells, None)
        while cell is not None or len(row) in carried:
            if len(row) in carried:
                left, text = carried.pop(len(row))
                if left > 1:
                    carried[len(row)] = (left - 1, text)
                row.append(text)
                continue
            text = _words(_inline(cell))
            for _ in range(_span(cell, "colspan")):
                if _span(cell, "rowspan") > 1:
                    carried[len(row)] = (_span(cell, "rowspan") - 1, text)
                row.append(text)
            cell = next(cells, None)
        if any(row):
            rows.append(row)
    return rows


def _span(cell: Any, name: str) -> int:
    value = str(cell.get(name, "1")).strip()
    return min(100, max(1, int(value))) if value.isdigit() else 1


def _words(text: str) -> str:
    return " ".join(text.split())


def _lines(text: str) -> str:
    """Blanks folded; line breaks only where the page has them (`br`)."""
    return "\n".join(filter(None, (_words(line) for line in text.split(_BREAK))))
