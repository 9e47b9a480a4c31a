"""Recordings of slides, made by script: real and made-up decks, filmed with all that goes wrong, and what they show.

Decks share templates, agendas and thanks; some slides are built up line by line, some differ in a few numbers, some
are a picture without words. Recordings cut, zoom, letterbox, blur, compress, and put a speaker into a corner.
"""

import io
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, cycle
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from pptx import Presentation
from pptx.dml.color import RGBColor
from pptx.util import Inches, Pt

from sensorium.loaders.base import Loader, local_file
from sensorium.loaders.pdf import PdfLoader
from sensorium.loaders.slides import SlidesLoader
from sensorium.nodes import Evidence
from sensorium.pictures import on_white

COLOURS = ((20, 60, 110), (120, 30, 40), (30, 90, 60), (70, 70, 80))
FPS = 5


@dataclass(frozen=True)
class Shown:
    """A stretch of a recording: from `start_s` to `end_s` it shows one of `places`, or nothing that is indexed.

    Attributes:
        start_s: First second.
        end_s: Last second.
        places: `(source, number)` of slides or pages that look the same; empty for something else.
    """

    start_s: float
    end_s: float
    places: tuple[tuple[str, int], ...] = ()


@dataclass
class Made:
    """A folder of decks and recordings.

    Attributes:
        folder: Where they are; recordings are named by the keys of `truth`.
        truth: What each recording shows, in order.
    """

    folder: Path
    truth: dict[str, list[Shown]] = field(default_factory=dict)


def sentences(folder: Path) -> list[str]:
    """Sentences of real documents, 30 to 90 characters long, in a fixed order."""
    import pymupdf

    found: dict[str, None] = {}
    for path in sorted(folder.glob("*.pdf")):
        with pymupdf.open(path) as document:
            for page in document:
                text = " ".join(page.get_text().split())
                for part in re.split(r"(?<=[.;:])\s", text):
                    if 30 <= len(part) <= 90 and sum(c.isalpha() or c == " " for c in part) > 0.8 * len(part):
                        found[part.rstrip(".;:")] = None
    return list(found)


class DeckWriter:
    """Writes decks of one template.

    Args:
        name: Of the organisation, which stands on every slide.
        colour: Of the header.
        words: Sentences to take from.
        pictures: Photographs to take from.
        random: Decides what goes where.
    """

    def __init__(self, name: str, colour: tuple[int, int, int], words: Sequence[str], pictures: Sequence[Path],
                 random: random.Random) -> None:  # fmt: skip
        self._name, self._colour, self._random = name, colour, random
        self._words, self._pictures = list(words), list(pictures)

    def write(self, path: Path, title: str, builds: int = 3, plain: int = 4) -> int:
        """Write a deck; the number of its slides."""
        self._deck = Presentation()
        self._deck.slide_width, self._deck.slide_height = Inches(13.333), Inches(7.5)
        self._slide(title, [f"{self._name}", "Quarterly meeting of the regional council"], big=True)
        self._slide("Agenda", ["Where we stand", "What we found", "What comes next", "Questions"])
        for _ in range(plain):
            self._slide(self._sentence(50), [self._sentence() for _ in range(self._random.randint(3, 6))])
        points, head = [self._sentence() for _ in range(builds)], self._sentence(50)
        for i in range(1, builds + 1):
            self._slide(head, points[:i])
        self._numbers("Results by region", 2023)
        self._numbers("Results by region", 2024)
        self._photo()
        self._slide("Thank you", ["Questions?"], big=True)
        self._deck.save(str(path))
        return len(self._deck.slides)

    def _sentence(self, most: int = 90) -> str:
        while True:
            text = self._random.choice(self._words)
            if len(text) <= most:
                return text

    def _page(self) -> Any:
        slide = self._deck.slides.add_slide(self._deck.slide_layouts[6])
        bar = slide.shapes.add_shape(1, 0, 0, self._deck.slide_width, Inches(0.7))
        bar.fill.solid()
        bar.fill.fore_color.rgb = RGBColor(*self._colour)
        bar.line.fill.background()
        self._text(slide, f"{self._name}: yearly review and outlook", 0.3, 0.1, 8, 16, (255, 255, 255))
        foot = f"{self._name}, 12 Harbour Street, internal use only"
        self._text(slide, foot, 0.3, 7.0, 9, 12, (90, 90, 90))
        self._text(slide, str(len(self._deck.slides)), 12.5, 7.0, 0.7, 12, (90, 90, 90))
        return slide

    def _text(self, slide: Any, text: str, x: float, y: float, width: float, size: float,
              colour: tuple[int, int, int] = (20, 20, 20)) -> None:  # fmt: skip
        box = slide.shapes.add_textbox(Inches(x), Inches(y), Inches(width), Inches(0.5))
        box.text_frame.word_wrap = True
        run = box.text_frame.paragraphs[0].add_run()
        run.text, run.font.size = text, Pt(size)
        run.font.color.rgb = RGBColor(*colour)

    def _slide(self, title: str, lines: Sequence[str], big: bool = False) -> None:
        slide = self._page()
        self._text(slide, title, 0.8, 2.2 if big else 0.9, 11.5, 40 if big else 30, self._colour)
        for i, line in enumerate(lines):
            self._text(slide, line if big else f"\u2022 {line}", 0.9, (3.6 if big else 2.1) + 0.8 * i, 11.5, 22)

    def _numbers(self, title: str, year: int) -> None:
        slide = self._page()
        self._text(slide, f"{title}, {year}", 0.8, 0.9, 11.5, 30, self._colour)
        rows, names = 6, ("Region", "Members", "Income", "Change")
        cells = slide.shapes.add_table(rows, 4, Inches(0.9), Inches(2.0), Inches(11), Inches(4)).table
        for column, name in enumerate(names):
            cells.cell(0, column).text = name
        for row, region in enumerate(("North", "East", "South", "West", "Islands"), 1):
            values = (region, f"{self._random.randint(1000, 99999):,}", f"{self._random.randint(100, 999)} k",
                      f"{self._random.uniform(-9, 9):.1f} %")  # fmt: skip
            for column, value in enumerate(values):
                cells.cell(row, column).text = value

    def _photo(self) -> None:
        slide = self._deck.slides.add_slide(self._deck.slide_layouts[6])
        picture = Image.open(self._random.choice(self._pictures)).convert("RGB")
        picture.thumbnail((1200, 1200))
        data = io.BytesIO()
        picture.save(data, "JPEG")
        slide.shapes.add_picture(data, Inches(2), Inches(0.4), height=Inches(6.6))


def drawn(path: Path) -> list[Image.Image]:
    """Every slide or page of a document as LibreOffice and MuPDF draw it."""
    import pymupdf

    file = local_file(path)
    if path.suffix == ".pdf":
        with pymupdf.open(path) as document:
            count, key = len(document), "page"
    else:
        count, key = len(Presentation(str(path)).slides), "slide"
    loader: Loader = PdfLoader() if key == "page" else SlidesLoader(dpi=110)
    place = {"source": file.source, "sha256": file.sha256, "media_type": file.media_type, "kind": key}
    pictures = []
    for number in range(1, count + 1):
        data = loader.picture(file, Evidence.model_validate(place | {key: number})).data
        pictures.append(Image.open(io.BytesIO(data)).convert("RGB"))
    return pictures


class Camera:
    """Films pictures as one recording does: one layout and quality throughout.

    Args:
        layout: "full", "corner" (a speaker over a corner), "side" (the slide is small, a speaker beside it),
            "window" (a meeting program around it).
        size: Of the recording.
        random: Decides on noise, blur and light.
    """

    def __init__(self, layout: str, size: tuple[int, int], random: random.Random) -> None:
        self.layout, self.size, self._random = layout, size, random
        self._blur = random.choice((0.0, 0.4, 0.8))
        self._light = random.uniform(0.85, 1.1)
        self._corner = random.choice(((0.78, 0.74), (0.78, 0.02), (0.02, 0.74)))

    def film(self, picture: Image.Image) -> Image.Image:
        """One frame that shows a picture."""
        width, height = self.size
        frame = Image.new("RGB", self.size, (12, 12, 14) if self.layout != "window" else (235, 236, 240))
        box = {"full": (0, 0, 1, 1), "corner": (0, 0, 1, 1), "side": (0.01, 0.12, 0.73, 0.84),
               "window": (0.02, 0.09, 0.84, 0.95)}[self.layout]  # fmt: skip
        room = (int(width * (box[2] - box[0])), int(height * (box[3] - box[1])))
        scale = min(room[0] / picture.width, room[1] / picture.height)
        small = picture.resize((max(1, int(picture.width * scale)), max(1, int(picture.height * scale))))
        left, top = int(width * box[0]) + (room[0] - small.width) // 2, int(height * box[1])
        frame.paste(small, (left, top + (room[1] - small.height) // 2))
        self._around(frame)
        if self._blur:
            frame = frame.filter(ImageFilter.GaussianBlur(self._blur))
        return ImageEnhance.Brightness(frame).enhance(self._light)

    def _around(self, frame: Image.Image) -> None:
        width, height = self.size
        if self.layout == "window":
            pen = ImageDraw.Draw(frame)
            pen.rectangle((0, 0, width, int(0.07 * height)), fill=(40, 42, 50))
            pen.text((10, 6), "Meeting - 12 participants   View   Chat   Leave", fill="white", font_size=height // 30)
            for i, name in enumerate(("Ana Ruiz", "Tom Berg", "Li Wei")):
                place = (int(0.86 * width), int((0.15 + 0.2 * i) * height))
                pen.text(place, name, fill="black", font_size=height // 36)
        elif self.layout in ("corner", "side"):
            x, y = self._corner if self.layout == "corner" else (0.75, 0.3)
            w, h = (0.2, 0.24) if self.layout == "corner" else (0.24, 0.4)
            frame.paste(self._speaker((int(w * width), int(h * height))), (int(x * width), int(y * height)))

    def _speaker(self, size: tuple[int, int]) -> Image.Image:
        picture = Image.new("RGB", size, (90, 80, 70))
        pen, (w, h) = ImageDraw.Draw(picture), size
        dx = self._random.randint(-w // 12, w // 12)
        pen.ellipse((w * 0.35 + dx, h * 0.15, w * 0.65 + dx, h * 0.6), fill=(210, 170, 150))
        pen.rectangle((w * 0.2 + dx, h * 0.6, w * 0.8 + dx, h), fill=(40, 50, 90))
        return picture


def write(path: Path, frames: Iterable[NDArray[np.uint8]], size: tuple[int, int], fps: int, crf: int = 24) -> None:
    """Write an MP4 (H.264) of frames, each of shape (height, width, 3)."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt, stream.time_base = *size, "yuv420p", Fraction(1, fps)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


def record(path: Path, frames: Iterator[tuple[Image.Image, float]], camera: Camera, crf: int, seed: int) -> None:
    """Write an MP4 (H.264) that shows each picture for some seconds, with noise that changes from frame to frame."""
    noise = np.random.default_rng(seed)
    grains = cycle([noise.normal(0, 2.5, camera.size[::-1])[..., None].astype(np.int16) for _ in range(4)])

    def noisy() -> Iterator[NDArray[np.uint8]]:
        for picture, seconds in frames:
            still = np.asarray(camera.film(picture), np.int16)
            for _ in range(round(seconds * FPS)):
                yield np.clip(still + next(grains), 0, 255).astype(np.uint8)

    write(path, noisy(), camera.size, FPS, crf)


LAYOUTS = (("full", (1280, 720)), ("corner", (1280, 720)), ("side", (1280, 720)), ("window", (1280, 720)),
           ("full", (640, 360)), ("corner", (854, 480)))  # fmt: skip
PORTRAIT = ("full", (1280, 720))  # smaller, nobody could read a page
FIRST, SECOND = ("Northern", "Coastal", "Upper", "Greater"), ("Water", "Energy", "Rail", "Forest")
SEASONS = ("Spring", "Summer", "Autumn", "Winter")


@dataclass(frozen=True)
class Source:
    """A document to film: its file, and whether it is kept in the folder that is indexed."""

    path: Path
    kept: bool


def make(folder: Path, corpus: Path, seed: int = 0, decks: int = 3, seconds: float = 3.0, most: int = 14) -> Made:
    """Decks and recordings in a folder.

    One of the made-up decks of each template is filmed but not kept: what is filmed then is nowhere in the folder.
    One of them is kept as a PDF.

    Args:
        folder: New; what is not kept lies beside it.
        corpus: Real decks, PDFs, photographs and other pictures.
        seed: Decides everything.
        decks: Made-up ones of each template.
        seconds: That each slide is shown, about.
        most: Slides or pages of a document that are filmed.
    """
    decide, made = random.Random(seed), Made(folder)
    folder.mkdir(parents=True)
    sources = [*_made_up(folder, corpus, decide, decks), *_real(folder, corpus, seed)]
    pictures = {source.path: drawn(source.path)[:most] for source in sources}
    kept = {(s.path.name, i): p for s in sources if s.kept for i, p in enumerate(pictures[s.path], 1)}
    same = _alike(kept)
    others = [on_white(Image.open(p)) for p in sorted((corpus / "images").iterdir()) if "photo" not in p.name]
    for number, source in enumerate(sources):
        shown: list[tuple[Image.Image, tuple[tuple[str, int], ...]]] = [(decide.choice(others), ())]
        for i, picture in enumerate(pictures[source.path], 1):
            shown.append((picture, tuple(same.get((source.path.name, i), ()))))
            if decide.random() < 0.1:
                shown.append((decide.choice(others), ()))
        upright = pictures[source.path][0].height > pictures[source.path][0].width
        camera = Camera(*(PORTRAIT if upright else LAYOUTS[number % len(LAYOUTS)]), decide)
        times = [round(FPS * seconds * decide.uniform(0.8, 1.4)) / FPS for _ in shown]
        name = f"talk-{number:02}.mp4"
        record(folder / name, zip((p for p, _ in shown), times, strict=True), camera, 24 + 3 * (number % 4), number)
        made.truth[name] = [
            Shown(round(end - time, 2), round(end, 2), places)
            for end, time, (_, places) in zip(accumulate(times), times, shown, strict=True)
        ]
    return made


def _made_up(folder: Path, corpus: Path, decide: random.Random, decks: int) -> Iterator[Source]:
    words = sentences(corpus / "pdf")
    decide.shuffle(words)
    photos = sorted(p for p in (corpus / "images").iterdir() if p.stem.startswith("photo"))
    for template in range(2):
        name = f"{decide.choice(FIRST)} {decide.choice(SECOND)} Board"
        writer = DeckWriter(name, decide.choice(COLOURS), words[template::2], photos, decide)
        for number in range(decks):
            kept = number < decks - 1
            path = (folder if kept else folder.parent) / f"{folder.name}-{template}-{number}.pptx"
            writer.write(path, f"{SEASONS[number % 4]} report of the {name}")
            yield Source(_as_pdf(path) if (template, number) == (1, 0) else path, kept)


def _as_pdf(deck: Path) -> Path:
    from sensorium.loaders._pptx.office import Office

    made = deck.with_suffix(".pdf")
    made.write_bytes(Office().pdf(deck, local_file(deck).sha256, len(Presentation(str(deck)).slides)).read_bytes())
    deck.unlink()
    return made


def _real(folder: Path, corpus: Path, seed: int) -> Iterator[Source]:
    pages = sorted((corpus / "pdf").iterdir())[seed % 2 :: 2]
    for source in (*sorted((corpus / "pptx").iterdir()), *pages):
        (folder / source.name).write_bytes(source.read_bytes())
        yield Source(folder / source.name, True)


def _alike(pictures: dict[tuple[str, int], Image.Image]) -> dict[tuple[str, int], list[tuple[str, int]]]:
    """For each slide those that look exactly like it, itself first."""
    small = {key: p.resize((256, 144)).convert("L").tobytes() for key, p in pictures.items()}
    return {key: [key, *(k for k in small if k != key and small[k] == small[key])] for key in small}
