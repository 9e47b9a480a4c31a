"""Captions: files beside recordings, tracks inside them, which of them are a transcript, and broken ones."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from llama_index.core.schema import TextNode
from tests.loaders.sounds import Ear, beeps, save

from sensorium.errors import LoadError, SkippedError
from sensorium.loaders._media.captions import Cue, parse, read_file
from sensorium.loaders.audio import AudioLoader
from sensorium.loaders.base import Fault, Item, Tools, local_file
from sensorium.loaders.captions import CaptionsLoader
from sensorium.speech_types import word_times

SPOKEN = ("The harbour master", "closes the north gate", "at half past seven", "every evening in winter.")


def clock(seconds: float) -> str:
    return f"{int(seconds) // 3600:02}:{int(seconds) // 60 % 60:02}:{seconds % 60:06.3f}".replace(".", ",")


def srt(*cues: tuple[float, float, str]) -> str:
    blocks = (f"{n}\n{clock(a)} --> {clock(b)}\n{text}\n" for n, (a, b, text) in enumerate(cues, 1))
    return "\n".join(blocks)


def transcript(seconds: int = 12) -> str:
    return srt(*((n * 3.0, n * 3.0 + 2.8, SPOKEN[n % 4]) for n in range(seconds // 3)))


def load(path: Path, ear: Ear | None = None, loader: AudioLoader | None = None) -> list[Item]:
    return list((loader or AudioLoader()).load(local_file(path), Tools(speech=ear or Ear())))


def kinds(items: list[Item]) -> list[str]:
    return [item.metadata["kind"] for item in items if isinstance(item, TextNode)]


def faults(items: list[Item]) -> list[str]:
    return [str(item) for item in items if isinstance(item, Fault)]


def texts(items: list[Item]) -> str:
    return "\n".join(item.text for item in items if isinstance(item, TextNode))


def test_a_transcript_beside_the_recording_wins_and_nothing_is_recognised(tmp_path: Path) -> None:
    path, ear = save(tmp_path / "talk.flac", beeps(12)), Ear()
    (tmp_path / "talk.srt").write_text(transcript())
    items = load(path, ear)
    assert (kinds(items), ear.heard) == (["caption"], [])
    (node,) = (item for item in items if isinstance(item, TextNode))
    assert node.text == " ".join(SPOKEN)
    assert (node.metadata["start_s"], node.metadata["end_s"]) == (0.0, 11.8)
    assert (node.metadata["captions"], node.metadata["transcript"]) == ("talk.srt", True)
    assert [(node.text[a:b], s, e) for a, b, s, e in word_times(node)][1] == (SPOKEN[1], 3.0, 5.8)


def test_sparse_captions_with_the_same_words_win_after_recognition(tmp_path: Path) -> None:
    path = save(tmp_path / "talk.flac", np.concatenate([beeps(10), np.zeros(16_000 * 50, np.float32)]))
    ear = Ear(name="word{}".format)
    (tmp_path / "talk.vtt").write_text(
        "WEBVTT\n\n" + "\n".join(f"00:{n:02}.000 --> 00:{n:02}.300\nword{n}\n" for n in range(10))
    )
    items = load(path, ear)
    assert ear.heard
    assert set(kinds(items)) == {"caption"}


def test_descriptions_are_kept_beside_the_speech(tmp_path: Path) -> None:
    path = save(tmp_path / "talk.flac", beeps(12))
    (tmp_path / "talk.srt").write_text(srt((0, 11, "[bell rings]")))
    assert sorted(kinds(load(path))) == ["caption", "speech"]


def test_a_translation_is_kept_beside_the_speech(tmp_path: Path) -> None:
    path = save(tmp_path / "talk.mka", beeps(12), languages=("eng",))
    (tmp_path / "talk.de.srt").write_text(transcript())
    items = load(path)
    assert sorted(kinds(items)) == ["caption", "speech"]
    (caption,) = (i for i in items if isinstance(i, TextNode) and i.metadata["kind"] == "caption")
    assert (caption.metadata["language"], caption.metadata["transcript"]) == ("de", False)


def test_options_both_and_off(tmp_path: Path) -> None:
    path = save(tmp_path / "talk.flac", beeps(12))
    (tmp_path / "talk.srt").write_text(transcript())
    assert sorted(kinds(load(path, loader=AudioLoader(captions="both")))) == ["caption", "speech"]
    assert kinds(load(path, loader=AudioLoader(captions="off"))) == ["speech"]


def test_the_language_wanted_is_taken(tmp_path: Path) -> None:
    path = save(tmp_path / "talk.flac", beeps(12))
    (tmp_path / "talk.en.srt").write_text(transcript())
    (tmp_path / "talk.de-AT.srt").write_text(transcript().replace("harbour master", "Hafenmeister"))
    assert "Hafenmeister" in texts(load(path, loader=AudioLoader(language="de")))
    assert "Hafenmeister" not in texts(load(path, loader=AudioLoader(language="en")))
    (tmp_path / "talking.srt").write_text(transcript().replace("gate", "nothing"))
    assert "nothing" not in texts(load(path))


def test_a_track_inside_is_used_and_the_file_beside_comes_first(tmp_path: Path) -> None:
    path = _with_track(tmp_path, save(tmp_path / "plain.mka", beeps(12)))
    items = load(path)
    assert kinds(items) == ["caption"]
    assert texts(items) == " ".join(SPOKEN)
    (node,) = (item for item in items if isinstance(item, TextNode))
    assert (node.metadata["captions"], node.metadata["end_s"]) == ("track 1", 11.8)
    (tmp_path / "talk.srt").write_text(transcript().replace("north", "south"))
    assert "south gate" in texts(load(path))


def _with_track(folder: Path, plain: Path) -> Path:
    """The sound with a track of captions: 3 s each."""
    path = folder / "talk.mkv"
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        sound: Any = target.add_stream_from_template(source.streams.audio[0])
        track: Any = target.add_stream("ass")
        for n, text in enumerate(SPOKEN):
            packet = av.Packet(f"{n},0,Default,,0,0,0,,{{\\i1}}{text}".encode())
            packet.stream, packet.time_base = track, Fraction(1, 1000)
            packet.pts = packet.dts = n * 3000
            packet.duration = 2800
            target.mux(packet)
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = sound
                target.mux(packet)
    return path


def test_captions_beyond_the_end_are_cut_and_left_out(tmp_path: Path) -> None:
    path = save(tmp_path / "talk.flac", beeps(10))
    (tmp_path / "talk.srt").write_text(transcript(30))
    items = load(path)
    assert faults(items) == ["captions talk.srt: 6 beyond the end of the recording were left out"]
    assert max(i.metadata["end_s"] for i in items if isinstance(i, TextNode)) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("encoding", "word"), [("utf-8-sig", "Hafengebäude"), ("utf-16", "Hafengebäude"), ("cp1252", "Hafengebäude")]
)
def test_encodings(tmp_path: Path, encoding: str, word: str) -> None:
    path = tmp_path / "talk.srt"
    path.write_bytes(transcript().replace("gate", word).replace("\n", "\r\n").encode(encoding))
    cues, bad = read_file(path)
    assert (len(cues), bad) == (4, 0)
    assert cues[1].text == f"closes the north {word}"


def test_broken_bytes_and_broken_captions_cost_themselves_only(tmp_path: Path) -> None:
    path = save(tmp_path / "talk.flac", beeps(12))
    broken = transcript().encode().replace(b"north", b"n\xffrth")
    (tmp_path / "talk.srt").write_bytes(broken + b"\n9\n00:00:xx --> 00:00:11,000\nlost\n")
    items = load(path)
    assert faults(items) == ["captions talk.srt: 1 without a time that can be read were left out"]
    assert "half past seven" in texts(items)


@pytest.mark.parametrize("data", [b"", b"\0\1\2\3" * 100, b"no captions at all", b"WEBVTT\n"])
def test_what_is_no_captions_leaves_the_recording_as_it_is(tmp_path: Path, data: bytes) -> None:
    path = save(tmp_path / "talk.flac", beeps(3))
    (tmp_path / "talk.vtt").write_bytes(data)
    items = load(path)
    assert kinds(items) == ["speech"]
    assert len(faults(items)) == 1
    assert "talk.vtt" in faults(items)[0]


def test_marks_voices_and_lines_that_roll_up() -> None:
    cues, bad = parse(
        "WEBVTT - made by hand\n\nSTYLE\n::cue { color: red }\n\nintro\n00:01.000 --> 00:02.500 align:start\n"
        "<v.loud Ann Lee>Hello <b>you</b> &amp; <00:00:02.000>me\nthere\n\n"
        "00:02.500 --> 00:04.000\nthere\nnow\n\nNOTE nothing\n\n00:05.000 --> 00:04.000\nbackwards\n"
    )
    assert cues == [Cue(1.0, 2.5, "Hello you & me there", "Ann Lee"), Cue(2.5, 4.0, "now", "")]
    assert bad == 1


def test_speakers_are_kept_apart(tmp_path: Path) -> None:
    path = save(tmp_path / "talk.flac", beeps(24))
    cues = "".join(
        f"00:{at:02}.000 --> 00:{at + 11:02}.000\n<v {who}>{' '.join(SPOKEN)}\n\n"
        for at, who in ((0, "Ann"), (12, "Bo"))
    )
    (tmp_path / "talk.vtt").write_text(f"WEBVTT\n\n{cues}")
    items = [item for item in load(path) if isinstance(item, TextNode)]
    assert [item.metadata["speaker"] for item in items] == ["Ann", "Bo"]


def test_a_caption_file_alone_is_read_and_one_beside_its_recording_is_not(tmp_path: Path) -> None:
    path = tmp_path / "talk.en.srt"
    path.write_text(transcript())
    file = local_file(path)
    assert file.media_type == "application/x-subrip"
    (node,) = (item for item in CaptionsLoader().load(file, Tools()) if isinstance(item, TextNode))
    assert (node.text, node.metadata["language"], node.metadata["end_s"]) == (" ".join(SPOKEN), "en", 11.8)
    save(tmp_path / "talk.mp3", beeps(12))
    with pytest.raises(SkippedError, match=r"belongs to talk\.mp3"):
        list(CaptionsLoader().load(file, Tools()))


def test_a_caption_file_without_captions_fails(tmp_path: Path) -> None:
    path = tmp_path / "talk.vtt"
    path.write_text("WEBVTT\n\nNOTE nothing\n")
    assert local_file(path).media_type == "text/vtt"
    with pytest.raises(LoadError, match="holds no caption"):
        list(CaptionsLoader().load(local_file(path), Tools()))
