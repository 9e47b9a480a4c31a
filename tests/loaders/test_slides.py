"""The slides loader: text, order, tables and charts, accounting, hostile files, the real decks."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from llama_index.core.schema import TextNode
from PIL import Image
from pptx.enum.chart import XL_CHART_TYPE
from pptx.oxml import parse_xml
from pptx.util import Inches
from tests.loaders.decks import (
    NS,
    PPTX,
    Deck,
    R,
    add_chart,
    add_frame,
    add_part,
    box,
    categories,
    faults,
    image_bytes,
    needs_office,
    of_kind,
    png,
    source,
    tiny,
)

from sensorium.errors import LoadError
from sensorium.loaders.base import Item, Limits, Tools
from sensorium.loaders.slides import SlidesLoader
from sensorium.nodes import embedding_text


@pytest.fixture
def deck(tmp_path: Path) -> Deck:
    return Deck(tmp_path)


def test_text_is_in_reading_order_title_first(deck: Deck) -> None:
    slide = deck.slide("Harbour plan")
    box(slide, 5, 2.1, 3, 1, "right")
    box(slide, 1, 5, 3, 1, "below\vbroken")
    box(slide, 1, 2.0, 3, 1, "left")
    (node,) = of_kind(deck.load(), "slide")
    assert node.text == "Harbour plan\n\nleft\n\nright\n\nbelow\nbroken"
    assert node.metadata["slide"] == 1
    assert node.metadata["section"] == "Harbour plan"
    x0, y0, x1, y1 = node.metadata["bbox"]
    assert 0 <= x0 < 0.11
    assert y0 < 0.1
    assert x1 > 0.79
    assert y1 == pytest.approx(6 / 7.5, abs=0.01)


def test_list_levels_are_indented_and_furniture_is_left_out(deck: Deck) -> None:
    slide = deck.slide("Points", layout=1)
    frame = slide.placeholders[1].text_frame
    frame.text = "first"
    inner = frame.add_paragraph()
    inner.text, inner.level = "second", 1
    footer = box(slide, 1, 7, 3, 0.3, "page 1 of a thousand")
    properties = footer._element.nvSpPr.nvPr
    properties.append(parse_xml(f'<p:ph {NS} type="ftr" idx="11"/>'))
    (node,) = of_kind(deck.load(), "slide")
    assert node.text == "Points\n\nfirst\n  second"


def test_groups_are_composed(deck: Deck) -> None:
    slide = deck.slide("Groups")
    outer = slide.shapes.add_group_shape()
    inner = outer.shapes.add_group_shape()
    text = inner.shapes.add_textbox(Inches(0), Inches(0), Inches(1), Inches(1))
    text.text_frame.text = "deep"
    for group, where in ((inner, (0, 0, 2, 2)), (outer, (4, 3, 4, 4))):
        group.left, group.top, group.width, group.height = (Inches(v) for v in where)
    for group, extent in ((inner, 1), (outer, 2)):
        place = group._element.grpSpPr.xfrm
        place.chOff.x = place.chOff.y = 0
        place.chExt.cx = place.chExt.cy = Inches(extent)
    slide.shapes.title._element.getparent().remove(slide.shapes.title._element)
    (node,) = of_kind(deck.load(), "slide")
    # inner is scaled by 2 in outer, which is scaled by 2 and begins at (4, 3) on a slide of 10 x 7.5 inches
    assert node.metadata["bbox"] == pytest.approx([0.4, 0.4, 0.8, 3 / 7.5 + 4 / 7.5], abs=1e-4)


def test_turned_shape_has_the_box_it_covers(deck: Deck) -> None:
    shape = box(deck.slide(), 2, 3, 4, 1, "up")
    shape.rotation = 90
    (node,) = of_kind(deck.load(), "slide")
    assert node.metadata["bbox"] == pytest.approx([0.35, 1.5 / 7.5, 0.45, 5.5 / 7.5], abs=1e-3)


@pytest.mark.parametrize(("requires", "word"), [("p14", "chosen"), ("unknown", "fallback")])
def test_alternate_content(deck: Deck, requires: str, word: str) -> None:
    slide = deck.slide("Alternatives")
    shape = """<p:sp><p:nvSpPr><p:cNvPr id="{n}" name="S"/><p:cNvSpPr/><p:nvPr/></p:nvSpPr><p:spPr/>
      <p:txBody><a:bodyPr/><a:p><a:r><a:t>{t}</a:t></a:r></a:p></p:txBody></p:sp>"""
    choice = shape.format(n=70, t="chosen") if requires == "p14" else "<p:contentPart/>"
    slide.shapes._spTree.append(parse_xml(
        f'<mc:AlternateContent {NS}><mc:Choice Requires="{requires}">{choice}</mc:Choice>'
        f"<mc:Fallback>{shape.format(n=71, t='fallback')}</mc:Fallback></mc:AlternateContent>"))  # fmt: skip
    (node,) = of_kind(deck.load(), "slide")
    assert node.text == f"Alternatives\n\n{word}"


def test_smartart_is_an_outline(deck: Deck) -> None:
    slide = deck.slide("Plan")
    points = "".join(
        f'<dgm:pt modelId="{i}" type="{kind}"><dgm:t><a:bodyPr/><a:p><a:r><a:t>{t}</a:t></a:r></a:p></dgm:t></dgm:pt>'
        for i, kind, t in [(0, "doc", ""), (1, "node", "Build"), (2, "node", "Ship"), (3, "node", "Weld"),
                           (4, "pres", "not shown")])  # fmt: skip
    links = "".join(f'<dgm:cxn modelId="{9 + i}" srcId="{a}" destId="{b}" srcOrd="{o}" destOrd="0"/>'
                    for i, (a, b, o) in enumerate([(0, 2, 1), (0, 1, 0), (1, 3, 0)]))  # fmt: skip
    model = f"<dgm:dataModel {NS}><dgm:ptLst>{points}</dgm:ptLst><dgm:cxnLst>{links}</dgm:cxnLst></dgm:dataModel>"
    key = add_part(slide, "/ppt/diagrams/data1.xml", "diagramData", model)
    add_frame(slide, "http://schemas.openxmlformats.org/drawingml/2006/diagram", f'<dgm:relIds r:dm="{key}"/>')
    (node,) = of_kind(deck.load(), "slide")
    assert node.text == "Plan\n\nBuild\n  Weld\nShip"


def test_notes_hidden_slides_and_comments(deck: Deck) -> None:
    slide = deck.slide("Shown")
    slide.notes_slide.notes_text_frame.text = "Say hello\nThen wait"
    remark = '<p:cm authorId="0" idx="1"><p:pos x="1" y="1"/><p:text>Check this</p:text></p:cm>'
    comment = f"<p:cmLst {NS}>{remark}</p:cmLst>"
    add_part(slide, "/ppt/comments/comment1.xml", "comments", comment)
    deck.slide("Secret")._element.set("show", "0")
    items = deck.load()
    assert [(n.text, n.metadata.get("role")) for n in of_kind(items, "notes")] == [
        ("Say hello\nThen wait", None), ("Check this", "comment")]  # fmt: skip
    assert [n.metadata.get("hidden") for n in of_kind(items, "slide")] == [None, True]
    assert not of_kind(deck.load(SlidesLoader(notes=False)), "notes")


def test_titles_of_slides_and_decks(deck: Deck) -> None:
    opening = deck.slide("Tidal power\vin Wales", layout=0)
    opening.placeholders[1].text = "Autumn meeting"
    untitled = deck.slide()
    box(untitled, 1, 0.3, 8, 1, "Costs of the barrage")
    box(untitled, 1, 3, 8, 1, "They rise.")
    deck.deck.core_properties.title = "Quarterly sales"
    first, second = of_kind(deck.load(), "slide")
    assert first.metadata["title"] == second.metadata["title"] == "Tidal power in Wales"
    assert second.metadata["section"] == "Costs of the barrage"
    assert embedding_text(second).startswith("Tidal power in Wales\nCosts of the barrage\n")


@pytest.mark.parametrize(("properties", "title"), [("Duck census", "Duck census"), ("Fire drill", None)])
def test_title_in_the_properties_counts_only_when_the_first_slide_bears_it_out(
    deck: Deck, properties: str, title: str | None
) -> None:
    deck.slide("All ducks")
    deck.slide("census")
    deck.deck.core_properties.title = properties
    box(deck.deck.slides[0], 1, 3, 3, 1, "A census")
    assert of_kind(deck.load(), "slide")[0].metadata.get("title") == title


def test_every_slide_is_accounted_for(deck: Deck) -> None:
    deck.slide()
    deck.slide().shapes.add_picture(png(), Inches(1), Inches(1), Inches(5))
    chart = add_chart(deck.slide("Without its part"), XL_CHART_TYPE.PIE, categories())
    chart.part._element.clear()
    frame = deck.deck.slides[2].shapes[1]._element
    frame.graphic.graphicData[0].set(f"{{{R}}}id", "rId99")
    items = deck.load()
    assert faults(items)[0] == "slide 1: no text, table or picture"
    assert of_kind(items, "figure")[0].metadata["slide"] == 2
    assert "slide 3: the shape 'Chart 2' cannot be read: KeyError" in faults(items)[1]
    assert of_kind(items, "slide")[0].text == "Without its part"


def test_slide_whose_part_is_missing(deck: Deck) -> None:
    for number in range(3):
        deck.slide(f"S{number}")
    deck.deck.part._element.sldIdLst[1].rId = "rId99"  # type: ignore[attr-defined]
    items = list(SlidesLoader(render="schematic").load(deck.save(), Tools()))
    assert [node.text for node in of_kind(items, "slide")] == ["S0", "S2"]
    assert faults(items) == ["slide 2: the slide cannot be read: its part is missing or broken"]


def test_only_the_first_slides_within_the_limit(deck: Deck) -> None:
    for number in range(4):
        deck.slide(f"S{number}")
    items = deck.load(tools=Tools(limits=Limits(pages=3)))
    assert len(of_kind(items, "slide")) == 3
    assert faults(items) == ["only the first 3 of 4 slides were read"]


def test_same_deck_gives_the_same_nodes(deck: Deck) -> None:
    add_chart(deck.slide("T"), XL_CHART_TYPE.PIE, categories())
    first, second = deck.load(), deck.load()
    ids = [item.node_id for item in first if isinstance(item, TextNode)]
    assert len(ids) == len(set(ids)) == 2
    saved = source(deck.path)
    again = [list(SlidesLoader(render="schematic").load(saved, Tools())) for _ in range(2)]
    assert [[n.node_id for n in run if isinstance(n, TextNode)] for run in again] == [
        [n.node_id for n in again[0] if isinstance(n, TextNode)]] * 2  # fmt: skip
    assert [str(n) for n in first] == [str(n) for n in second]


def test_is_a_llamaindex_reader(deck: Deck) -> None:
    deck.slide("Read me")
    deck.save()
    (document,) = SlidesLoader().load_data(deck.path, extra_info={"team": "A"})
    assert document.text == "Read me"
    assert document.metadata["team"] == "A"


def test_slide_show_file_is_read(deck: Deck) -> None:
    deck.slide("On with the show")
    main = deck.deck.part
    main._content_type = PPTX.replace("presentationml.presentation", "presentationml.slideshow") + ".main+xml"
    assert of_kind(deck.load(), "slide")[0].text == "On with the show"


def rewrite(path: Path, change: Callable[[zipfile.ZipFile], None]) -> None:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        change(archive)


def encrypted_flag(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)


def many_parts(archive: zipfile.ZipFile) -> None:
    for number in range(20_001):
        archive.writestr(f"ppt/{number}", b"")


def lying_size(path: Path) -> None:
    """A part of 40 MiB that claims 100 kB."""
    rewrite(path, lambda archive: archive.writestr("ppt/media/liar.bin", bytes(40 << 20)))
    data = path.read_bytes()
    path.write_bytes(data.replace((40 << 20).to_bytes(4, "little"), (100_000).to_bytes(4, "little")))


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
HOSTILE: list[tuple[Callable[[Path], object], str]] = [
    (lambda p: p.write_bytes(b""), "no zip package"),
    (lambda p: p.write_bytes(b"%PDF-1.4"), "not a PowerPoint deck"),
    (lambda p: p.write_bytes(p.read_bytes()[:5000]), "damaged"),
    (lambda p: p.write_bytes(OLE + "EncryptedPackage".encode("utf-16-le")), "password"),
    (lambda p: p.write_bytes(OLE + "PowerPoint Document".encode("utf-16-le")), "97-2003"),
    (encrypted_flag, "password"),
    (lying_size, "damaged"),
    (lambda p: rewrite(p, lambda z: z.writestr("ppt/media/zeros.bin", bytes(30 << 20))), "a ratio of"),
    (lambda p: rewrite(p, lambda z: z.writestr("ppt/../../evil", b"x")), "leads outside"),
    (lambda p: rewrite(p, lambda z: z.writestr("PPT/Presentation.xml", b"<x/>")), "more than once"),
    (lambda p: rewrite(p, lambda z: many_parts(z)), "20,000"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "reason"), HOSTILE)
def test_hostile_files_are_refused(deck: Deck, spoil: Callable[[Path], object], reason: str) -> None:
    deck.slide("Fine")
    deck.save()
    spoil(deck.path)
    with pytest.raises(LoadError, match=reason):
        list(SlidesLoader().load(source(deck.path), Tools()))


def test_unpacked_size_is_limited_with_the_numbers(deck: Deck) -> None:
    deck.slide("Large").shapes.add_picture(image_bytes(Image.effect_noise((1200, 1200), 90), "PNG"), 0, 0)
    with pytest.raises(LoadError, match=r"unpacks to \d+ MiB, over the limit of 1 MiB"):
        deck.load(tools=Tools(limits=Limits(unpacked_mb=1)))


def test_other_office_packages_are_no_decks(tmp_path: Path) -> None:
    path = tmp_path / "a.pptx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", "<x/>")
    with pytest.raises(LoadError, match="holds no presentation"):
        list(SlidesLoader().load(source(path), Tools()))


def test_deck_without_slides(deck: Deck) -> None:
    with pytest.raises(LoadError, match="no slides"):
        deck.load()


ROWS = [
    ("duck-survey-charts", 1, "table", "| 2021 | 150 | 110 |"),
    ("duck-survey-charts", 2, "table", "| Q2 | 20 |"),
    ("autogen-test-deck", 3, "table", "1b92870d-e3b5-4e65-8153-919f4ff45592"),
    ("autogen-test-deck", 4, "table", "| 2003 | 2003 |"),
    ("autogen-test-deck", 5, "slide", "  Sub comment 2"),
    ("autogen-test-deck", 6, "ocr", "5bda1dd6"),
    ("oscal-high-level-overview-2018", 6, "table", "| Stable Profile layer | Q1/2018 |"),
    ("oscal-high-level-overview-2018", 6, "notes", "Update diagram"),
    ("oscal-high-level-overview-2018", 6, "ocr", "Metrics Schema"),
    ("nasa-sed-1p", 1, "slide", "Code 660: Astrophysics Science Division"),
    ("thin-film-budgets", 1, "slide", "dropped 36%"),
]


@pytest.fixture(scope="module")
def read(corpus: Path) -> dict[str, list[Item]]:
    loader, tools = SlidesLoader(render="schematic"), Tools(tiny())
    return {path.stem: list(loader.load(source(path), tools)) for path in sorted((corpus / "pptx").glob("*.pptx"))}


@pytest.mark.parametrize(("name", "slide", "kind", "words"), ROWS)
def test_real_decks(read: dict[str, list[Item]], name: str, slide: int, kind: str, words: str) -> None:
    nodes = [node for node in of_kind(read[name], kind) if node.metadata["slide"] == slide]
    assert any(words in node.text for node in nodes)
    assert all(node.metadata["bbox"] for node in nodes)


def test_zip_bomb_of_the_corpus(corpus: Path) -> None:
    with pytest.raises(LoadError, match="unpacks to 768 MiB, over the limit of 512 MiB"):
        list(SlidesLoader().load(source(corpus / "hostile" / "zip-bomb.pptx"), Tools()))


@needs_office
def test_embedded_chart_of_a_real_deck_is_read_from_its_drawing(corpus: Path) -> None:
    file = source(corpus / "pptx" / "thin-film-budgets.pptx")
    items = list(SlidesLoader().load(file, Tools(tiny())))
    assert not faults(items)
    assert "Tech Partners" in of_kind(items, "ocr")[0].text
