"""Links between recordings and slides, on decks drawn and filmed here; the words of scenes get OCR's errors."""

import io
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import TextNode
from PIL import Image, ImageDraw, ImageFilter
from pptx import Presentation
from pptx.util import Inches
from tests.pipelines.home import Home

from sensorium.apps._cli.output import links_text
from sensorium.loaders.base import Tools, local_file
from sensorium.loaders.slides import SlidesLoader
from sensorium.nodes import Evidence, NodeInfo, picture_node, source_id, text_node
from sensorium.pipelines._links.sight import View, compare
from sensorium.pipelines._links.words import Weights, runs
from sensorium.pipelines.assets import AssetStore
from sensorium.pipelines.copy import Copier
from sensorium.pipelines.evidence import PictureDrawer
from sensorium.pipelines.links import Linker, Links, joined
from sensorium.pipelines.results import Citation, Hit
from sensorium.speech_types import pack_words
from sensorium.stores.base import SourceRecord, Store
from sensorium.stores.sqlite import SqliteStore

BRAND = "Harbour Lights Trust, annual meeting of the members, internal use only"
LINES = (
    "The keeper's cottage at Sandreef opened to overnight guests",
    "Storm Ingrid damaged the sea wall of Cape Ebb in November",
    "Volunteers gave eleven thousand hours to guided tours",
    "A new course for tour guides was led by Marta Lindqvist",
    "The fog signal of Old Mole may sound until ten at night",
    "Membership grew faster than in any year since the war",
    "Electric lamps replaced the last of the paraffin burners",
    "The supply boat needs a new engine before the winter",
)


class Stage:
    """Decks that are indexed, and recordings whose scenes are put into the store by hand."""

    def __init__(self, home: Home) -> None:
        self.home, self.store = home, home.store()
        self.assets = AssetStore(str(home.data / "assets"))
        self.slides = SlidesLoader(render="schematic", dpi=72)
        self.links = Links(lambda: self.store)

    def deck(self, name: str, slides: Sequence[Sequence[str] | Image.Image]) -> Path:
        deck = Presentation()
        for lines in slides:
            slide = deck.slides.add_slide(deck.slide_layouts[6])
            if isinstance(lines, Image.Image):
                data = io.BytesIO()
                lines.save(data, "PNG")
                slide.shapes.add_picture(data, Inches(1), Inches(1), height=Inches(5))
                continue
            for i, line in enumerate((*lines, BRAND)):
                box = slide.shapes.add_textbox(Inches(0.5), Inches(0.5 + 1.2 * i), Inches(9), Inches(1))
                box.text_frame.text = line
        path = self.home.docs / name
        deck.save(str(path))
        return path

    def index(self) -> None:
        """Store the decks that are not stored yet."""
        for path in sorted(self.home.docs.glob("*.pptx")):
            file = local_file(path)
            nodes = [item for item in self.slides.load(file, Tools()) if isinstance(item, TextNode)]
            counts = Counter(str(node.metadata["kind"]) for node in nodes)
            if self.store.source(file.doc_id) is None:
                self.publish(file.doc_id, file.source, file.sha256, file.media_type, nodes, counts)

    def publish(self, doc: str, source: str, sha256: str, media_type: str, nodes: Sequence[TextNode],
                counts: Mapping[str, int]) -> None:  # fmt: skip
        record = SourceRecord(
            doc, str(self.home.docs), source, "stored", sha256=sha256, live_sha256=sha256, media_type=media_type,
            counts=dict(counts),
        )  # fmt: skip
        with self.store.stage(doc) as stage:
            stage.add(nodes, {})
            stage.publish(record)

    def drawn(self, path: Path, number: int) -> Image.Image:
        file = local_file(path)
        place = {"source": file.source, "sha256": file.sha256, "media_type": file.media_type, "kind": "slide"}
        data = self.slides.picture(file, Evidence.model_validate(place | {"slide": number})).data
        return Image.open(io.BytesIO(data)).convert("RGB")

    def talk(self, name: str, scenes: Sequence[tuple[Image.Image, str]], digest: str = "e", seconds: float = 10.0,
             **facts: Any) -> None:  # fmt: skip
        """Store a recording that shows pictures with words, each for some seconds."""
        root = str(self.home.docs)
        doc, nodes = source_id(root, name), list[TextNode]()
        for i, (picture, words) in enumerate(scenes):
            frame = io.BytesIO()
            film(picture).save(frame, "JPEG", quality=70)
            asset = self.assets.put(frame.getvalue(), ".jpg")
            place = self.evidence(name, "scene", i * seconds, (i + 1) * seconds, digest)
            text = words if facts else misread(words)  # whose times are given are not misread
            info = NodeInfo(doc, root, i, extra=tuple(facts.items()))
            nodes.append(picture_node(text, place, info, self.assets.path(asset), asset))
        said = self.evidence(name, "speech", seconds * 0.9, seconds * 1.9, digest)
        nodes.append(text_node("what is said", said, NodeInfo(doc, root, len(nodes))))
        self.publish(doc, name, digest * 64, "video/mp4", nodes, {"scene": len(scenes), "speech": 1})

    def evidence(self, name: str, kind: Any, start_s: float, end_s: float, digest: str = "e") -> Evidence:
        return Evidence(
            source=name, sha256=digest * 64, media_type="video/mp4", kind=kind, start_s=start_s, end_s=end_s
        )  # fmt: skip

    def link(self, store: Store | None = None) -> int:
        drawer = PictureDrawer(lambda _: self.slides, self.assets)
        return Linker(store or self.store, self.assets.read, drawer.draw).update()

    def shown(self, name: str, start_s: float, end_s: float, kind: str = "scene") -> list[tuple[str, int | None]]:
        found = self.links.of(self.evidence(name, kind, start_s, end_s), str(self.home.docs))
        return [(link.source, link.slide) for link in found]

    def moments(self, path: Path, slide: int) -> list[tuple[str, float, float]]:
        file = local_file(path)
        place = Evidence(
            source=file.source, sha256=file.sha256, media_type=file.media_type, kind="slide", slide=slide
        )  # fmt: skip
        return [(k.recording, k.start_s, k.end_s) for k in Links(lambda: self.store).of(place, str(self.home.docs))]


def film(picture: Image.Image) -> Image.Image:
    """A frame that shows a picture between black bars, blurred, with somebody in a corner."""
    frame = Image.new("RGB", (854, 480))
    small = picture.copy()
    small.thumbnail(frame.size)
    frame.paste(small, ((frame.width - small.width) // 2, (frame.height - small.height) // 2))
    ImageDraw.Draw(frame).rectangle((680, 340, 854, 480), fill=(90, 80, 70))
    return frame.filter(ImageFilter.GaussianBlur(0.6))


def misread(text: str) -> str:
    """Text as recognition gives it: some blanks lost, some letters mistaken."""
    decide = random.Random(text)
    letters = [c for c in text if c != " " or decide.random() > 0.3]
    return "".join(decide.choice("ilo0") if c.isalpha() and decide.random() < 0.03 else c for c in letters)


def photo(seed: int) -> Image.Image:
    """A picture without words that looks like no other."""
    decide, picture = random.Random(seed), Image.new("RGB", (800, 600), "white")
    pen = ImageDraw.Draw(picture)
    for _ in range(60):
        x, y, size = decide.randint(0, 800), decide.randint(0, 600), decide.randint(20, 160)
        pen.ellipse((x, y, x + size, y + size), fill=tuple(decide.randint(0, 255) for _ in range(3)))
    return picture


@pytest.fixture
def stage(home: Home) -> Stage:
    return Stage(home)


def words(lines: Sequence[str]) -> str:
    return "\n".join((*lines, BRAND))


BUILDS = (LINES[2:3], LINES[2:4], LINES[2:5])


@pytest.fixture
def filmed(stage: Stage) -> tuple[Stage, Path, Path]:
    """A deck that a recording shows, and another one of the same template that it does not."""
    shown = stage.deck("shown.pptx", [LINES[:2], *BUILDS, photo(1), ("Thank you", "Questions?")])
    other = stage.deck("other.pptx", [LINES[5:7], LINES[6:8], LINES[1:2], photo(2), ("Thank you", "Questions?")])
    stage.index()
    pages = [stage.drawn(shown, n) for n in range(1, 7)]
    texts = [words(LINES[:2]), *(words(lines) for lines in BUILDS), "", words(("Thank you", "Questions?"))]
    between = (photo(3), "a street in the rain")
    scenes = [*zip(pages[:2], texts[:2], strict=True), between, *zip(pages[2:], texts[2:], strict=True)]
    stage.talk("talk.mp4", scenes)
    return stage, shown, other


def test_each_scene_links_to_its_slide(filmed: tuple[Stage, Path, Path]) -> None:
    """Also slides that are built up line by line, a photograph, and a page of thanks that another deck has, too."""
    stage, shown, other = filmed
    assert stage.link() == 1
    found = [stage.shown("talk.mp4", 10.0 * i, 10.0 * i + 10) for i in range(7)]
    assert found == [[("shown.pptx", n)] if n else [] for n in (1, 2, 0, 3, 4, 5, 6)]
    assert [stage.moments(shown, n) for n in (1, 5)] == [[("talk.mp4", 0.0, 10.0)], [("talk.mp4", 50.0, 60.0)]]
    assert all(stage.moments(other, n) == [] for n in range(1, 6))


@pytest.mark.integration
def test_speech_names_what_is_shown_meanwhile(filmed: tuple[Stage, Path, Path]) -> None:
    """The edge of a moment does not count."""
    stage, *_ = filmed
    stage.link()
    assert stage.shown("talk.mp4", 9.0, 19.0, "speech") == [("shown.pptx", 1), ("shown.pptx", 2)]
    assert stage.shown("talk.mp4", 9.5, 19.0, "speech") == [("shown.pptx", 2)]
    assert stage.shown("talk.mp4", 21.0, 29.0, "speech") == []


def test_a_deck_that_is_not_indexed_links_to_nothing(stage: Stage) -> None:
    """Though another one has its template, its agenda and its thanks."""
    stage.deck("kept.pptx", [LINES[:2], ("Agenda", "Where we stand"), photo(1), ("Thank you", "Questions?")])
    stage.index()
    gone = stage.deck("gone.pptx", [LINES[2:5], ("Agenda", "Where we stand"), ("Thank you", "Questions?")])
    texts = (LINES[2:5], ("Agenda", "Where we stand"), ("Thank you", "Questions?"))
    stage.talk("talk.mp4", [(stage.drawn(gone, n), words(lines)) for n, lines in enumerate(texts, 1)])
    stage.link()
    assert [stage.shown("talk.mp4", 10.0 * i, 10.0 * i + 10) for i in range(3)] == [[], [], []]


def test_a_deck_of_one_slide_links_only_when_it_is_shown_exactly(stage: Stage) -> None:
    """What its template is cannot be told: a slide with other numbers has most of its words and looks much alike."""
    rows, other = ([f"{n:,} members in region {i}" for i, n in enumerate(numbers)] for numbers in (
        (4711, 860, 95032), (2386, 517, 41798),
    ))  # fmt: skip
    path = stage.deck("one.pptx", [("Results by region", *rows)])
    stage.index()
    gone = stage.deck("gone.pptx", [("Results by region", *other)])
    stage.talk("talk.mp4", [(stage.drawn(path, 1), words(("Results by region", *rows)))])
    stage.talk("last-year.mp4", [(stage.drawn(gone, 1), words(("Results by region", *other)))])
    assert stage.link() == 2
    assert stage.moments(path, 1) == [("talk.mp4", 0.0, 10.0)]


def test_a_page_that_could_not_be_read_links_by_its_look(stage: Stage) -> None:
    """In a deck that other screens show; a picture that is in no deck links to nothing."""
    path = stage.deck("deck.pptx", [LINES[i : i + 2] for i in range(6)])
    stage.index()
    pages = [stage.drawn(path, n) for n in (2, 3, 4)]
    scenes = [(pages[0], words(LINES[1:3])), (pages[1], ""), (photo(3), ""), (pages[2], words(LINES[3:5]))]
    stage.talk("talk.mp4", scenes)
    stage.link()
    found = [stage.shown("talk.mp4", 10.0 * i, 10.0 * i + 10) for i in range(4)]
    assert found == [[("deck.pptx", 2)], [("deck.pptx", 3)], [], [("deck.pptx", 4)]]


def test_details_tell_pictures_that_look_much_alike_apart() -> None:
    """A table with other numbers, filmed small and with somebody in a corner."""
    own, other = table(1), table(2)
    screen, views = View(film(own)), [View(picture) for picture in (own, other)]
    right, wrong = (compare(screen, view) for view in views)
    assert min(right.alike, wrong.alike) > 0.7
    assert right.exact > 0.98
    assert wrong.exact < 0.95
    assert min(right.details, wrong.details) > 50


def table(seed: int) -> Image.Image:
    """A slide with a table of numbers."""
    decide, picture = random.Random(seed), Image.new("RGB", (1280, 720), "white")
    pen = ImageDraw.Draw(picture)
    pen.text((60, 40), "Results by region and quarter of the year", fill="black", font_size=44)
    for row in range(8):
        pen.line((60, 130 + 64 * row, 1220, 130 + 64 * row), fill="gray", width=2)
        pen.text((70, 142 + 64 * row), f"Region {row + 1}", fill="black", font_size=32)
        for column in range(4):
            number = f"{decide.randint(1000, 99999):,}"
            pen.text((330 + 220 * column, 142 + 64 * row), number, fill="black", font_size=32)
    return picture


@pytest.mark.integration
def test_only_what_changed_is_compared(filmed: tuple[Stage, Path, Path]) -> None:
    """A new deck with each recording, a changed recording with each deck, nothing twice."""
    stage, shown, _ = filmed
    assert [stage.link(), stage.link()] == [1, 0]
    third = stage.deck("third.pptx", [LINES[:2]])
    stage.index()
    assert [stage.link(), stage.link()] == [1, 0]
    assert stage.moments(third, 1) == [("talk.mp4", 0.0, 10.0)]
    assert stage.moments(shown, 1) == [("talk.mp4", 0.0, 10.0)]
    stage.talk("talk.mp4", [(stage.drawn(shown, 4), words(BUILDS[2]))], digest="f")
    assert stage.moments(shown, 1) == []  # of another version of the recording
    assert stage.link() == 1
    assert stage.moments(shown, 4) == [("talk.mp4", 0.0, 10.0)]


@pytest.mark.integration
def test_links_go_with_either_side(filmed: tuple[Stage, Path, Path]) -> None:
    """At once for readers; what was kept goes with the next run."""
    stage, shown, _ = filmed
    stage.link()
    root = str(stage.home.docs)
    stage.store.remove_source(source_id(root, "shown.pptx"))
    assert stage.shown("talk.mp4", 0.0, 10.0) == []
    stage.link()
    assert stage.store.notes(f"links of {source_id(root, 'talk.mp4')}") == {}
    stage.index()
    stage.link()
    assert stage.shown("talk.mp4", 0.0, 10.0) == [("shown.pptx", 1)]
    stage.store.remove_source(source_id(root, "talk.mp4"))
    stage.links = Links(lambda: stage.store)
    assert stage.moments(shown, 1) == []


@pytest.mark.integration
def test_another_process_sees_links(filmed: tuple[Stage, Path, Path]) -> None:
    stage, shown, _ = filmed
    stage.link()
    again = stage.home.store()
    file = local_file(shown)
    place = Evidence(source=file.source, sha256=file.sha256, media_type=file.media_type, kind="table", slide=1)
    (link,) = Links(lambda: again).of(place, str(stage.home.docs))
    assert (link.recording, link.start_s, link.end_s) == ("talk.mp4", 0.0, 10.0)
    assert 0.5 <= link.score <= 1


@pytest.mark.integration
def test_links_go_along_to_another_store(filmed: tuple[Stage, Path, Path], tmp_path: Path) -> None:
    stage, shown, _ = filmed
    stage.link()
    target = SqliteStore(data=tmp_path / "copy", spaces=list(stage.store.spaces.values()))
    Copier(stage.store, target).run()
    assert stage.link(target) == 0
    stage.store.close()
    stage.store = target
    assert stage.moments(shown, 1) == [("talk.mp4", 0.0, 10.0)]
    target.close()


def test_results_carry_links(filmed: tuple[Stage, Path, Path]) -> None:
    """Hits and citations of both sides, in JSON and in words; results without links stay as they were."""
    stage, *_ = filmed
    stage.link()
    texts = [n for n in stage.store.get_nodes() if n.metadata["kind"] == "slide" and n.metadata["slide"] == 1]
    (slide,) = (n for n in texts if n.metadata["source"] == "shown.pptx")
    (speech,) = (n for n in stage.store.get_nodes() if n.metadata["kind"] == "speech")
    on_slide, on_speech = stage.links.on_hits([Hit(1, 1.0, slide), Hit(2, 0.5, speech)])
    assert [(m.recording, m.start_s, m.end_s) for m in on_slide.moments] == [("talk.mp4", 0.0, 10.0)]
    assert [(s.source, s.slide) for s in on_speech.shows] == [("shown.pptx", 1), ("shown.pptx", 2)]
    assert on_slide.shows == on_speech.moments == ()
    assert on_slide.public()["moments"][0] | {"score": 1} == {
        "source": "talk.mp4", "start_s": 0.0, "end_s": 10.0, "score": 1,
    }  # fmt: skip
    cited = Citation(1, "", 1.0, Evidence.of(speech), speech.node_id, speech.metadata, links=on_speech.links)
    assert [shown["slide"] for shown in cited.public()["shows"]] == [1, 2]
    assert list(links_text(on_slide.public(), "")) == ["discussed in talk.mp4 at 0:00-0:10"]
    assert list(links_text(cited.public(), "  ")) == ["  shows shown.pptx, slide 1", "  shows shown.pptx, slide 2"]
    assert not {"moments", "shows"} & Hit(1, 1.0, slide).public().keys()


def test_a_scene_is_divided_where_its_words_change(stage: Stage) -> None:
    """Slides that are built up line by line may be one scene; a clock in a corner divides nothing."""
    path = stage.deck("built.pptx", [LINES[:2], LINES[:4], LINES[5:7]])
    stage.index()
    text = words(LINES[:4])
    lines = [(text.index(line), text.index(line) + len(line)) for line in text.split("\n")]
    since = (0.0, 0.0, 12.0, 12.0, 0.0)
    packed = pack_words([(*span, start, 30.0) for span, start in zip(lines, since, strict=True)], 0.0)
    stage.talk("talk.mp4", [(stage.drawn(path, 2), text)], seconds=30.0, words=packed, at_s=29.0)
    stage.link()
    assert stage.shown("talk.mp4", 2.0, 10.0) == [("built.pptx", 1)]
    assert stage.shown("talk.mp4", 14.0, 28.0) == [("built.pptx", 2)]
    assert stage.moments(path, 2) == [("talk.mp4", 12.0, 30.0)]


def test_without_recordings_nothing_is_kept(stage: Stage) -> None:
    stage.deck("deck.pptx", [LINES[:2]])
    stage.index()
    assert stage.link() == 0
    assert stage.store.notes("links: sources seen") == {}


def test_neighbouring_scenes_of_one_slide_become_one() -> None:
    links = [(2, 30.0, 40.0, 0.9), (1, 0.0, 10.0, 0.8), (1, 10.5, 30.0, 0.9), (2, 50.0, 60.0, 0.7)]
    assert joined(links) == [(1, 0.0, 30.0, 0.9), (2, 30.0, 40.0, 0.9), (2, 50.0, 60.0, 0.7)]


def test_words_of_the_template_do_not_link() -> None:
    """Recognition's errors cost little; what all slides say counts next to nothing."""
    slides = [runs(words(LINES[i : i + 1])) for i in range(8)]
    weights = Weights([slides])
    screen = runs(misread(words(LINES[3:4])))
    likeness = [weights.likeness(screen, slide, 0).both for slide in slides]
    assert max(likeness) == likeness[3] > 0.6
    assert max(x for i, x in enumerate(likeness) if i != 3) < 0.25
