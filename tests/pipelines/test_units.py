from typing import cast

import pytest

from sensorium.nodes import Evidence, Kind, NodeInfo, embedding_text, text_node
from sensorium.pipelines.units import tables, unit_spans, units

TWO_LEVELS = """\
| | Severe disability | | Not severe | |
|---|---|---|---|---|
| | Number | Margin of error | Number | Margin of error |
| Males | | | | |
| 15 to 24 | 1,234 | 2.1 | 55 | 3 |
| 25 to 44 | 2,468 | 1.9 | 66 | 4 |
| Females | | | | |
| 15 to 24 | 34 | 2.2 | 77 | 5 |"""


def cut(text: str, kind: str = "text") -> list[str]:
    return [text[u.start : u.end] for u in units(text, kind)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Dr. Smith met Mr. Jones at 5 p.m. on Monday. They agreed on everything.",
         ["Dr. Smith met Mr. Jones at 5 p.m. on Monday.", "They agreed on everything."]),
        ("See Fig. 3 and Table 2-1 for details. The U.S. Department of Energy paid $3.5 million.",
         ["See Fig. 3 and Table 2-1 for details.", "The U.S. Department of Energy paid $3.5 million."]),
        ("The system stores over 110,000 notes.It was announced in 1979.",  # OCR lost the blank
         ["The system stores over 110,000 notes.", "It was announced in 1979."]),
        ("• First point about black cats\n• Second point about brown dogs",
         ["• First point about black cats", "• Second point about brown dogs"]),
        ("The average household income was\n$52,587 in 1999 and fell in 2007. Income then rose again.",
         ["The average household income was\n$52,587 in 1999 and fell in 2007.", "Income then rose again."]),
        ("A long line of a paragraph that speaks about the average\nAmerican household and goes on. The end is near.",
         ["A long line of a paragraph that speaks about the average\nAmerican household and goes on.",
          "The end is near."]),
        ("Invoice date: 11/15/2019\nDue date: 12/15/2019\nCustomer: Oakhurst Golf Club",
         ["Invoice date: 11/15/2019", "Due date: 12/15/2019", "Customer: Oakhurst Golf Club"]),
    ],
)  # fmt: skip
def test_sentences(text: str, parts: list[str]) -> None:
    assert cut(text) == parts


def test_lines_of_a_slide_stand_alone() -> None:
    text = "Approved: 620,000\nSpent to date: 411,500\nReserve used up"
    assert cut(text, "slide") == text.split("\n")


def test_long_sentences_are_cut_into_readable_pieces() -> None:
    text = "; ".join(f"clause number {n} about something of interest" for n in range(30)) + "."
    pieces = units(text)
    assert all(0 < u.end - u.start <= 320 for u in pieces)
    assert "".join(text[u.start : u.end] for u in pieces).replace(" ", "") == text.replace(" ", "")


def test_rows_and_the_text_around_a_table() -> None:
    text = f"Employment of people with a disability.\n\n{TWO_LEVELS}\n\nSource: the census of the year 2010."
    found = units(text)
    assert [u.kind for u in found] == ["sentence", "row", "row", "row", "sentence"]
    assert text[found[3].start : found[3].end] == "| 15 to 24 | 34 | 2.2 | 77 | 5 |"


def test_parent_headers_and_row_groups_reach_every_cell() -> None:
    (table,) = tables(TWO_LEVELS)
    assert table.header[1:3] == ("Severe disability: Number", "Severe disability: Margin of error")
    assert [(row.group, row.cells[0]) for row in table.rows] == [
        ("Males", "15 to 24"), ("Males", "25 to 44"), ("Females", "15 to 24"),
    ]  # fmt: skip


def test_ragged_and_escaped_rows() -> None:
    (table,) = tables("| a | b |\n|---|---|\n| x \\| y | 1 | 2 |\n| z |")
    assert [row.cells for row in table.rows] == [("x | y", "1", "2"), ("z", "", "")]


@pytest.mark.parametrize("text", ["", " \n\n ", "| no | rule |\n| line | here |", "|---|---|", "|", "||||\n|-|"])
def test_nothing_to_parse(text: str) -> None:
    assert tables(text) == []
    assert all(text[u.start : u.end].strip() for u in units(text))


@pytest.mark.parametrize("kind", ["text", "table", "ocr", "slide"])
def test_spans_lie_in_the_embedded_text(kind: str) -> None:
    evidence = Evidence(source="a.pdf", sha256="0", media_type="application/pdf", kind=cast(Kind, kind), page=1)
    info = NodeInfo("doc", "root", 0, title="A title", section="Part > Chapter", caption="Table 1. Things")
    node = text_node(f"Some words before the table.\n\n{TWO_LEVELS}", evidence, info)
    whole = embedding_text(node)
    spans = unit_spans(node)
    assert [whole[a:b] for a, b in spans] == [node.text[u.start : u.end] for u in units(node.text, kind)]
    assert spans == sorted(spans)
