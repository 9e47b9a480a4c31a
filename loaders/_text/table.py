"""CSV and TSV: tables of some rows each, read as a stream."""

import csv
import re
from collections.abc import Iterator
from itertools import chain
from typing import TextIO

from sensorium.loaders._text.parts import Part, markdown_table

_SAMPLE = 65536
_LONGEST_FIELD = 1 << 20
_NUMBER = re.compile(r"[-+]?[$€£]?\s?[\d.,\s]*\d\s?%?")
# A part of a table stays about below this many characters, whatever its number of rows.
_LONGEST = 6000

Row = tuple[int, list[str]]


class TableError(ValueError):
    """The table cannot be read on from some line; the message says which."""


def table_parts(stream: TextIO, separator: str | None, rows: int, title: str) -> Iterator[Part]:
    """The table as Markdown tables of up to `rows` rows, each with the header.

    Args:
        stream: Opened with `newline=""`.
        separator: Between fields; None: found from the first lines.
        rows: Rows of one part.
        title: Title of the document.

    Raises:
        TableError: a field is longer than a megabyte.
    """
    sample = stream.read(_SAMPLE)
    stream.seek(0)
    csv.field_size_limit(_LONGEST_FIELD)
    lines = _lines(stream, separator or _separator(sample))
    first = next(lines, None)
    if first is None:
        return
    if _names_columns(first[1]):
        header = first[1]
    else:
        header = [f"column {n}" for n in range(1, len(first[1]) + 1)]
        lines = chain([first], lines)
    done = 0
    for chunk in _chunks(lines, rows):
        yield _part(header, chunk, done, title)
        done += len(chunk)
    if not done:
        yield Part(markdown_table([header]), "table", line=first[0], title=title)


def _separator(sample: str) -> str:
    """The separator that parts the first lines most evenly; a comma where there is none."""
    try:
        return csv.Sniffer().sniff(sample, delimiters=",;\t|").delimiter
    except csv.Error:
        return max(",;\t|", key=sample.count)


def _lines(stream: TextIO, separator: str) -> Iterator[Row]:
    """Rows that hold something, each with its first line in the file."""
    reader = csv.reader(stream, delimiter=separator)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as fault:
            raise TableError(f"line {number}: {fault}; the rest is not read") from fault
        if any(cell.strip() for cell in row):
            yield number, row


def _names_columns(row: list[str]) -> bool:
    """Whether a first row is a header: words, no numbers (years as column names apart)."""
    filled = [cell.strip() for cell in row if cell.strip()]
    numbers = [cell for cell in filled if _NUMBER.fullmatch(cell)]
    years = [cell for cell in numbers if re.fullmatch(r"(19|20)\d\d", cell)]
    return len(numbers) == len(years) and len(years) < max(2, len(filled))


def _chunks(lines: Iterator[Row], rows: int) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    size = 0
    for row in lines:
        if chunk and (len(chunk) >= rows or size > _LONGEST):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += sum(len(cell) + 3 for cell in row[1])
    if chunk:
        yield chunk


def _part(header: list[str], chunk: list[Row], done: int, title: str) -> Part:
    table = markdown_table([header, *(cells for _, cells in chunk)])
    extra = {"row_start": done + 1, "row_end": done + len(chunk)}
    return Part(table, "table", line=chunk[0][0], title=title, extra=extra)
