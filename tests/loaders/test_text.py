"""Plain text, Markdown, HTML and CSV as located nodes."""

from pathlib import Path

import pytest
from llama_index.core.schema import TextNode

from sensorium.errors import LoadError
from sensorium.loaders.base import Fault, Tools, local_file
from sensorium.loaders.text import TextLoader
from sensorium.nodes import Evidence

TOOLS = Tools()


def load(path: Path, content: str | bytes, rows: int = 50) -> tuple[list[TextNode], list[Fault]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    items = list(TextLoader(rows=rows).load(local_file(path), TOOLS))
    return [i for i in items if isinstance(i, TextNode)], [i for i in items if isinstance(i, Fault)]


def test_plain_text_comes_in_paragraphs_with_their_lines(tmp_path: Path) -> None:
    nodes, faults = load(tmp_path / "a.txt", "First paragraph\nin two lines.\n\n\nSecond one.\r\n")
    assert [(n.text, n.metadata["line"]) for n in nodes] == [
        ("First paragraph\nin two lines.", 1),
        ("Second one.", 5),
    ]
    assert not faults
    assert {n.metadata["kind"] for n in nodes} == {"text"}
    assert "page" not in nodes[0].metadata
    assert "bbox" not in nodes[0].metadata


def test_wrapped_prose_is_joined_and_lists_are_not(tmp_path: Path) -> None:
    wrapped = (
        "The ducks of the northern marsh were counted in\nspring by two observers who walked the shore on\n"
        "foot and wrote down what they saw."
    )
    nodes, _ = load(tmp_path / "a.txt", f"{wrapped}\n\n- one item\n- another item\n")
    assert nodes[0].text == wrapped.replace("\n", " ")
    assert nodes[1].text == "- one item\n- another item"


def test_a_text_without_any_break_is_cut(tmp_path: Path) -> None:
    nodes, _ = load(tmp_path / "a.txt", "word " * 40000)
    assert len(nodes) > 20
    assert max(len(n.text) for n in nodes) <= 4000
    assert sum(len(n.text.split()) for n in nodes) == 40000


@pytest.mark.parametrize(
    ("encoding", "fault"),
    [("utf-8", None), ("utf-8-sig", None), ("utf-16", None), ("cp1252", "Windows-1252")],
)
def test_encodings(tmp_path: Path, encoding: str, fault: str | None) -> None:
    nodes, faults = load(tmp_path / "a.txt", "Café “naïve”, 12 €".encode(encoding))
    assert nodes[0].text == "Café “naïve”, 12 €"
    assert (fault in str(faults[0])) if fault else not faults


def test_invalid_utf8_far_into_the_file_is_found(tmp_path: Path) -> None:
    nodes, faults = load(tmp_path / "a.txt", b"plain ascii\n\n" * 10000 + "Köln".encode("latin-1"))
    assert nodes[-1].text == "Köln"
    assert len(faults) == 1


@pytest.mark.parametrize("content", [b"text\n" * 20000 + b"\0\0", b"   \n\n  \n"])
def test_binary_and_blank_files_fail(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(LoadError, match=r"NUL bytes|no text"):
        load(tmp_path / "a.txt", content)


MARKDOWN = """---
title: "Field guide"
---
# Guide

Intro with a [link](https://example.org/a), [anchor](#b) and ![a duck](duck.png).

## Ducks

| Name | Count |
|------|------:|
| Mallard | 12,300 |
| Blue \\| teal | 4 |

1. one
2. two
   - nested

```python
x = 1

y = 2
```

## Empty
## Geese

> quoted
"""


def test_markdown_keeps_headings_tables_code_and_links(tmp_path: Path) -> None:
    nodes, _ = load(tmp_path / "a.md", MARKDOWN)
    got = [(n.metadata["kind"], n.metadata.get("section"), n.metadata["line"], n.text) for n in nodes]
    assert got == [
        ("text", "Guide", 6, "Intro with a link (https://example.org/a), anchor and a duck."),
        (
            "table",
            "Guide > Ducks",
            10,
            "| Name | Count |\n|---|---|\n| Mallard | 12,300 |\n| Blue \\| teal | 4 |",
        ),
        ("text", "Guide > Ducks", 15, "1. one\n2. two\n  - nested"),
        ("text", "Guide > Ducks", 19, "```python\nx = 1\n\ny = 2\n```"),
        ("text", "Guide", 25, "Empty"),
        ("text", "Guide > Geese", 28, "quoted"),
    ]
    assert nodes[0].metadata["title"] == "Field guide"


HTML = """<!DOCTYPE html><html><head><title>Price  list</title><style>p {color: red}</style></head><body>
<script>document.write("scripted")</script><nav>Home About</nav>
<h1>Prices</h1><p>Valid from <b>May</b>
2024.<br>See <a href="https://example.org/">the site</a>.</p>
<div>loose <span>words</span><p>inner paragraph</p>tail</div>
<h2>Goods</h2>
<table><caption>In euros</caption><tr><th>Item</th><th colspan="2">Cost</th></tr>
<tr><td rowspan="2">Pen</td><td>1</td><td>2</td></tr><tr><td>3</td><td>4|5</td></tr></table>
<ul><li>red<ul><li>dark</li></ul></li><li>blue</li></ul>
<img src="https://example.org/fox.png" alt="A red fox">
<p style="display:none">secret</p><!-- comment --><pre>a
  b</pre></body></html>"""


def test_html_reads_as_a_person_sees_it(tmp_path: Path) -> None:
    nodes, _ = load(tmp_path / "a.html", HTML)
    assert [(n.metadata["section"], n.text) for n in nodes] == [
        ("Prices", "Valid from May 2024.\nSee the site (https://example.org/)."),
        ("Prices", "loose words"),
        ("Prices", "inner paragraph"),
        ("Prices", "tail"),
        ("Prices > Goods", "| Item | Cost | Cost |\n|---|---|---|\n| Pen | 1 | 2 |\n| Pen | 3 | 4\\|5 |"),
        ("Prices > Goods", "- red\n  - dark\n- blue"),
        ("Prices > Goods", "A red fox"),
        ("Prices > Goods", "```\na\n  b\n```"),
    ]
    table = nodes[4].metadata
    assert (table["kind"], table["caption"], table["title"]) == ("table", "In euros", "Price list")


def test_html_says_its_own_encoding(tmp_path: Path) -> None:
    page = '<html><head><meta charset="iso-8859-2"></head><body><p>Łódź</p></body></html>'
    nodes, _ = load(tmp_path / "a.html", page.encode("iso-8859-2"))
    assert nodes[0].text == "Łódź"


@pytest.mark.parametrize("tag", ["div", "b", "ul><li", "table><tr><td"])
def test_deeply_nested_html_is_read(tmp_path: Path, tag: str) -> None:
    nodes, _ = load(tmp_path / "a.html", f"<html><body>{f'<{tag}>' * 1000}at the bottom")
    assert any("at the bottom" in n.text for n in nodes)


def test_csv_parts_repeat_the_header_and_say_their_rows(tmp_path: Path) -> None:
    lines = ["City;Year;Sum", *(f'"Town {i}; old";2020;{i},50' for i in range(1, 121))]
    nodes, _ = load(tmp_path / "towns.csv", "\n".join(lines), rows=50)
    spans = [(n.metadata["row_start"], n.metadata["row_end"], n.metadata["line"]) for n in nodes]
    assert spans == [(1, 50, 2), (51, 100, 52), (101, 120, 102)]
    assert all(n.text.startswith("| City | Year | Sum |\n|---|---|---|\n") for n in nodes)
    assert "| Town 51; old | 2020 | 51,50 |" in nodes[1].text
    assert {n.metadata["kind"] for n in nodes} == {"table"}


def test_ragged_and_headless_tables(tmp_path: Path) -> None:
    ragged, _ = load(tmp_path / "a.csv", "Name,Count\nduck\ngoose,2,extra\n")
    assert ragged[0].text == "| Name | Count |  |\n|---|---|---|\n| duck |  |  |\n| goose | 2 | extra |"
    headless, _ = load(tmp_path / "b.tsv", "1\t2\n3\t4\n")
    assert headless[0].text == "| column 1 | column 2 |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |"
    only_header, _ = load(tmp_path / "c.csv", "Name,Count\n")
    assert only_header[0].text == "| Name | Count |\n|---|---|"


def test_a_csv_with_an_endless_field_keeps_what_came_before(tmp_path: Path) -> None:
    good = "".join(f"{i},duck\n" for i in range(60))
    nodes, faults = load(tmp_path / "a.csv", f'id,name\n{good}61,"{"x" * 2_000_000}\n', rows=20)
    assert [n.metadata["row_end"] for n in nodes][:2] == [20, 40]
    assert "line 62" in str(faults[0])


def test_a_large_csv_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    with path.open("w") as out:
        out.write("a,b\n")
        out.writelines(f"{i},{i}\n" for i in range(200_000))
    nodes = TextLoader().load(local_file(path), TOOLS)
    first = next(nodes)
    assert isinstance(first, TextNode)
    assert first.metadata["row_end"] == 50


def test_the_picture_of_a_text_is_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("Grüße".encode("latin-1"))
    file = local_file(path)
    node = next(i for i in TextLoader().load(file, TOOLS) if isinstance(i, TextNode))
    picture = TextLoader().picture(file, Evidence.of(node))
    assert (picture.data.decode(), picture.media_type) == ("Grüße", "text/plain")


def test_it_is_a_llamaindex_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("# Ducks\n\nA duck.\n")
    documents = TextLoader().load_data(path, extra_info={"owner": "me"})
    assert documents[0].text == "A duck."
    assert documents[0].metadata["owner"] == "me"
    assert documents[0].metadata["section"] == "Ducks"
