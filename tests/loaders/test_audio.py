"""Sound: every format, times, parts, streams, tags, and what is bad about recordings."""

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import av
import numpy as np
import pytest
from llama_index.core.schema import ImageNode, TextNode
from PIL import Image
from tests.loaders.sounds import CODECS, Ear, Uninstalled, beeps, music, save

from sensorium.errors import EvidenceError, LoadError, SkippedError
from sensorium.loaders import BY_MEDIA_TYPE
from sensorium.loaders._media import sound
from sensorium.loaders._media.probe import probe
from sensorium.loaders.audio import AudioLoader
from sensorium.loaders.base import Advance, Fault, Item, Limits, Tools, local_file
from sensorium.nodes import Evidence
from sensorium.pipelines.split import SentenceSplit
from sensorium.speech_types import Segment, Sound, word_times


class Kept(dict[str, bytes]):
    """Finished parts, in memory."""

    def put(self, key: str, data: bytes) -> None:
        self[key] = data


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


@pytest.fixture
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 20 s in place of minutes."""
    monkeypatch.setattr(sound, "PART_S", 20.0)
    monkeypatch.setattr(sound, "_SEARCH_S", 5.0)


def load(path: Path, tools: Tools | None = None, loader: AudioLoader | None = None) -> list[Item]:
    return list((loader or AudioLoader()).load(local_file(path), tools or Tools(speech=Ear())))


def nodes(items: list[Item], kind: str = "speech") -> list[TextNode]:
    return [item for item in items if isinstance(item, TextNode) and item.metadata["kind"] == kind]


def faults(items: list[Item]) -> list[str]:
    return [str(item) for item in items if isinstance(item, Fault)]


def times(items: list[Item]) -> Iterator[tuple[str, float]]:
    for node in nodes(items):
        yield from ((node.text[a:b], start) for a, b, start, _ in word_times(node))


@pytest.mark.parametrize("suffix", CODECS)
def test_every_format_gives_words_at_their_times(tmp_path: Path, suffix: str) -> None:
    rate = 48_000 if CODECS[suffix] == "libopus" else 44_100
    path = save(tmp_path / f"a{suffix}", beeps(12, rate), rate=rate)
    found = list(times(load(path)))
    assert [word for word, _ in found] == [f"tone{n}." for n in range(12)]
    assert all(abs(at - n) < 0.06 for n, (_, at) in enumerate(found))


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".ogg", ".opus", ".flac", ".m4a"])
def test_the_loader_is_found_by_content(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", beeps(2, 48_000), rate=48_000)
    named = path.rename(tmp_path / "slides.pdf")
    assert BY_MEDIA_TYPE[local_file(named).media_type] == "audio"
    assert len(list(times(load(named)))) == 2


def test_passages_are_of_a_useful_length_and_hold_every_word(tmp_path: Path) -> None:
    items = load(save(tmp_path / "a.wav", beeps(150)))
    passages = nodes(items)
    assert all(20 <= n.metadata["end_s"] - n.metadata["start_s"] <= 61 for n in passages[:-1])
    assert " ".join(n.text for n in passages) == " ".join(f"tone{n}." for n in range(150))
    assert passages[0].metadata["language"] == "en"
    assert passages[0].metadata["speech_score"] == 0.9
    assert "words" in passages[0].excluded_embed_metadata_keys


@pytest.mark.usefixtures("short_parts")
def test_long_sound_is_recognised_in_parts_with_advances(tmp_path: Path) -> None:
    ear = Ear()
    items = load(save(tmp_path / "a.flac", beeps(50)), Tools(speech=ear))
    assert len(ear.heard) == 3
    assert max(ear.heard) <= 20
    found = list(times(items))
    assert [round(at) for _, at in found] == list(range(50))
    assert all(abs(at - round(at)) < 0.06 for _, at in found)
    done = [item.done_s for item in items if isinstance(item, Advance)]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(50, abs=0.1)


@pytest.mark.usefixtures("short_parts")
def test_finished_parts_are_not_recognised_again(tmp_path: Path) -> None:
    path = save(tmp_path / "a.flac", beeps(40))
    kept, first, second, other = Kept(), Ear(), Ear(), Ear("ear-2")
    whole = load(path, Tools(speech=first, parts=kept))
    del kept[max(kept)]
    again = load(path, Tools(speech=second, parts=kept))
    assert (len(first.heard), len(second.heard)) == (3, 1)
    assert [round(at) for _, at in times(again)] == [round(at) for _, at in times(whole)]
    load(path, Tools(speech=other, parts=kept))
    assert len(other.heard) == 3


def test_a_hole_in_the_sound_moves_what_follows(tmp_path: Path) -> None:
    items = load(save(tmp_path / "a.mka", beeps(10), hole=(5.5, 7.0)))
    assert [round(at) for _, at in times(items)] == [0, 1, 2, 3, 4, 5, 13, 14, 15, 16]


def test_the_default_stream_is_taken_and_others_by_option(tmp_path: Path) -> None:
    path = save(tmp_path / "a.mka", beeps(3), beeps(6), languages=("ger", "eng"), default=1)
    assert len(list(times(load(path)))) == 6
    assert nodes(load(path))[0].metadata["stream"] == 2
    assert len(list(times(load(path, loader=AudioLoader(stream=1))))) == 3
    with pytest.raises(LoadError, match="has 2 sound streams, not 5"):
        load(path, loader=AudioLoader(stream=5))


def test_tags_are_words_and_the_title_is_the_title(tmp_path: Path) -> None:
    tags = {"title": "Harbour notes", "artist": "M. Ford", "comment": "Encoded by nobody", "track": "3"}
    items = load(save(tmp_path / "a.flac", beeps(2), tags=tags))
    (about,) = nodes(items, "text")
    assert about.text == "Title: Harbour notes\nArtist: M. Ford"
    assert nodes(items)[0].metadata["title"] == "Harbour notes"


def test_chapters_are_sections_and_split_passages(tmp_path: Path) -> None:
    path = tmp_path / "a.mka"
    save(path, beeps(12))
    chaptered = tmp_path / "b.mka"
    with av.open(str(path)) as source, av.open(str(chaptered), "w") as target:
        stream = target.add_stream_from_template(source.streams[0])
        target.set_chapters([
            {"id": n, "start": 6000 * n, "end": 6000 * (n + 1), "time_base": Fraction(1, 1000),
             "metadata": {"title": title}} for n, title in enumerate(("Tides", "Winds"))
        ])  # fmt: skip
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    items = load(chaptered)
    assert [(n.metadata["section"], n.metadata["start_s"]) for n in nodes(items)] == [("Tides", 0.0), ("Winds", 6.0)]
    assert "Chapter at 0:06: Winds" in nodes(items, "text")[0].text


def test_a_cover_is_a_picture(tmp_path: Path) -> None:
    path = _with_cover(tmp_path)
    items = load(path, Tools(speech=Ear(), assets=Assets(tmp_path)))
    (figure,) = nodes(items, "figure")
    assert isinstance(figure, ImageNode)
    assert Image.open(str(figure.image_path)).size == (64, 48)
    shown = AudioLoader().picture(local_file(path), Evidence.of(figure))
    assert Image.open(io.BytesIO(shown.data)).size == (64, 48)
    assert len(nodes(items)) == 1


def _with_cover(folder: Path) -> Path:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(out, "PNG")
    plain, path = save(folder / "plain.flac", beeps(3)).read_bytes(), folder / "a.flac"
    picture = struct.pack(">II", 3, 9) + b"image/png" + struct.pack(">I4II", 0, 64, 48, 24, 0, len(out.getvalue()))
    picture += out.getvalue()
    # Behind the stream information, which is 4 + 34 bytes long, comes the picture, and then what was there.
    block = bytes([6]) + len(picture).to_bytes(3, "big") + picture
    path.write_bytes(plain[:42] + block + plain[42:])
    return path


def test_what_a_citation_shows(tmp_path: Path) -> None:
    path = save(tmp_path / "a.mp3", beeps(8))
    evidence = Evidence.of(nodes(load(path))[0]).model_copy(update={"start_s": 2.0, "end_s": 5.0})
    assert AudioLoader().picture(local_file(path), evidence).media_type == "image/png"
    clip = AudioLoader().clip(local_file(path), evidence)
    (tmp_path / "clip.m4a").write_bytes(clip.data)
    assert probe(tmp_path / "clip.m4a", Limits()).duration_s == pytest.approx(3.0, abs=0.05)
    path.write_bytes(b"ID3 no sound")
    with pytest.raises(EvidenceError, match=r"a\.mp3"):
        AudioLoader().clip(local_file(path), evidence)


def test_the_splitter_leaves_passages_whole(tmp_path: Path) -> None:
    items = load(save(tmp_path / "a.wav", beeps(120)), Tools(speech=Ear(name="Numbered word {} of them.".format)))
    split = [item for item in SentenceSplit().split(items) if isinstance(item, TextNode)]
    assert [n.text for n in split] == [n.text for n in nodes(items)]


@pytest.mark.parametrize("channels", [1, 2, 6, 16])
def test_any_number_of_channels(tmp_path: Path, channels: int) -> None:
    wave = np.zeros((16_000 * 4, channels), np.int16)
    wave[:] = (beeps(4) * 32767).astype(np.int16)[:, None]
    path = tmp_path / "a.wav"
    path.write_bytes(_wav(wave.tobytes(), channels))
    assert [round(at) for _, at in times(load(path))] == [0, 1, 2, 3]


def _wav(data: bytes, channels: int = 1, rate: int = 16_000, claimed: int | None = None) -> bytes:
    size = len(data) if claimed is None else claimed
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    head = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size & 0xFFFFFFFF)
    return b"RIFF" + struct.pack("<I", (size + 36) & 0xFFFFFFFF) + head + data


@pytest.mark.parametrize("wave", [np.zeros(16_000 * 5, np.float32), music(5)], ids=["silence", "music"])
def test_a_recording_without_speech_is_stored_with_what_is_known(tmp_path: Path, wave: Sound) -> None:
    class Deaf(Ear):
        def transcribe(self, sound: Sound) -> list[Segment]:
            return []

    items = load(save(tmp_path / "harbour_bell.wav", wave), Tools(speech=Deaf()))
    (only,) = nodes(items, "text")
    assert only.text == "harbour bell: sound of 0:05 without speech"
    assert faults(items) == ["no speech was found in it"]


def test_without_the_extra_a_bare_recording_is_skipped_with_what_to_install(tmp_path: Path) -> None:
    path = save(tmp_path / "a.wav", beeps(3))
    with pytest.raises(SkippedError, match=r"pip install 'sensorium\[speech\]'"):
        load(path, Tools(speech=Uninstalled()))
    with pytest.raises(SkippedError, match=r"switched off \(index.speech\)"):
        load(path, Tools())


def test_without_the_extra_what_is_known_is_stored_with_a_warning(tmp_path: Path) -> None:
    path = save(tmp_path / "a.flac", beeps(3), tags={"title": "Harbour notes"})
    items = load(path, Tools(speech=Uninstalled()))
    assert nodes(items, "text")[0].text == "Title: Harbour notes"
    assert "pip install 'sensorium[speech]'" in faults(items)[0]


@pytest.mark.usefixtures("short_parts")
def test_a_failing_engine_costs_its_part_only(tmp_path: Path) -> None:
    class Tired(Ear):
        def transcribe(self, sound: Sound) -> list[Segment]:
            if len(self.heard) == 1:
                self.heard.append(0.0)
                raise LoadError("tired")
            return super().transcribe(sound)

    items = load(save(tmp_path / "a.flac", beeps(40)), Tools(speech=Tired()))
    assert faults(items) == ["0:20-0:39: tired"]
    assert len(list(times(items))) > 18


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".flac", ".ogg"])
def test_a_cut_off_file_gives_what_is_there(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", beeps(24, 48_000), rate=48_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = list(times(load(path)))
    assert 8 <= len(found) <= 16
    assert all(abs(at - n) < 0.06 for n, (_, at) in enumerate(found))


def test_a_cut_off_container_without_its_index_fails_with_a_reason(tmp_path: Path) -> None:
    path = save(tmp_path / "a.m4a", beeps(20))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(LoadError, match="damaged or cut off"):
        load(path)


def test_damage_inside_is_left_out_and_told(tmp_path: Path) -> None:
    path = save(tmp_path / "a.flac", beeps(30))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 300] = bytes(300)
    path.write_bytes(data)
    items = load(path)
    assert any("could not be decoded" in fault for fault in faults(items))
    assert len(list(times(items))) >= 25


def test_empty_and_headers_only(tmp_path: Path) -> None:
    (tmp_path / "zero.wav").write_bytes(b"")
    with pytest.raises(LoadError, match="empty"):
        load(tmp_path / "zero.wav")
    (tmp_path / "head.wav").write_bytes(_wav(b""))
    items = load(tmp_path / "head.wav")
    assert "its sound holds nothing that can be decoded" in faults(items)
    (tmp_path / "junk.mp3").write_bytes(b"ID3" + bytes(range(256)) * 8)
    with pytest.raises(LoadError, match=r"recording|sound|decoded"):
        load(tmp_path / "junk.mp3")


def test_pictures_without_sound_are_no_sound(tmp_path: Path) -> None:
    from tests.loaders.recordings import write

    with pytest.raises(LoadError, match="holds no sound"):
        load(write(tmp_path / "a.mp4", 1, sound=""))


def test_lengths_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(_wav(b"", rate=100, claimed=10 * 3600 * 200))
    with path.open("ab") as file:
        file.truncate(10 * 3600 * 200)  # a sparse file
    with pytest.raises(LoadError, match=r"limit is 5 \(index.limits.media_hours\)"):
        load(path, Tools(speech=Ear(), limits=Limits(media_hours=5)))


def test_a_header_that_claims_ten_hours_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "claims.wav"
    path.write_bytes(_wav((beeps(4) * 32767).astype("<i2").tobytes(), claimed=10 * 3600 * 32_000))
    items = load(path)
    assert [round(at) for _, at in times(items)] == [0, 1, 2, 3]
    assert all(node.metadata["end_s"] <= 5 for node in nodes(items))


def test_playlists_read_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "list.mp3"
    path.write_bytes(b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    with pytest.raises(LoadError, match="cannot be read as a recording"):
        load(path)
