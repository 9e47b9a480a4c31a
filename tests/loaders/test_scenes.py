"""Scenes: cuts and dissolves found, what is none left alone, one good picture each, text on the screen."""

import io
import math
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.loaders.films import FPS, Pixels, dissolved, film, shot, written

from sensorium.errors import LoadError, ModelError
from sensorium.loaders._media import scenes as scenes_module
from sensorium.loaders._media.cuts import CutFinder
from sensorium.loaders._media.frames import Damage, Film, Shrinker, stills
from sensorium.loaders._media.moments import moments
from sensorium.loaders._media.probe import probe
from sensorium.loaders._media.scenes import Scene, SceneFinder
from sensorium.loaders._media.screen_text import ScreenText
from sensorium.loaders.base import Advance, Limits
from sensorium.models.ocr import RapidOcr
from sensorium.ocr_types import OcrEngine, OcrLine


def opened(path: Path) -> Film:
    media = probe(path, Limits())
    return Film(path, media, media.pictures[0])


def scenes(path: Path, ocr: OcrEngine | None = None, longest: float = 60.0) -> list[Scene]:
    finder = SceneFinder(opened(path), ocr, longest, 640)
    return [item for item in finder.scenes(Damage()) if isinstance(item, Scene)]


class SlowReader:
    """Takes its time to read the size and the mean shade of a picture, or fails."""

    def __init__(self, fault: Exception | None = None) -> None:
        self._fault = fault

    def read(self, picture: Image.Image) -> list[OcrLine]:
        if self._fault is not None:
            raise self._fault
        time.sleep(0.05)
        text = f"{picture.width} by {picture.height}, shade {np.asarray(picture).mean():.3f}"
        return [OcrLine(text, (0.03, 0.1, 0.5, 0.25), 0.9)]


def picture(scene: Scene) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(scene.picture)))


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        pytest.param("a.mkv", "mpeg4", marks=pytest.mark.integration),
        pytest.param("a.webm", "libvpx", marks=pytest.mark.integration),
    ],
)
def test_hard_cuts_are_found_to_the_frame(tmp_path: Path, name: str, codec: str) -> None:
    path = film(tmp_path / name, [*shot(1, 1.6), *shot(2, 2.0, pan=1.5), *shot(3, 1.4)], codec=codec)
    found = scenes(path)
    assert [round(s.start_s, 2) for s in found] == [0, 1.6, 3.6]
    assert [round(s.end_s, 2) for s in found] == [1.6, 3.6, 5.0]
    assert all(s.start_s <= s.at_s < s.end_s for s in found)
    for scene, seed in zip(found, (1, 2, 3), strict=True):
        wanted = shot(seed, 0.1)[0].astype(float)
        if seed != 2:  # which moves
            assert np.abs(picture(scene) - wanted).mean() < 12


@pytest.mark.parametrize("frames", [12, pytest.param(25, marks=pytest.mark.integration)])
def test_a_dissolve_is_one_cut_in_its_middle_and_no_picture_is_taken_from_it(tmp_path: Path, frames: int) -> None:
    path = film(tmp_path / "a.mp4", dissolved(shot(4, 3.0), shot(5, 3.0), frames))
    found = scenes(path)
    assert len(found) == 2
    middle = 3.0 - frames / FPS / 2
    assert found[1].start_s == found[0].end_s == pytest.approx(middle, abs=0.13)
    for scene, seed in zip(found, (4, 5), strict=True):
        assert np.abs(picture(scene) - shot(seed, 0.1)[0].astype(float)).mean() < 12


def test_a_fade_through_black_is_one_cut_and_no_black_picture_is_taken(tmp_path: Path) -> None:
    black = [np.zeros((180, 320, 3), np.uint8)] * 13
    frames = dissolved(dissolved(shot(6, 2.5), [*black, *black], 10), [*black[:10], *shot(7, 2.5)], 10)
    found = scenes(film(tmp_path / "a.mp4", frames))
    assert len(found) == 2
    assert all(picture(scene).mean() > 40 for scene in found)


def test_flashes_pans_and_changes_of_the_light_are_no_cuts(tmp_path: Path) -> None:
    frames = shot(8, 6.0, pan=1.0)
    for at in (50, 51, 90):
        frames[at] = (frames[at] * 0.3 + 175).astype(np.uint8)
    frames[110:] = [
        np.clip(f * np.linspace(1, 0.6, 40)[i], 0, 255).astype(np.uint8) for i, f in enumerate(frames[110:])
    ]
    assert len(scenes(film(tmp_path / "a.mp4", frames))) == 1


def test_scenes_between_black_bars_are_told_apart(tmp_path: Path) -> None:
    frames = [*shot(9, 1.6), *shot(10, 1.6)]
    for frame in frames:
        frame[:, :90] = frame[:, 230:] = 0
    path = film(tmp_path / "a.mp4", dissolved(frames[:40], frames[40:], 12))
    assert Shrinker(opened(path)).small(next(stills(opened(path), Damage())).frame)[0].min(0).min() > 0
    assert len(scenes(path)) == 2


@pytest.mark.integration
def test_long_scenes_are_cut_at_whole_frames(tmp_path: Path) -> None:
    found = scenes(film(tmp_path / "a.mp4", shot(11, 5.0)), longest=2.0)
    assert [round(s.start_s, 2) for s in found] == [0, 2, 4]


def test_times_of_a_variable_frame_rate_are_kept(tmp_path: Path) -> None:
    times = [0.0, 4.0, 4.2, 11.52, 20.0]
    frames = [shot(seed, 0.05)[0] for seed in (12, 13, 13, 14, 15)]
    found = scenes(film(tmp_path / "a.mkv", frames, times=times))
    assert [round(s.start_s, 2) for s in found] == [0, 4, 11.52, 20]
    assert found[-1].end_s > 20


def test_one_frame_is_a_scene(tmp_path: Path) -> None:
    (scene,) = scenes(film(tmp_path / "a.mp4", shot(16, 1 / FPS)))
    assert (scene.start_s, scene.at_s) == (0, 0)
    assert 0 < scene.end_s <= 0.05


@pytest.mark.integration
def test_finding_may_begin_at_any_scene(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [*shot(17, 2.0), *shot(18, 2.0), *shot(19, 2.0)])
    finder = SceneFinder(opened(path), None, 60, 320)
    later = [s for s in finder.scenes(Damage(), 2.0) if isinstance(s, Scene)]
    assert [(s.start_s, s.end_s, s.at_s) for s in later] == [(s.start_s, s.end_s, s.at_s) for s in scenes(path)[1:]]


@pytest.mark.integration
def test_text_is_read_once_for_each_stable_text(tmp_path: Path) -> None:
    reads = []

    class Counting(RapidOcr):
        def read(self, picture: Image.Image) -> list:  # type: ignore[type-arg]
            reads.append(picture.size)
            return super().read(picture)

    moving = shot(20, 6.0, pan=0.8)
    said = ("The first caption", "Another line here")
    frames = [written(frame, said[at // 75], y=140) for at, frame in enumerate(moving)]
    (scene,) = scenes(film(tmp_path / "a.mp4", frames), Counting())
    assert [line.text.replace(" ", "") for line in scene.texts] == [text.replace(" ", "") for text in said]
    first, second = scene.texts
    assert first.start_s == 0
    assert first.end_s == pytest.approx(3, abs=0.6)
    assert second.start_s == pytest.approx(3, abs=1.2)
    assert second.end_s == pytest.approx(6)
    assert first.box[1] > 0.7
    assert len(reads) <= 4


@pytest.mark.integration
def test_lines_that_are_added_to_a_slide_are_found(tmp_path: Path) -> None:
    paper = np.full((180, 320, 3), 245, np.uint8)
    lines = ("Results of the year", "Revenue grew", "Costs fell")
    frames = [written(paper, *lines[: 1 + at // 50], fill="black") for at in range(150)]
    (scene,) = scenes(film(tmp_path / "a.mp4", frames), RapidOcr())
    assert [line.text for line in scene.texts] == list(lines)
    assert [round(line.start_s) for line in scene.texts] == [0, 2, 4]
    assert {line.end_s for line in scene.texts} == {6.0}


@pytest.mark.integration
def test_pictures_at_intervals_and_key_pictures(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [*shot(21, 3.0), *shot(22, 9.0)])

    def at(every_s: float | None) -> list[float]:
        found = moments(opened(path), None, every_s, 320, Damage())
        return [round(item.start_s, 2) for item in found if isinstance(item, Scene)]

    assert at(2.0) == [0, 2, 4, 6, 8, 10]
    assert at(5.0) == [0, 5, 10]
    keys = at(None)
    assert keys[0] == 0
    assert 3.0 in keys  # the encoder sees the cut, too
    assert len(keys) < 12


def stages() -> list[str]:
    """Threads of stages that are at work."""
    return [thread.name for thread in threading.enumerate() if thread.name == "sensorium-ahead"]


def test_stages_that_work_ahead_find_what_one_after_the_other_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [*dissolved(shot(4, 3.0), shot(5, 3.0), 12), *shot(26, 1.2, pan=1.0), *shot(27, 2.0)]
    reader = SlowReader()
    path = film(tmp_path / "a.mp4", [written(frame, f"Line {at // 40}") for at, frame in enumerate(frames)])
    at_once = scenes(path, reader)
    monkeypatch.setattr(scenes_module, "ahead", lambda items, most: items)
    assert at_once == scenes(path, reader)
    assert len(at_once) > 3
    assert any(scene.texts for scene in at_once)


def test_who_takes_the_first_scene_only_leaves_no_thread_behind(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [*shot(1, 1.6), *shot(2, 8.0, pan=0.2), *shot(3, 4.0)])
    found = SceneFinder(opened(path), None, 60, 320).scenes(Damage())
    assert isinstance(next(found), Scene)
    assert len(stages()) == 2
    found.close()
    assert not stages()


def test_errors_of_decoding_and_of_reading_arrive_and_leave_no_thread_behind(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [written(frame, "What is to be read") for frame in shot(1, 4.0)])
    with pytest.raises(ModelError, match="out of order"):
        scenes(path, SlowReader(ModelError("out of order")))
    assert not stages()
    finder = SceneFinder(opened(path), None, 60, 320)
    path.write_bytes(b"no film any more")
    with pytest.raises(LoadError):
        next(finder.scenes(Damage()))
    assert not stages()


def test_damage_belongs_to_the_part_in_which_it_lies() -> None:
    damage = Damage([(1.0, 3.0), (9.5, 12.0), (20.0, 20.0)], 30.0)
    assert damage.between(0.0, 10.0) == Damage([(1.0, 3.0), (9.5, 10.0)])
    assert damage.between(10.0, math.inf) == Damage([(10.0, 12.0), (20.0, 20.0)], 30.0)


def test_text_is_followed_when_the_shape_of_the_pictures_changes() -> None:
    text = ScreenText(SlowReader(), 0.0)
    for at in range(20):
        paper = np.full((270 if at < 10 else 360, 480, 3), 245, np.uint8)
        shown = Image.fromarray(written(paper, "Results of the year", "Revenue grew", fill="black"))
        text.see(0.4 * at, np.asarray(shown.convert("L")), lambda shown=shown: shown)
    (before, after) = text.finish(8.0)
    assert (before.text[:10], before.start_s, before.end_s) == ("480 by 270", 0.0, 4.0)
    assert (after.text[:10], after.start_s, after.end_s) == ("480 by 360", 4.0, 8.0)


def test_how_far_it_is_is_told(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [shot(23, 0.05)[0]] * 60, times=[float(at) for at in range(60)])
    told = [item for item in SceneFinder(opened(path), None, 60, 320).scenes(Damage()) if isinstance(item, Advance)]
    assert [round(item.done_s) for item in told] == [20, 40]


def test_the_finder_holds_a_few_seconds_only() -> None:
    finder = CutFinder()
    small = np.zeros((3, 36, 64), np.uint8)
    for at in range(3000):
        finder.add(at / 25, small)
    assert len(finder._seen) < 300
    assert not finder.finish()


def test_a_band_much_wider_than_high_is_looked_at(tmp_path: Path) -> None:
    dark, light = (np.full((16, 1280, 3), shade, np.uint8) for shade in (40, 200))
    path = film(tmp_path / "a.mp4", [dark] * 30 + [light] * 30)
    assert scenes(path)[-1].end_s == pytest.approx(60 / 25, abs=0.1)
