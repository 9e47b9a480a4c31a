"""Changes of page: slides of one template are told apart; what is added, moves or stands below as a caption is none."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw
from tests.loaders.films import FPS, Pixels, film, slide, written

from sensorium.loaders._media.frames import Damage, Film
from sensorium.loaders._media.pages import PageFinder
from sensorium.loaders._media.probe import probe
from sensorium.loaders._media.scenes import Scene, SceneFinder
from sensorium.loaders.base import Limits
from sensorium.models.ocr import RapidOcr

FIRST = slide("Catch by quay", "Herring fell by a fifth", "Cod stayed where it was", "Shrimp doubled")
SECOND = slide("What was built", "A crane for the north quay", "Two sheds were torn down", "New lamps")
THIRD = slide("Money", "The board earned more than it spent", "Fees rise in spring")


def shades(frame: Pixels, size: tuple[int, int]) -> Pixels:
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)


def found(frames: Sequence[Pixels], fps: int = 10) -> list[float]:
    """Times of the changes of page in frames, looked at as a film is."""
    finder = PageFinder(0.4)
    for at, frame in enumerate(frames):
        finder.pass_by(at / fps, shades(frame, (64, 36)))
        if at % 4 == 0:
            finder.look(at / fps, shades(frame, (480, 270)))
    finder.stand(len(frames) / fps)
    return [round(cut.at_s, 2) for cut in finder.settle([], np.inf)]


def held(*pictures: Pixels, frames: int = 33) -> list[Pixels]:
    return [picture for picture in pictures for _ in range(frames)]


def test_slides_of_one_template_are_told_apart_to_the_frame() -> None:
    assert found(held(FIRST, SECOND, THIRD)) == [3.3, 6.6]
    dark = [slide(f"Number {word}", f"All about {word}", dark=True) for word in ("seventeen", "one thousand")]
    assert found(held(*dark)) == [3.3]


def test_charts_under_one_title_are_told_apart() -> None:
    assert found(held(*(slide("Results", seed=seed) for seed in (1, 2, 3)))) == [3.3, 6.6]


def test_a_fade_is_one_change_in_its_middle() -> None:
    mixed = [(FIRST * (1 - share) + SECOND * share).astype(np.uint8) for share in np.linspace(0.1, 0.9, 9)]
    assert found([*held(FIRST), *mixed, *held(SECOND)]) == [pytest.approx(3.75, abs=0.1)]


def test_a_slide_that_is_built_up_is_one_page() -> None:
    lines = ("One thing came first", "Then another one followed", "At last there was a third one", "And the end")
    assert found(held(*(slide("Step by step", *lines[:shown]) for shown in range(5)), frames=17)) == []


def test_lines_that_are_dimmed_stay() -> None:
    paper = FIRST[100, 20].astype(float)
    dimmed = FIRST.astype(float)
    dimmed[90:150] = dimmed[90:150] * 0.35 + paper * 0.65
    assert found(held(FIRST, dimmed.astype(np.uint8), FIRST)) == []


def test_captions_and_clocks_turn_no_page() -> None:
    said = ("So this is what we caught", "and that is more than before", "as you will see", "in a moment from now")
    frames = [
        written(written(FIRST, said[at // 20], y=295, size=24), f"10:00:{at // 10:02}", y=32, size=12)
        for at in range(80)
    ]
    assert found(frames) == []
    assert found([*frames, *(written(SECOND, said[at // 20], y=295, size=24) for at in range(40))]) == [8.0]


def test_a_document_that_is_scrolled_is_one_page() -> None:
    sheet = np.concatenate([FIRST[90:210], SECOND[90:210], THIRD[90:210], FIRST[90:210], SECOND[90:210]])
    assert found(held(*(sheet[top : top + 360] for top in (0, 34, 68)))) == []


def talking(frames: Sequence[Pixels]) -> Iterator[Pixels]:
    """With a speaker in a corner, who moves by fits and starts."""
    rng, x, to = np.random.default_rng(3), 0.0, 0.0
    for frame in frames:
        picture = Image.fromarray(frame)
        draw = ImageDraw.Draw(picture)
        to = rng.uniform(-14, 14) if rng.random() < 0.06 else to
        x += (to - x) * 0.3
        draw.rectangle((500, 40, 630, 130), fill=(90, 80, 70))
        draw.ellipse((545 + x, 50, 585 + x, 100), fill=(210, 170, 150))
        draw.rectangle((525 + x, 102, 605 + x, 130), fill=(40, 50, 90))
        draw.rectangle((558 + x, 85, 572 + x, 87 + rng.uniform(0, 4)), fill=(120, 40, 40))
        yield np.asarray(picture)


def test_a_speaker_in_a_corner_does_not_count() -> None:
    assert found(list(talking(held(FIRST, SECOND, THIRD, frames=63)))) == [6.3, 12.6]


def test_what_moves_all_the_time_has_no_pages() -> None:
    # A clock's hand and a pattern that slides by.
    frames = []
    for at in range(100):
        picture = Image.fromarray(np.roll(FIRST, 3 * at, 1))
        ImageDraw.Draw(picture).pieslice((200, 60, 440, 300), at * 12 % 360, (at * 12 + 150) % 360, fill="black")
        frames.append(np.asarray(picture))
    assert found(frames) == []


def test_pictures_that_stand_for_long_are_seen(tmp_path: Path) -> None:
    times = [0.0, 0.3, 20.0, 20.3, 47.0, 60.0]
    path = film(tmp_path / "a.mkv", [FIRST, FIRST, SECOND, SECOND, THIRD, THIRD], times=times)
    media = probe(path, Limits())
    items = SceneFinder(Film(path, media, media.pictures[0]), None, 600, 640).scenes(Damage())
    assert [round(scene.start_s, 2) for scene in items if isinstance(scene, Scene)] == [0, 20, 47]


@pytest.mark.integration
def test_each_slide_is_a_scene_with_its_own_text(tmp_path: Path) -> None:
    frames = list(talking(held(FIRST, SECOND, THIRD, frames=4 * FPS)))
    path = film(tmp_path / "a.mp4", frames)
    media = probe(path, Limits())
    items = SceneFinder(Film(path, media, media.pictures[0]), RapidOcr(), 60, 640).scenes(Damage())
    scenes = [scene for scene in items if isinstance(scene, Scene)]
    assert [(s.start_s, s.end_s) for s in scenes] == [(0, 4), (4, 8), (8, 12)]
    texts = [" ".join(line.text for line in scene.texts) for scene in scenes]
    assert all("Harbour Board" in text for text in texts)
    for own, text in zip(("Herring", "crane", "spent"), texts, strict=True):
        assert own in text
        assert [other for other in ("Herring", "crane", "spent") if other in text] == [own]
