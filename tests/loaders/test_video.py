"""Video recordings: scenes, speech beside them, several streams, rotation, resuming, and bad input."""

import io
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from llama_index.core.schema import ImageNode, TextNode
from PIL import Image
from tests.loaders.films import film, shot, written
from tests.loaders.sounds import Uninstalled

from sensorium.errors import EvidenceError, LoadError
from sensorium.loaders import BY_MEDIA_TYPE
from sensorium.loaders._media import reel
from sensorium.loaders.base import Advance, Fault, Item, Limits, Tools, local_file
from sensorium.loaders.sniff import sniff
from sensorium.loaders.video import VideoLoader
from sensorium.models.ocr import RapidOcr
from sensorium.nodes import Evidence
from sensorium.pipelines.assets import AssetStore
from sensorium.pipelines.evidence import PictureDrawer
from sensorium.speech_types import Segment, Sound, Word, word_times


class Assets:
    """Assets in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, data: bytes, suffix: str) -> str:
        name = sha256(data).hexdigest() + suffix
        (self.folder / name).write_bytes(data)
        return name

    def path(self, name: str) -> str:
        return str(self.folder / name)


class Parts(dict[str, bytes]):
    """Parts in memory."""

    def put(self, key: str, data: bytes) -> None:
        self[key] = data


class Talker:
    """Hears a word a second, whatever is to be heard."""

    revision = "talker"

    def transcribe(self, sound: Sound) -> list[Segment]:
        words = [Word(f"word{at}", at + 0.1, at + 0.6, 0.9) for at in range(len(sound) // 16_000)]
        return [Segment(w.text, w.start_s, w.end_s, (w,), "en", 0.9) for w in words]


def load(path: Path, tools: Tools | None = None, loader: VideoLoader | None = None) -> list[Item]:
    return list((loader or VideoLoader()).load(local_file(path), tools or Tools(assets=Assets(path.parent))))


def scenes(items: list[Item], kind: str = "scene") -> list[ImageNode]:
    return [item for item in items if isinstance(item, ImageNode) and item.metadata["kind"] == kind]


def spans(items: list[Item], kind: str = "scene") -> list[tuple[float, float]]:
    return [(n.metadata["start_s"], n.metadata["end_s"]) for n in scenes(items, kind)]


def faults(items: list[Item]) -> str:
    return "\n".join(str(item) for item in items if isinstance(item, Fault))


def size(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of 3 s, text in the second, a tone."""
    frames = [*shot(1, 3.0), *(written(frame, "Quarterly", y=60) for frame in shot(2, 3.0))]
    return film(tmp_path_factory.mktemp("films") / "My first film.mp4", frames, sound_s=6.0)


@pytest.mark.integration
def test_scenes_are_picture_nodes_with_times_text_and_an_asset(two: Path, tmp_path: Path) -> None:
    items = load(two, Tools(ocr=RapidOcr(), assets=Assets(tmp_path)))
    first, second = scenes(items)
    assert spans(items) == [(0, 3), (3, 6)]
    assert (first.text, second.text) == ("", "Quarterly")
    assert first.metadata["title"] == "My first film"  # there is nothing else to find it by
    assert "title" not in second.metadata
    assert word_times(second) == [(0, 9, 3.0, 6.0)]
    for node in (first, second):
        assert node.metadata["start_s"] <= node.metadata["at_s"] < node.metadata["end_s"]
        assert Image.open(tmp_path / node.metadata["asset"]).size == (320, 180)
        assert node.image_path == str(tmp_path / node.metadata["asset"])
        assert {"at_s", "words", "said", "asset"}.isdisjoint(node.get_metadata_str())


@pytest.mark.integration
def test_only_one_of_the_scenes_without_words_goes_by_the_name_of_the_file(tmp_path: Path) -> None:
    path = film(tmp_path / "holiday.mp4", [*shot(1, 1.5), *shot(2, 1.5), *shot(3, 1.5)])
    nodes = scenes(load(path))
    assert [n.metadata.get("title") for n in nodes] == ["holiday", None, None]
    assert [n.metadata.get("bbox") for n in nodes] == [[0, 0, 1, 1], None, None]


def test_speech_and_scenes_know_of_each_other(two: Path, tmp_path: Path) -> None:
    items = load(two, Tools(assets=Assets(tmp_path), speech=Talker()))
    speech = [i for i in items if isinstance(i, TextNode) and i.metadata["kind"] == "speech"]
    first, second = scenes(items)
    assert first.metadata["said"] == "word0 word1 word2"
    assert second.metadata["said"] == "word3 word4 word5"
    assert "word0" not in first.text + second.text
    assert {node.metadata["asset"] for node in speech} <= {first.metadata["asset"], second.metadata["asset"]}
    assert all(node.metadata["at_s"] in (first.metadata["at_s"], second.metadata["at_s"]) for node in speech)
    told = [item for item in items if isinstance(item, Advance)]
    assert told[-1].done_s == pytest.approx(told[-1].total_s, abs=0.2)


def test_without_an_engine_the_scenes_are_there_and_the_row_says_what_to_do(two: Path) -> None:
    items = load(two)
    assert len(scenes(items)) == 2
    assert "index.speech" in faults(items)
    assert "OCR is switched off" in faults(items)


def test_without_the_extra_the_row_says_what_to_install(two: Path) -> None:
    items = load(two, Tools(speech=Uninstalled()))
    assert len(scenes(items)) == 2
    assert "pip install 'sensorium[speech]'" in faults(items)


def test_the_picture_is_the_frame_at_full_size(two: Path) -> None:
    node = scenes(load(two))[1]
    evidence = Evidence.of(node).model_copy(update={"start_s": node.metadata["at_s"], "end_s": node.metadata["at_s"]})
    shown = VideoLoader().picture(local_file(two), evidence)
    assert (shown.media_type, size(shown.data)) == ("image/jpeg", (320, 180))
    kept = np.asarray(Image.open(node.image_path or ""), float)
    assert np.abs(np.asarray(Image.open(io.BytesIO(shown.data)), float) - kept).mean() < 4


def test_a_citation_shows_the_chosen_frame(two: Path, tmp_path: Path) -> None:
    node = scenes(load(two))[0]
    metadata = node.metadata | {"at_s": 0.4}
    drawer = PictureDrawer(lambda _: VideoLoader(), AssetStore(str(tmp_path)))
    evidence = Evidence.of(node)
    chosen = evidence.model_copy(update={"start_s": 0.4, "end_s": 0.4})
    assert drawer.draw(evidence, metadata).data == VideoLoader().picture(local_file(two), chosen).data
    assert drawer.draw(evidence, metadata).data != VideoLoader().picture(local_file(two), evidence).data


def test_the_clip_lasts_what_the_evidence_says(two: Path) -> None:
    clip = VideoLoader().clip(local_file(two), Evidence.of(scenes(load(two))[1]))
    container: Any = av.open(io.BytesIO(clip.data))
    with container:
        assert len(list(container.decode(video=0))) == 75


def test_pictures_at_intervals_are_frames(two: Path) -> None:
    assert spans(load(two, loader=VideoLoader(frames={"every_s": 2})), "frame") == [(0, 2), (2, 4), (4, 6)]
    assert spans(load(two, loader=VideoLoader(frames="keyframes")), "frame")[0][0] == 0


def test_a_rotated_film_is_shown_upright(two: Path, tmp_path: Path) -> None:
    path = tmp_path / "turned.mp4"
    data = two.read_bytes()
    # The display matrix of the track header: a quarter turn.
    upright = bytes.fromhex("00010000" + "00" * 12 + "00010000" + "00" * 12 + "40000000")
    turned = bytes.fromhex("00000000 00010000 00000000 ffff0000 00000000 00000000 00000000 00000000 40000000")
    at = data.index(b"tkhd")
    path.write_bytes(data[:at] + data[at:].replace(upright, turned, 1))
    node = scenes(load(path))[0]
    assert (node.metadata["width"], node.metadata["height"]) == (180, 320)
    assert size(VideoLoader().picture(local_file(path), Evidence.of(node)).data) == (180, 320)


@pytest.mark.integration
def test_of_several_films_one_is_read_and_others_by_option(tmp_path: Path) -> None:
    large = [np.repeat(np.repeat(frame, 2, 0), 2, 1) for frame in shot(2, 2.0)]
    path = film(tmp_path / "a.mp4", [*shot(1, 1.0), *shot(3, 1.0)], more=[large])
    first = load(path)  # which is marked as the default
    assert (len(scenes(first)), scenes(first)[0].metadata["stream"]) == (2, 1)
    (other,) = scenes(load(path, loader=VideoLoader(stream=2)))
    assert (other.metadata["width"], other.metadata["stream"]) == (640, 2)
    assert size(VideoLoader(stream=2).picture(local_file(path), Evidence.of(other)).data) == (640, 360)
    with pytest.raises(LoadError, match="2 streams of moving pictures, not 3"):
        load(path, loader=VideoLoader(stream=3))


def test_a_film_without_pictures_is_read_as_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as target:
        stream: Any = target.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 96_000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            target.mux(packet)
    items = load(path, Tools(speech=Talker()))
    assert [i.metadata["kind"] for i in items if isinstance(i, TextNode)] == ["speech"]


@pytest.mark.integration
def test_a_killed_run_goes_on_after_its_finished_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reel, "PART_S", 2.0)
    path = film(tmp_path / "a.mp4", [frame for seed in range(1, 6) for frame in shot(seed, 1.4)])
    parts = Parts()
    tools = Tools(assets=Assets(tmp_path), parts=parts)
    whole = load(path, tools)
    assert len(parts) == 3
    last = max(parts)
    del parts[last]
    done = dict(parts)
    again = load(path, tools)
    assert [n.node_id for n in scenes(again)] == [n.node_id for n in scenes(whole)]
    assert spans(whole) == [(0, 1.4), (1.4, 2.8), (2.8, 4.2), (4.2, 5.6), (5.6, 7)]
    assert done == {key: parts[key] for key in done}
    assert last in parts
    alone = load(path, replace(tools, parts=None))
    assert spans(alone) == spans(whole)


def test_pictures_beyond_the_limit_are_refused_undecoded(two: Path) -> None:
    small = Limits(pixels=0.01)
    items = load(two, Tools(speech=Talker(), limits=small))
    assert not scenes(items)
    assert "320 x 180" in faults(items)
    assert any(isinstance(i, TextNode) and i.metadata["kind"] == "speech" for i in items)


@pytest.mark.integration
def test_a_film_cut_off_is_read_up_to_there(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.mkv", [*shot(1, 4.0), *shot(2, 4.0)])
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    items = load(path)
    assert 3 < scenes(items)[-1].metadata["end_s"] < 7
    assert "cut off or damaged" in faults(items)


@pytest.mark.integration
def test_damaged_pictures_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    path = film(
        tmp_path / "a.mp4", [*shot(1, 3.0), *shot(2, 3.0)], change=lambda s: setattr(s.codec_context, "gop_size", 12)
    )
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size, float(p.pts * p.time_base)) for p in container.demux(video=0) if p.size and p.pts]
    data = bytearray(path.read_bytes())
    for position, length, time in packets:
        if 1.0 <= time < 1.4 and position:
            data[position + 4 : position + length] = bytes(length - 4)
    path.write_bytes(data)
    items = load(path)
    assert spans(items)[-1] == (3, 6)
    assert "0:01" in faults(items)


@pytest.mark.parametrize("damage", ["zeros", "header", "empty"])
def test_what_is_no_film_is_an_error(two: Path, tmp_path: Path, damage: str) -> None:
    data = two.read_bytes()
    path = tmp_path / "a.mp4"
    path.write_bytes({"zeros": data[:64] + bytes(2000), "header": data[:200], "empty": b""}[damage])
    with pytest.raises(LoadError):
        load(path)


def test_a_film_is_known_by_its_content(two: Path, tmp_path: Path) -> None:
    path = tmp_path / "film.pdf"
    shutil.copy(two, path)
    assert BY_MEDIA_TYPE[sniff(path)] == "video"
    assert len(scenes(load(path))) == 2


def test_evidence_behind_the_end_of_a_damaged_film_is_an_error(two: Path, tmp_path: Path) -> None:
    evidence = Evidence.of(scenes(load(two))[0])
    path = tmp_path / "a.mp4"
    path.write_bytes(two.read_bytes()[:300])
    with pytest.raises(EvidenceError):
        VideoLoader().picture(local_file(path), evidence)


def test_tags_and_chapters_stand_beside_the_scenes(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", shot(1, 1.0), tags={"title": "The long walk", "comment": "Filmed in Norway"})
    items = load(path)
    (text,) = [i for i in items if isinstance(i, TextNode) and i.metadata["kind"] == "text"]
    assert "Norway" in text.text
    assert scenes(items)[0].metadata["title"] == "The long walk"


@pytest.mark.integration
def test_8k_is_read(tmp_path: Path) -> None:
    frames = [np.repeat(np.repeat(shot(seed, 0.04)[0], 24, 0), 24, 1) for seed in (1, 1, 2, 2)]
    path = film(tmp_path / "a.mp4", frames, times=[0.0, 0.5, 1.0, 1.5])
    assert [start for start, _ in spans(load(path))] == [0, 1]
    assert scenes(load(path))[0].metadata["width"] == 1280
