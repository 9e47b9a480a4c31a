"""The PDF loader on documents drawn here, and on the real corpus where it is."""

import io
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import ImageNode, TextNode
from PIL import Image, ImageDraw

from sensorium.errors import EvidenceError, LoadError
from sensorium.loaders.base import Fault, Limits, SourceFile, Tools, local_file
from sensorium.loaders.mupdf import import_pymupdf
from sensorium.loaders.pdf import PdfLoader
from sensorium.nodes import Evidence

pymupdf: Any = import_pymupdf()
LOREM = (
    "The harbour was quiet that morning and the boats lay still on the grey water while the keeper of the light "
    "walked down to the pier with his lamp and his dog and a letter for the captain of the northern ferry. "
)


def source(path: Path) -> SourceFile:
    return SourceFile(path, str(path.parent), path.name, "0" * 64, "application/pdf")


def read(path: Path, tools: Tools | None = None, **options: Any) -> tuple[list[TextNode], list[Fault]]:
    items = list(PdfLoader(**options).load(source(path), tools or Tools()))
    return [i for i in items if isinstance(i, TextNode)], [i for i in items if isinstance(i, Fault)]


def of_kind(nodes: Sequence[TextNode], kind: str) -> list[TextNode]:
    return [n for n in nodes if n.metadata["kind"] == kind]


def rows(table: TextNode) -> list[list[str]]:
    lines = [line for line in table.text.splitlines() if not set(line) <= set("|-")]
    return [[c.strip() for c in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines]


def colours(picture: Image.Image) -> list[tuple[int, int, int]]:
    data = picture.convert("RGB").tobytes()
    return list(zip(data[::3], data[1::3], data[2::3], strict=True))


class Folder:
    """Assets in a folder, named by number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []

    def put(self, data: bytes, suffix: str) -> str:
        name = f"{len(self.names)}{suffix}"
        (self.folder / name).write_bytes(data)
        self.names.append(name)
        return name

    def path(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., Path]:
    """Draws a document: each argument draws one page."""

    def make(*pages: Callable[[Any], None], name: str = "a.pdf", **save: Any) -> Path:
        document = pymupdf.open()
        for paint in pages:
            paint(document.new_page(width=600, height=800))
        path = tmp_path / name
        document.save(path, **save)
        document.close()
        return path

    return make


Draw = Callable[..., Path]


def write(page: Any, x: float, y: float, text: str, size: float = 10, **options: Any) -> None:
    page.insert_text((x, y), text, fontsize=size, **options)


def body(page: Any, x: float = 50, y: float = 200, width: float = 500, text: str = LOREM * 3) -> None:
    page.insert_textbox((x, y, x + width, y + 400), text, fontsize=10)


def cells(page: Any, x: float, y: float, table: Sequence[Sequence[str]], pitch: float = 16, wide: float = 80) -> None:
    for i, row in enumerate(table):
        for j, cell in enumerate(row):
            write(page, x + j * wide, y + i * pitch, cell)


# -- text -------------------------------------------------------------------------------------------------------


def test_columns_are_read_one_after_the_other(draw: Draw) -> None:
    def paint(page: Any) -> None:
        for k in range(12):
            write(page, 50, 100 + 14 * k, f"left words go here on line {k:02d} end")
            write(page, 320, 100 + 14 * k, f"right words go here on line {k:02d} end")

    nodes, _ = read(draw(paint))
    text = " ".join(n.text for n in nodes)
    assert text.index("left words go here on line 11") < text.index("right words go here on line 00")


def test_words_divided_at_a_line_end_are_joined(draw: Draw) -> None:
    def paint(page: Any) -> None:
        for k, line in enumerate(["The committee of the insti-", "tution met on Tuesday to talk about the", "budget."]):
            write(page, 50, 100 + 12 * k, line)

    nodes, _ = read(draw(paint))
    assert nodes[0].text == "The committee of the institution met on Tuesday to talk about the budget."


def test_running_headers_and_page_numbers_are_left_out(draw: Draw) -> None:
    def paint(n: int) -> Callable[[Any], None]:
        def page(page: Any) -> None:
            write(page, 50, 40, f"Annual report of the harbour, page {n}")
            write(page, 300, 780, str(n))
            body(page, text=f"Chapter text {n}. " + LOREM)

        return page

    nodes, _ = read(draw(*(paint(n) for n in range(1, 5))))
    text = "\n".join(n.text for n in nodes)
    assert "Annual report" not in text
    assert all(f"Chapter text {n}." in text for n in range(1, 5))


def test_headings_make_the_section_path_and_stay_in_the_text(draw: Draw) -> None:
    def paint(page: Any) -> None:
        write(page, 50, 80, "Harbours of the north", 20)
        body(page, y=100, text=LOREM)
        write(page, 50, 180, "Lights", 14)
        body(page, y=200, text=LOREM)

    nodes, _ = read(draw(paint))
    last = nodes[-1]
    assert last.metadata["section"] == "Harbours of the north > Lights"
    assert "Lights" in [n.text for n in nodes]


def test_outline_gives_levels_that_type_does_not_show(tmp_path: Path) -> None:
    document = pymupdf.open()
    page = document.new_page()
    for y, title in ((80, "Alpha"), (200, "Beta")):
        write(page, 50, y, title, 12, fontname="hebo")
        body(page, y=y + 10, text=LOREM)
    document.set_toc([[1, "Alpha", 1], [2, "Beta", 1]])
    document.save(tmp_path / "a.pdf")
    nodes, _ = read(tmp_path / "a.pdf")
    assert nodes[-1].metadata["section"] == "Alpha > Beta"


def test_labels_stay_with_their_values(draw: Draw) -> None:
    def paint(page: Any) -> None:
        pairs = [("Date:", "Jan 4, 2031"), ("Payment terms:", "Net 30 days"), ("Total:", "$127.50")]
        for k, (label, value) in enumerate(pairs):
            write(page, 300, 100 + 25 * k, label)
            write(page, 410, 100 + 25 * k, value)
        for k in range(3):
            write(page, 50, 100 + 25 * k, f"Street {k}")

    nodes, _ = read(draw(paint))
    assert "Payment terms: Net 30 days" in [n.text for n in nodes]
    assert "Total: $127.50" in [n.text for n in nodes]


def test_footnote_marks_do_not_become_digits_of_a_number(draw: Draw) -> None:
    def paint(page: Any) -> None:
        body(page, text=LOREM)
        page.insert_htmlbox((50, 400, 500, 450), "<p>The count of boats in 2010<sup>8</sup> was higher than ever.</p>")

    nodes, _ = read(draw(paint))
    text = " ".join(n.text for n in nodes)
    assert "2010⁸" in text
    assert "20108" not in text


def test_links_notes_forms_and_attachments(draw: Draw) -> None:
    def paint(page: Any) -> None:
        write(page, 50, 100, "The survey is on the web site of the harbour.")
        page.insert_link(
            {"kind": pymupdf.LINK_URI, "from": pymupdf.Rect(45, 88, 300, 104), "uri": "https://example.org/a"}
        )
        page.add_text_annot((300, 200), "Ask the keeper about this")
        field = pymupdf.Widget()
        field.field_name, field.field_type, field.field_value = "port", pymupdf.PDF_WIDGET_TYPE_TEXT, "Port Ellen"
        field.rect = pymupdf.Rect(50, 300, 200, 320)
        page.add_widget(field)
        page.parent.embfile_add("tides.csv", b"1,2")

    nodes, faults = read(draw(paint))
    assert nodes[0].metadata["links"] == "https://example.org/a"
    assert any("Port Ellen" in n.text for n in nodes)
    assert [n.text for n in nodes if n.metadata.get("role") == "annotation"] == ["Ask the keeper about this"]
    assert [str(f) for f in faults] == ["attachment tides.csv not indexed"]


def test_page_labels_are_kept_where_they_differ(tmp_path: Path) -> None:
    document = pymupdf.open()
    for _ in range(2):
        body(document.new_page())
    document.set_page_labels([{"startpage": 0, "prefix": "A-", "style": "D", "firstpagenum": 7}])
    document.save(tmp_path / "a.pdf")
    nodes, _ = read(tmp_path / "a.pdf")
    assert [n.metadata["page_label"] for n in nodes] == ["A-7", "A-8"]


# -- tables -----------------------------------------------------------------------------------------------------


def ruled(page: Any, x: float, y: float, widths: Sequence[float], heights: Sequence[float]) -> None:
    right, bottom = x + sum(widths), y + sum(heights)
    for k in range(len(widths) + 1):
        page.draw_line((x + sum(widths[:k]), y), (x + sum(widths[:k]), bottom))
    for k in range(len(heights) + 1):
        page.draw_line((x, y + sum(heights[:k])), (right, y + sum(heights[:k])))


def test_ruled_table_keeps_numbers_whole(draw: Draw) -> None:
    table = [["Item", "2019", "2020"], ["Boats", "389,933", "$127.50"], ["file_name", "1,204.5", "-0.3%"]]

    def paint(page: Any) -> None:
        write(page, 50, 90, "Table 4. Boats and money")
        ruled(page, 50, 100, [100, 100, 100], [20, 20, 20])
        cells(page, 55, 114, table, pitch=20, wide=100)
        body(page, y=300)

    nodes, _ = read(draw(paint))
    (found,) = of_kind(nodes, "table")
    assert rows(found) == table
    assert found.metadata["caption"] == "Table 4. Boats and money"


def test_header_rows_are_merged_and_wrapped_cells_joined(draw: Draw) -> None:
    def paint(page: Any) -> None:
        html = """<table><tr><th rowspan=2>Region</th><th colspan=2>2023</th><th colspan=2>2024</th></tr>
            <tr><th>Sales</th><th>Share</th><th>Sales</th><th>Share</th></tr>
            <tr><td>North America and the long chain of islands in the sea south of it</td><td>1,200</td><td>40%</td>
            <td>1,400</td><td>42%</td></tr>
            <tr><td>Europe</td><td>900</td><td>30%</td><td></td><td>33%</td></tr></table>"""
        css = "table{border-collapse:collapse} td,th{border:1px solid black;padding:3px}"
        page.insert_htmlbox((50, 100, 500, 400), html, css=css)

    nodes, _ = read(draw(paint))
    (found,) = of_kind(nodes, "table")
    header, first, second = rows(found)
    assert header == ["Region", "2023 Sales", "2023 Share", "2024 Sales", "2024 Share"]
    label = "North America and the long chain of islands in the sea south of it"
    assert first == [label, "1,200", "40%", "1,400", "42%"]
    assert second == ["Europe", "900", "30%", "", "33%"]


def test_table_without_rules_carries_section_labels_into_its_rows(draw: Draw) -> None:
    def paint(page: Any) -> None:
        body(page, y=400)
        write(page, 130, 100, "Number")
        write(page, 230, 100, "Percent")
        lines = [("Aged 21 to 64", 50, ("170,349", "100.0")), ("Severe disability", 58, ("18,705", "11.0"))]
        lines += [("Employed", 66, ("5,738", "30.7")), ("No disability", 58, ("142,208", "83.5"))]
        lines += [("Aged 65 and older", 50, ("35,028", "100.0")), ("With a disability", 58, ("18,132", "51.8"))]
        for k, (label, x, values) in enumerate(lines):
            write(page, x, 116 + 14 * k, label)
            write(page, 170, 116 + 14 * k, values[0])
            write(page, 235, 116 + 14 * k, values[1])

    nodes, _ = read(draw(paint))
    (found,) = of_kind(nodes, "table")
    got = {r[0]: r[1:] for r in rows(found)[1:]}
    assert got["Aged 21 to 64 — Severe disability — Employed"] == ["5,738", "30.7"]
    assert got["Aged 21 to 64 — No disability"] == ["142,208", "83.5"]
    assert got["Aged 65 and older — With a disability"] == ["18,132", "51.8"]


def test_table_of_words_without_rules(draw: Draw) -> None:
    table = [["Name", "Role", "City"], ["Ann Lee", "Engineer", "Oslo"], ["Bo Chan", "Writer", "Rome"]]

    def paint(page: Any) -> None:
        cells(page, 50, 100, table, wide=120)
        body(page, y=300)

    nodes, _ = read(draw(paint))
    assert [rows(t) for t in of_kind(nodes, "table")] == [table]


def test_three_columns_of_text_are_no_table(draw: Draw) -> None:
    def paint(page: Any) -> None:
        for x in (40, 220, 400):
            body(page, x=x, y=100, width=160)

    nodes, _ = read(draw(paint))
    assert {n.metadata["kind"] for n in nodes} == {"text"}


# -- figures ----------------------------------------------------------------------------------------------------


def plot(page: Any) -> None:
    page.draw_rect((100, 100, 300, 250))
    page.draw_polyline([(100, 240), (150, 180), (200, 200), (290, 110)], color=(1, 0, 0), width=2)
    for k, label in enumerate(["1990", "2000", "2010"]):
        write(page, 110 + 80 * k, 262, label, 8)
    write(page, 100, 290, "Figure 3. Height of the tide by year.", 9)
    body(page, y=320)


def test_drawing_is_a_figure_with_labels_caption_and_picture(draw: Draw, tmp_path: Path) -> None:
    assets = Folder(tmp_path)
    nodes, _ = read(draw(plot), Tools(assets=assets))
    (figure,) = of_kind(nodes, "figure")
    assert isinstance(figure, ImageNode)
    assert figure.text == "1990 2000 2010"
    assert figure.metadata["caption"] == "Figure 3. Height of the tide by year."
    x0, y0, x1, y1 = figure.metadata["bbox"]
    assert (x0 * 600, y0 * 800) == pytest.approx((100, 100), abs=3)
    assert x1 * 600 == pytest.approx(300, abs=3)
    assert 250 < y1 * 800 < 275
    with Image.open(str(figure.image_path)) as picture:
        assert any(r > 200 and g < 60 and b < 60 for r, g, b in colours(picture))


def test_without_an_asset_store_a_figure_points_at_its_file(draw: Draw) -> None:
    path = draw(plot)
    (figure,) = of_kind(read(path)[0], "figure")
    assert isinstance(figure, ImageNode)
    assert figure.image_path == str(path)


def test_logo_on_every_page_is_no_figure(draw: Draw) -> None:
    out = io.BytesIO()
    Image.effect_noise((90, 60), 60).save(out, "PNG")

    def paint(page: Any) -> None:
        page.insert_image((40, 90, 220, 210), stream=out.getvalue())
        body(page, y=300, text=f"Page {page.number}. " + LOREM)

    nodes, faults = read(draw(*[paint] * 4))
    assert not of_kind(nodes, "figure")
    assert not faults


# -- OCR --------------------------------------------------------------------------------------------------------


def printed(words: Sequence[str], size: tuple[int, int] = (1200, 1600)) -> bytes:
    """A picture of printed text, for scans."""
    from PIL import ImageFont

    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    for k, line in enumerate(words):
        pen.text((120, 150 + 60 * k), line, fill="black", font=ImageFont.load_default(38))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


SCAN = ["The lighthouse keeper wrote the log by hand", "and the ferry came at seven every evening."]


def scan(page: Any) -> None:
    page.insert_image(page.rect, stream=printed(SCAN))


def test_scanned_page_is_recognised(draw: Draw) -> None:
    from sensorium.models.ocr import RapidOcr

    nodes, faults = read(draw(scan), Tools(ocr=RapidOcr("tiny", fallback=False)))
    assert not faults
    text = " ".join(n.text for n in of_kind(nodes, "ocr"))
    assert "lighthouse keeper" in text
    assert "seven every evening" in text
    x0, y0, x1, y1 = nodes[0].metadata["bbox"]
    assert 0.05 < x0 < 0.15
    assert 0.06 < y0 < 0.12
    assert x1 < 0.95
    assert y1 < 0.2
    assert 0.5 < nodes[0].metadata["ocr_score"] <= 1


@pytest.mark.parametrize("options", [{}, {"ocr": "off"}])
def test_scanned_page_without_ocr_is_a_fault(draw: Draw, options: dict[str, Any]) -> None:
    def text(page: Any) -> None:
        body(page)

    nodes, faults = read(draw(text, scan), **options)
    assert [f.where for f in faults] == ["page 2"]
    assert "OCR" in faults[0].reason
    assert {n.metadata["page"] for n in nodes} == {1}


# -- places -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_boxes_and_pictures_are_right_on_rotated_and_cropped_pages(tmp_path: Path, rotation: int) -> None:
    document = pymupdf.open()
    page = document.new_page(width=600, height=800)
    turned = pymupdf.Point(200, 300)
    page.insert_text(turned, "TARGET", fontsize=24, color=(1, 0, 0), rotate=rotation)
    page.insert_text((60, 560), "decoy", fontsize=24, color=(0, 0, 1), rotate=rotation)
    document.xref_set_key(page.xref, "MediaBox", "[-50 -20 550 780]")
    document.xref_set_key(page.xref, "CropBox", "[0 50 500 700]")
    page.set_rotation(rotation)
    path = tmp_path / "a.pdf"
    document.save(path)

    nodes, _ = read(path)
    node = next(n for n in nodes if n.text == "TARGET")
    x0, y0, x1, y1 = node.metadata["bbox"]
    crop = PdfLoader().picture(source(path), Evidence.of(node))
    with Image.open(io.BytesIO(crop.data)) as opened:
        strong = [(r, b) for r, g, b in colours(opened) if g < 128]
    assert any(r > 200 > b for r, b in strong)
    assert not any(b > 200 > r for r, b in strong)

    with pymupdf.open(path) as again:
        shown = again[0]
        box = shown.search_for("TARGET")[0] * shown.rotation_matrix
        box.normalize()
        middle = ((box.x0 + box.x1) / 2 / shown.rect.width, (box.y0 + box.y1) / 2 / shown.rect.height)
    assert x0 < middle[0] < x1
    assert y0 < middle[1] < y1
    assert (x1 - x0) * (y1 - y0) < 0.05


def test_sideways_table_on_an_upright_page_is_read_upright(tmp_path: Path) -> None:
    document = pymupdf.open()
    page = document.new_page(width=600, height=800)
    lines = [("Port", "Boats", "Tons"), ("Ellen", "1,204", "33.1"), ("Askaig", "877", "20.4"), ("Oban", "12", "0.9")]
    for i, line in enumerate(lines):
        for j, cell in enumerate(line):
            page.insert_text((200 + 20 * i, 700 - 120 * j), cell, fontsize=10, rotate=90)
    path = tmp_path / "a.pdf"
    document.save(path)
    (table,) = of_kind(read(path)[0], "table")
    assert rows(table) == [list(line) for line in lines]
    x0, y0, x1, y1 = table.metadata["bbox"]
    assert x1 - x0 < y1 - y0
    assert x0 < 230 / 600 < x1
    assert y0 < 600 / 800 < y1


def test_picture_of_a_page_and_of_nothing(draw: Draw) -> None:
    path = draw(lambda page: body(page))
    loader = PdfLoader()
    place = Evidence(source="a.pdf", sha256="0" * 64, media_type="application/pdf", kind="text", page=1)
    whole = loader.picture(source(path), place)
    with Image.open(io.BytesIO(whole.data)) as opened:
        assert opened.size == (1250, 1667)
    with pytest.raises(EvidenceError, match="1 pages"):
        loader.picture(source(path), place.model_copy(update={"page": 9}))


# -- bad input --------------------------------------------------------------------------------------------------


def test_password(draw: Draw) -> None:
    secret = {"encryption": pymupdf.PDF_ENCRYPT_AES_256, "user_pw": "tide", "owner_pw": "moon"}
    path = draw(lambda page: body(page), **secret)
    with pytest.raises(LoadError, match="password is needed"):
        read(path)
    with pytest.raises(LoadError, match="password given is wrong"):
        read(path, password="ebb")
    nodes, _ = read(path, password="tide")
    assert "harbour" in nodes[0].text
    assert PdfLoader(password="tide").picture(source(path), Evidence.of(nodes[0])).data
    with pytest.raises(EvidenceError, match="password"):
        PdfLoader().picture(source(path), Evidence.of(nodes[0]))


def test_files_that_are_no_pdf(tmp_path: Path, draw: Draw) -> None:
    picture = tmp_path / "picture.pdf"
    Image.new("RGB", (40, 40)).save(picture, "JPEG")
    whole = draw(lambda page: body(page)).read_bytes()
    (tmp_path / "cut.pdf").write_bytes(whole[:200])
    (tmp_path / "empty.pdf").write_bytes(b"")
    (tmp_path / "words.pdf").write_bytes(b"these are words")
    for name in ("picture.pdf", "cut.pdf", "empty.pdf", "words.pdf", "missing.pdf"):
        with pytest.raises(LoadError):
            read(tmp_path / name)


def test_damaged_file_gives_what_there_is_silently(draw: Draw, capfd: pytest.CaptureFixture[str]) -> None:
    path = draw(lambda page: body(page))
    path.write_bytes(path.read_bytes().replace(b"startxref", b"startxxxx"))
    nodes, faults = read(path)
    assert "harbour" in nodes[0].text
    assert any("damaged" in f.reason for f in faults)
    assert capfd.readouterr() == ("", "")


def test_page_limit_and_huge_pages(tmp_path: Path) -> None:
    document = pymupdf.open()
    for _ in range(3):
        body(document.new_page(width=14400, height=14400), y=5000)
    document.save(tmp_path / "a.pdf")
    nodes, faults = read(tmp_path / "a.pdf", Tools(limits=Limits(pages=2)))
    assert {n.metadata["page"] for n in nodes} == {1, 2}
    assert "2 of 3 pages" in faults[0].reason
    place = Evidence.of(nodes[0]).model_copy(update={"bbox": None})
    assert PdfLoader().picture(source(tmp_path / "a.pdf"), place).data


def test_document_without_content_is_not_silent(draw: Draw) -> None:
    nodes, faults = read(draw(lambda page: None))
    assert not nodes
    assert "no text" in faults[0].reason


def test_memory_does_not_grow_with_the_pages(tmp_path: Path) -> None:
    def peak(pages: int) -> int:
        document = pymupdf.open()
        for n in range(pages):
            body(document.new_page(), text=f"Page {n}. " + LOREM * 4)
        path = tmp_path / f"{pages}.pdf"
        document.save(path)
        tracemalloc.start()
        for _ in PdfLoader().load(source(path), Tools()):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(2)
    assert peak(160) < 1.25 * peak(40)


def test_same_ids_on_every_run(draw: Draw) -> None:
    loader, file = PdfLoader(), local_file(draw(plot))
    first, second = ([n.node_id for n in loader.load(file, Tools()) if isinstance(n, TextNode)] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first) > 1


def test_the_layout_model_is_not_imported_unasked(draw: Draw) -> None:
    code = (
        "import sys; from pathlib import Path; from sensorium.loaders.base import Tools, local_file;"
        "from sensorium.loaders.pdf import PdfLoader;"
        "list(PdfLoader().load(local_file(Path(sys.argv[1])), Tools()));"
        "print([m for m in ('pymupdf.layout', 'pymupdf4llm', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(draw(plot))], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_layout_always_still_reads_the_page(draw: Draw) -> None:
    nodes, faults = read(draw(plot), layout="always")
    assert not faults
    assert "harbour" in " ".join(n.text for n in of_kind(nodes, "text"))
    assert len(of_kind(nodes, "figure")) == 1


# -- the corpus -------------------------------------------------------------------------------------------------

# Page and region (in points) of tables whose rows are known by their words; None: all of the page.
REGIONS = [
    ("gsa-ocsit-2011", 2, (60, 488, 540, 715)), ("nrel-driving-fuel", 2, (110, 555, 500, 680)),
    ("census-disability-2010", 1, (150, 300, 562, 572)), ("census-disability-2010", 3, (50, 90, 560, 258)),
    ("nics-background-checks-2015-11", 1, (100, 80, 980, 484)), ("mmwr-inequality-2011", 2, (190, 120, 575, 275)),
    ("invoice-maystone", 1, (40, 280, 590, 560)),
]  # fmt: skip
VALUE = re.compile(r"(\**[$–-]?\$?[\d,.]*\d%?|\(X\)|\*{5}|–)\.?")


def numbers_of(page: Any, clip: tuple[float, float, float, float]) -> list[list[str]]:
    """The numbers of each line in a region, from the words of the page: what the table's rows must hold."""
    lines: list[tuple[float, list[Any]]] = []
    for w in sorted(page.get_text("words", clip=pymupdf.Rect(clip)), key=lambda w: w[1] + w[3]):
        y = (w[1] + w[3]) / 2
        if lines and abs(y - lines[-1][0]) < 3.2:
            lines[-1][1].append(w)
        else:
            lines.append((y, [w]))
    found = [[w[4] for w in sorted(ws) if VALUE.fullmatch(w[4])] for _, ws in lines]
    return [n for n in found if len(n) >= 2 and not all(re.fullmatch(r"(19|20)\d\d", v) for v in n)]


def test_rows_of_real_tables_have_every_number_right(corpus: Path) -> None:
    shares = []
    for name, number, clip in REGIONS:
        path = corpus / "pdf" / f"{name}.pdf"
        with pymupdf.open(path) as document:
            wanted = numbers_of(document[number - 1], clip)
        nodes, _ = read(path, layout="off")
        tables = [t for t in of_kind(nodes, "table") if t.metadata["page"] == number]
        got = [[c for c in row[1:] if VALUE.fullmatch(c)] for t in tables for row in rows(t)]
        got += [[c for c in row if VALUE.fullmatch(c)] for t in tables for row in rows(t)]
        shares.append(sum(w in got for w in wanted) / len(wanted))
    assert sum(shares) / len(shares) >= 0.95, list(zip(REGIONS, shares, strict=True))


def test_every_real_pdf_is_read_with_valid_places(corpus: Path) -> None:
    for path in sorted((corpus / "pdf").glob("*.pdf")):
        nodes, faults = read(path)
        assert nodes or faults
        assert all(Evidence.of(n).bbox is not None and Evidence.of(n).page for n in nodes)
        assert all("OCR" in f.reason for f in faults), faults
