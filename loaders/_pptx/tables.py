"""Tables of slides as rows with a header, and rows as Markdown."""

from dataclasses import dataclass

from sensorium.loaders._pptx.markup import Element, Paragraph, find, find_all, number, paragraphs


@dataclass(frozen=True)
class Table:
    """Rows of equal length, the first one the header; the caption may be empty."""

    rows: list[list[str]]
    caption: str = ""

    def markdown(self) -> str:
        """A Markdown table; line breaks in cells become spaces, pipes are escaped."""
        lines = ["| " + " | ".join(_escape(cell) for cell in row) + " |" for row in self.rows]
        lines.insert(1, "|" + " --- |" * len(self.rows[0]))
        return "\n".join(lines)


def _escape(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")


def read_table(table: Element) -> Table | None:
    """Read `a:tbl`; None when no cell has text.

    A cell that spans rows is repeated in each, so that every row can be read alone. A heading that spans columns
    is repeated over them and joined with the row below ("2021 Q1"); one that spans the whole table is the caption;
    one further down (a section) stands in its first column only.
    """
    sources = find_all(table, "a:tr")
    rows = [[_cell_text(cell) for cell in find_all(row, "a:tc")] for row in sources]
    spans = [[number(cell, "gridSpan", 1) for cell in find_all(row, "a:tc")] for row in sources]
    _fill_down(rows, sources)
    width = max((len(row) for row in rows), default=0)
    rows = [row + [""] * (width - len(row)) for row in rows]
    caption = ""
    if len(rows) > 2 and width > 1 and spans[0][0] >= width:
        caption, rows, spans = rows[0][0], rows[1:], spans[1:]
    if len(rows) > 2 and any(span > 1 for span in spans[0]):
        rows = _join_headers(rows, spans[0])
    kept = [row for row in rows if any(row)]
    return Table(kept, caption) if kept else None


def _cell_text(cell: Element) -> str:
    return "\n".join(paragraph.text for paragraph in paragraphs(find(cell, "a:txBody")))


def _fill_down(rows: list[list[str]], sources: list[Element]) -> None:
    for index, row in enumerate(sources[1:], 1):
        for column, cell in enumerate(find_all(row, "a:tc")):
            if cell.get("vMerge") in ("1", "true") and column < len(rows[index - 1]):
                rows[index][column] = rows[index - 1][column]


def _join_headers(rows: list[list[str]], spans: list[int]) -> list[list[str]]:
    top, below = list(rows[0]), rows[1]
    for column, span in enumerate(spans):
        for follower in range(column + 1, min(column + span, len(top))):
            top[follower] = top[column]
    header = [upper if upper == lower else f"{upper} {lower}".strip()
              for upper, lower in zip(top, below, strict=True)]  # fmt: skip
    return [header, *rows[2:]]


def tabbed_tables(lines: list[Paragraph]) -> list[Table]:
    """Tables typed with tabs: three or more lines in a row, each cut by tabs into the same number of cells."""
    found: list[Table] = []
    run: list[list[str]] = []
    texts = [text for line in lines for text in line.text.split("\n")]
    for text in [*texts, ""]:
        cells = [cell.strip() for cell in text.split("\t") if cell.strip()]
        if run and len(cells) != len(run[0]):
            if len(run) >= 3:
                found.append(Table(run))
            run = []
        if len(cells) >= 2:
            run.append(cells)
    return found
