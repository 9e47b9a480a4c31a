"""Markdown tables in a text: header, parent headers, row groups and label columns, with offsets."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_CELLS = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r":?-{2,}:?")
_NUMERIC = re.compile(r"[-+−–($€£¥~<>≈]*\s*\d[\d,. /:]*\s*[%)*a-zA-Z°]{0,4}\s*|[-–—.*/]+|[Nn]/?[Aa]\.?|\(?[XZx]\)?|")
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Row:
    """One body row.

    Attributes:
        start: Offset of the row's line in the text.
        end: Offset behind it.
        cells: Its cells, as many as the header has.
        group: The heading row above it inside the table ("Males" above "15 to 24 years"); may be empty.
    """

    start: int
    end: int
    cells: tuple[str, ...]
    group: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A Markdown table.

    Attributes:
        start: Offset in the text.
        end: Offset behind it.
        header: One text a column, parent headers first ("Severe disability: Number").
        rows: Body rows, heading rows left out.
        labels: Columns that name the rows.
    """

    start: int
    end: int
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    labels: tuple[int, ...]

    def label(self, row: Row) -> str:
        """What names a row: its label cells."""
        return " | ".join(row.cells[j] for j in self.labels if row.cells[j])


def tables(text: str) -> list[Table]:
    """Every Markdown table of a text, in order; lines with bars but without a rule line are no table."""
    return [table for block in _blocks(text) if (table := _parse(block)) is not None]


def is_numeric(cell: str) -> bool:
    """Whether a cell holds a value rather than words (empty cells and dashes count as values)."""
    return _NUMERIC.fullmatch(cell.strip()) is not None


_Line = tuple[int, int, tuple[str, ...]]


def _blocks(text: str) -> Iterator[list[_Line]]:
    block: list[_Line] = []
    start = 0
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        if bare.startswith("|") and bare.count("|") > 1:
            indent = len(line) - len(line.lstrip())
            block.append((start + indent, start + indent + len(bare), _cells(bare)))
        elif block:
            yield block
            block = []
        start += len(line)
    if block:
        yield block


def _cells(line: str) -> tuple[str, ...]:
    inner = line.removeprefix("|")
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    cleaned = (re.sub(r"<br ?/?>|\*\*", " ", cell).replace("\\|", "|") for cell in _CELLS.split(inner))
    return tuple(" ".join(cell.split()) for cell in cleaned)


def _parse(block: Sequence[_Line]) -> Table | None:
    rule = next((i for i, (_, _, cells) in enumerate(block) if cells and all(map(_RULE.fullmatch, cells))), None)
    if rule is None:
        return None
    width = max(len(cells) for _, _, cells in block)
    levels = [_pad(cells, width) for _, _, cells in block[:rule]]
    body = [(start, end, _pad(cells, width)) for start, end, cells in block[rule + 1 :] if any(cells)]
    more = _header_rows(body)
    levels += [cells for _, _, cells in body[:more]]
    rows = tuple(_grouped(body[more:]))
    if not rows:
        return None
    return Table(block[0][0], block[-1][1], _header(levels, width), rows, _label_columns(rows, width))


def _pad(cells: tuple[str, ...], width: int) -> tuple[str, ...]:
    return (*cells, *("",) * (width - len(cells)))


def _header_rows(body: Sequence[_Line]) -> int:
    """Leading body rows that go on with the header: no label and only words, with values further down."""
    count = 0
    for _, _, cells in body[:2]:
        words = [cell for cell in cells[1:] if cell]
        if cells[0] or not words or any(is_numeric(cell) for cell in words):
            break
        count += 1
    below = [cell for _, _, cells in body[count : count + 3] for cell in cells[1:] if cell]
    return count if any(_DIGIT.search(cell) for cell in below) else 0


def _header(levels: Sequence[tuple[str, ...]], width: int) -> tuple[str, ...]:
    """Parent headers span the empty cells to their right."""
    columns: list[list[str]] = [[] for _ in range(width)]
    for depth, cells in enumerate(levels):
        carried = ""
        for j, cell in enumerate(cells):
            carried = cell or (carried if j and depth < len(levels) - 1 else "")
            if carried and carried not in columns[j]:
                columns[j].append(carried)
    return tuple(": ".join(parts) for parts in columns)


def _grouped(body: Sequence[_Line]) -> Iterator[Row]:
    """Rows with only a label are headings of the rows below them."""
    group = ""
    for i, (start, end, cells) in enumerate(body):
        values = set(filter(None, cells[1:]))
        heading = len(cells) > 1 and cells[0] and values <= {cells[0]} and not is_numeric(cells[0])
        if heading and i + 1 < len(body):
            group = cells[0]
        else:
            yield Row(start, end, cells, group)


def _label_columns(rows: Sequence[Row], width: int) -> tuple[int, ...]:
    """The first column, and a second one of words where the first does not tell the rows apart."""
    if len({row.cells[0] for row in rows}) == len(rows):
        return (0,)
    for j in range(1, width):
        if all(not is_numeric(row.cells[j]) for row in rows):
            return (0, j)
    return (0,)
