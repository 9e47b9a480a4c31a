"""What the text formats yield, and what they share."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

# A passage longer than this, in characters, is cut: what the splitter gets stays small whatever the file holds.
LONGEST = 4000


@dataclass(frozen=True)
class Part:
    """A passage or table of a text file.

    Attributes:
        text: The passage, or the table as Markdown.
        kind: Which of both.
        section: Heading path, joined by " > ".
        line: Its first line in the file, from 1; 0: unknown.
        caption: Caption of a table.
        title: Title of the document, as far as it is known by now.
        extra: More metadata.
    """

    text: str
    kind: Literal["text", "table"] = "text"
    section: str = ""
    line: int = 0
    caption: str = ""
    title: str = ""
    extra: dict[str, int] = field(default_factory=dict)


class Headings:
    """The path of headings above a passage. A heading with nothing below it is given back as a passage."""

    def __init__(self) -> None:
        self._path: list[tuple[int, str]] = []
        self._bare: tuple[int, Part] | None = None

    def enter(self, level: int, heading: str, line: int = 0) -> Iterator[Part]:
        """A heading of a level (1 is the highest) begins."""
        if self._bare and level <= self._bare[0]:
            yield self._bare[1]
        self._path = [(lv, text) for lv, text in self._path if lv < level]
        if heading:
            self._bare = (level, Part(heading, section=str(self), line=line))
            self._path.append((level, heading))

    def below(self) -> str:
        """The path for a passage that stands here."""
        self._bare = None
        return str(self)

    def end(self) -> Iterator[Part]:
        """The document is over."""
        if self._bare:
            yield self._bare[1]

    def __str__(self) -> str:
        return " > ".join(text for _, text in self._path)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table, the first being the header; short rows are filled up."""
    width = max(len(row) for row in rows)
    lines = [_row([*row, *[""] * (width - len(row))]) for row in rows]
    return "\n".join([lines[0], "|" + "---|" * width, *lines[1:]])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def pieces(text: str) -> Iterator[str]:
    """A long passage cut at line ends, sentence ends or blanks, whichever comes last before the limit."""
    while len(text) > LONGEST:
        cut = LONGEST
        for pattern in (r"\n", r"[.!?]\s", r"\s"):
            ends = [m.end() for m in re.finditer(pattern, text[LONGEST // 2 : LONGEST])]
            if ends:
                cut = LONGEST // 2 + ends[-1]
                break
        yield text[:cut].strip("\n")
        text = text[cut:]
    if text.strip():
        yield text.strip("\n")


def linked(label: str, url: str) -> str:
    """A link as text: "label (url)"; only the label for links inside the document or to itself."""
    if not re.match(r"(?i)(https?|ftp|mailto):", url) or url.removeprefix("mailto:") == label.strip():
        return label
    return f"{label} ({url})" if label.strip() else url
