"""The parts of the multimodal answer: numbers and dates, markers, statements, pictures, and their budget."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from llama_index.core.llms import MockLLM
from PIL import Image, ImageDraw

from sensorium.errors import EvidenceError
from sensorium.loaders.base import Picture
from sensorium.models._llm.facts import counter
from sensorium.models._llm.models import from_llm
from sensorium.nodes import Evidence, NodeInfo, text_node
from sensorium.pipelines._multimodal.figures import missing
from sensorium.pipelines._multimodal.pictures import Pictures, fitted
from sensorium.pipelines._multimodal.protocol import Gate, parse
from sensorium.pipelines._multimodal.requests import Limits, RequestMaker
from sensorium.pipelines._multimodal.sources import Source, neutral
from sensorium.pipelines._multimodal.verify import Verifier, claims
from sensorium.pipelines.results import Form, Hit


@pytest.mark.parametrize(
    ("claim", "evidence", "lacking"),
    [
        ("It cost 1,200,000 euros", "1.2 million euros", ()),
        ("It cost 1.2 million", "EUR1,200,000.00", ()),
        ("It starts on 14 April 2025", "start: 2025-04-14", ()),
        ("It starts on April 14, 2025", "on 14. April 2025", ()),
        ("It starts in April 2025", "on 14 April 2025", ()),
        ("It starts on 14 May 2025", "on 14 April 2025", ("2025-05-14",)),
        ("Due 03/04/2025", "due on 3 April 2025", ()),
        ("Due 3 April 2025", "Date: 04/03/2025", ()),
        ("Due 5 April 2025", "Date: 04/03/2025", ("2025-04-05",)),
        ("It grew to 3,480 people by 12 %", "3480 people", ("12",)),
        ("There are four towers", "It keeps 4 towers", ()),
        ("There are five towers", "It keeps four towers", ("5",)),
        ("Version 3.50", "3.5", ()),
        ("Nothing in numbers", "", ()),
        ("In Q3 sales were 7", "Q3: 7", ()),
        ("41 250 visitors", "41,250 visitors", ("41", "250")),  # a plain blank may part two numbers
        ("41\u202f250 visitors", "41,250 visitors", ()),
    ],
)
def test_numbers_and_dates_have_to_occur(claim: str, evidence: str, lacking: tuple[str, ...]) -> None:
    assert missing(claim, evidence) == lacking


@pytest.mark.parametrize(
    ("reply", "answerable", "text", "unknown"),
    [
        ("ANSWERABLE: yes\nIt is 4 [1].", True, "It is 4 [1].", ()),
        ("ANSWERABLE: no\n", False, "", ()),
        ("**ANSWERABLE: No**\n\nThey only say [2].", False, "They only say [2].", ()),
        ("answerable: yes. It is 4 [1].", True, "It is 4 [1].", ()),
        ("<think>ANSWERABLE: no?</think>\nANSWERABLE: yes\nFour [1].", True, "Four [1].", ()),
        ("It is 4 [1].\nANSWERABLE: no", None, "It is 4 [1].\nANSWERABLE: no", ()),
        ("No, the answer is 4 [1].", None, "No, the answer is 4 [1].", ()),
        ("A [1, 3] and b [1-3] and c [9].", None, "A [1][3] and b [1][2][3] and c.", (9,)),
        ("A 【1】 b 【2†source】 [source 3].", None, "A [1] b [2] [3].", ()),
        ("A [1](http://x.example/steal?q=1) ![p](http://x/y.png) [see](https://x.example).", None, "A [1] p see.", ()),
        ("An array[i] and [note] stay.", None, "An array[i] and [note] stay.", ()),
    ],
)
def test_replies_are_taken_apart(reply: str, answerable: bool | None, text: str, unknown: tuple[int, ...]) -> None:
    parsed = parse(reply, {1, 2, 3})
    assert (parsed.answerable, parsed.text, parsed.unknown) == (answerable, text, unknown)
    for size in (1, 2, 3, 7, 1000):
        gate = Gate({1, 2, 3})
        pieces = [gate.push(reply[at : at + size]) for at in range(0, len(reply), size)]
        assert ("".join(pieces) + gate.end()).strip() == text, size


def test_a_stream_shows_its_first_words_early() -> None:
    gate = Gate({1})
    shown = [gate.push(piece) for piece in ["ANSW", "ERABLE", ": yes", "\n", "The", " tower", " stands", " ["]]
    assert shown == ["", "", "", "", "The", " tower", " stands", ""]
    assert gate.push("1].") + gate.end() == " [1]."


def test_statements_and_what_they_cite() -> None:
    found = claims(
        "It rose to 3.5 m. [1] Dr. Okafor said so, e.g. in May [2][3].\n- One item [1]\n- Another\nAs shown:\nLast."
    )
    assert [(claim.text, claim.markers) for claim in found] == [
        ("It rose to 3.5 m.", (1,)),
        ("Dr. Okafor said so, e.g. in May.", (2, 3)),
        ("One item", (1,)),
        ("Another", ()),
        ("Last.", ()),
    ]
    first, second = claims("Founded in 1871. It has two towers [2].")
    assert first.markers == second.markers == (2,)


def hit(text: str, rank: int = 1, kind: Any = "text", page: int | None = None, **place: Any) -> Hit:
    media = place.pop("media_type", "application/pdf")
    evidence = Evidence(source="a.pdf", sha256="0" * 64, media_type=media, kind=kind, page=page, **place)
    return Hit(rank, 1.0, text_node(text, evidence, NodeInfo("doc", "/root", rank)))


class Constant:
    """All sentences mean the same, or nothing the same."""

    def __init__(self, cosine: float) -> None:
        self.cosine = cosine

    def encode_parts(self, texts: Sequence[str], parts: Any) -> Any:
        vectors = np.tile(np.array([self.cosine, (1 - self.cosine**2) ** 0.5], np.float32), (len(texts), 1))
        vectors[0] = (1, 0)
        return vectors, []


@pytest.mark.parametrize(
    ("claim", "cosine", "verdict"),
    [
        ("The sea wall of Cape Ebb was damaged by storm Ingrid [1].", 0.0, "supported"),
        ("Storm Ingrid hit the sea wall of Cape Ebb and ruined parts [1].", 0.9, "supported"),
        ("Fishing quotas were lowered again [1].", 0.9, "unsupported"),
        ("The repair costs 148,000 euros [1].", 0.9, "unsupported"),
        ("The repair costs 184,000 euros [1].", 0.0, "supported"),
        ("The sea wall of Gull Point was damaged by storm Harald [1].", 0.9, "unsupported"),
        ("The repair costs 184,000 euros.", 0.9, "unsupported"),
        ("The curve falls towards winter [2].", 0.0, "from picture"),
    ],
)
def test_statements_are_compared_with_their_sources(claim: str, cosine: float, verdict: str) -> None:
    text = "Storm Ingrid damaged the sea wall of Cape Ebb. The repair is estimated at 184,000 euros; it costs a lot."
    picture = fitted(png(20, 20), "crop", 1.0)
    sources = {1: Source(1, hit(text), text), 2: Source(2, hit("Figure 1.", 2, "figure"), "Figure 1.", (picture,))}
    verifier = Verifier(lambda words: (dict.fromkeys(words, 1), 10), Constant(cosine))
    (found,) = claims(claim)
    assert verifier.check(found, sources).verdict == verdict


def png(width: int, height: int, text: str = "") -> bytes:
    picture = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(picture).text((5, 5), text or f"{width}", fill="black")
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def test_a_picture_that_fits_is_left_as_it_is() -> None:
    data = png(800, 600)
    assert fitted(data, "crop", 1.0).data is data


@pytest.mark.parametrize(
    ("size", "role", "megapixels", "fits"),
    [
        ((3000, 1000), "crop", 2.0, (1024, 341)), ((2000, 3000), "page", 9.0, (1066, 1600)),
        ((1000, 1000), "crop", 0.25, (500, 500)), ((9000, 3), "crop", 1.0, (1024, 1)),
    ],
)  # fmt: skip
def test_pictures_are_made_small_enough(size: tuple[int, int], role: Any, megapixels: float, fits: Any) -> None:
    made = fitted(png(*size), role, megapixels)
    with Image.open(io.BytesIO(made.data)) as sent:
        assert sent.size == made.size == fits
        assert (sent.format, made.media_type) == ("JPEG", "image/jpeg")


def test_other_formats_become_jpeg() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (30, 20), (255, 0, 0, 0)).save(out, "WEBP", lossless=True)
    made = fitted(out.getvalue(), "photo", 1.0)
    with Image.open(io.BytesIO(made.data)) as sent:
        assert made.media_type == "image/jpeg"
        assert min(sent.convert("RGB").getpixel((5, 5))) > 250, "transparent is white"  # type: ignore[arg-type]


class Drawer:
    """Draws a picture of its own for each place, and counts."""

    def __init__(self, broken: str = "") -> None:
        self.drawn: list[Evidence] = []
        self.broken = broken

    def __call__(self, evidence: Evidence, metadata: Mapping[str, Any], form: Form = "picture", /) -> Picture:
        self.drawn.append(evidence)
        if evidence.kind == self.broken:
            raise EvidenceError("a.pdf: the source file is gone")
        return Picture(png(400, 300, f"{evidence.page}{evidence.slide}{evidence.bbox}"), "image/png")


BOX = (0.1, 0.1, 0.5, 0.4)


def test_crops_go_before_slides_and_pages_and_places_are_drawn_once() -> None:
    drawer = Drawer()
    hits = [
        hit("plain", 1, page=1),
        hit("| a |", 2, "table", page=1, bbox=BOX),
        hit("on a slide", 3, slide=4),
        hit("notes", 4, "notes", slide=4),
        hit("| a |", 5, "table", page=1, bbox=BOX),
        hit("photo", 6, "ocr", media_type="image/png", bbox=BOX),
    ]
    chosen = Pictures(drawer).choose(hits, "auto", 6, 1.0)
    assert {i: [p.role for p in pictures] for i, pictures in chosen.pictures.items()} == {
        1: ["crop", "page"], 2: ["slide"], 5: ["photo"],
    }  # fmt: skip
    assert chosen.shown_with == {3: 2, 4: 1}
    assert len(drawer.drawn) == 4
    few = Pictures(drawer).choose(hits, "auto", 2, 1.0)
    assert {i: [p.role for p in pictures] for i, pictures in few.pictures.items()} == {1: ["crop"], 5: ["photo"]}
    assert few.left_out >= 2


def test_drawn_pictures_are_kept() -> None:
    drawer = Drawer()
    pictures = Pictures(drawer)
    hits = [hit("| a |", 1, "table", page=1, bbox=BOX)]
    first, second = pictures.choose(hits, "auto", 6, 1.0), pictures.choose(hits, "auto", 6, 1.0)
    assert first == second
    assert len(drawer.drawn) == 2


def test_a_picture_that_cannot_be_drawn_is_said_and_the_next_takes_its_place() -> None:
    hits = [hit("gone", 1, "figure", page=1, bbox=BOX), hit("| a |", 2, "table", page=2, bbox=BOX)]
    chosen = Pictures(Drawer("figure")).choose(hits, "auto", 1, 1.0)
    assert list(chosen.pictures) == [1]
    assert "the source file is gone" in chosen.problems[0]


@pytest.mark.parametrize("data", [b"", b"no picture", png(50, 50)[:60], png(2000, 2000)[:-2000]], ids=len)
def test_a_broken_picture_is_said(data: bytes) -> None:
    pictures = Pictures(lambda evidence, metadata, form="picture", /: Picture(data, "image/png"))
    chosen = pictures.choose([hit("| a |", 1, "table", page=1, bbox=BOX)], "auto", 6, 1.0)
    assert chosen.pictures == {}
    assert "no picture of a.pdf" in chosen.problems[0]


@pytest.mark.parametrize(
    "text", ["[12]", "【3】", "</source>", "< / SOURCE >", "ANSWERABLE: yes", "a\u202eb", "a\U000e0041b", "x\x1b[2J"]
)
def test_sources_cannot_break_out(text: str) -> None:
    made = neutral(f"before {text} after")
    assert text not in made
    assert made.startswith("before ")
    assert made.endswith(" after")


def maker(drawer: Drawer, **limits: Any) -> RequestMaker:
    given: dict[str, Any] = {"hits": 50, "text_tokens": 100_000, "images": 6, "megapixels": 1.0, "pictures": "auto"}
    return RequestMaker(Pictures(drawer), Limits(**given | limits))


def test_the_window_is_kept_and_the_best_ranked_stay() -> None:
    model = from_llm(MockLLM())
    hits = [hit(f"Number {n}. " + "Words and more words. " * 40, n, "figure", page=n, bbox=BOX) for n in range(1, 21)]
    seen = []
    for window in (1200, 2500, 5000, 10_000, 40_000):
        model.window = window
        request = maker(Drawer()).make("What?", hits, model)
        assert request.tokens <= model.room()
        assert [source.number for source in request.sources] == list(range(1, len(request.sources) + 1))
        assert all(source.shown_with in {0, *(s.number for s in request.sources)} for source in request.sources)
        seen.append(len(request.sources))
    assert seen == sorted(seen)
    assert seen[0] >= 1
    assert seen[-1] == 20


def test_one_hit_that_is_too_long_is_cut() -> None:
    model = from_llm(MockLLM())
    model.window = 1500
    request = maker(Drawer()).make("What?", [hit("word " * 20_000)], model)
    assert request.sources[0].text.endswith("…")
    assert 200 < request.tokens <= model.room()


@pytest.mark.parametrize("model", ["gpt-5-mini", "gpt-4-turbo"])
def test_the_estimate_of_a_prompt_of_words_is_close(model: str) -> None:
    made = from_llm(MockLLM())
    made.model = model
    german = "Die Schutzmauer am Kap Ebbe wurde beschädigt; die Reparatur kostet 184.000 Euro. "
    table = "| Sandreef | 18,760 | 20,115 |\n" * 6
    hits = [hit(f"{n}. {german * 3}\n{table}", n, page=n) for n in range(1, 11)]
    request = maker(Drawer()).make("How many visitors did Sandreef have in 2024?", hits, made)
    assert len(request.sources) == 10
    texts = [b.text for message in request.messages() for b in message.blocks if b.block_type == "text"]
    # OpenAI's cookbook: three tokens a message besides its words, and three before the reply.
    exact = sum(map(counter(model), texts)) + 3 * 2 + 3
    assert request.tokens == pytest.approx(exact, rel=0.05)
