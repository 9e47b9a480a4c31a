"""Clips and frames of recordings: exact to the frame, in time with their sound, in formats that browsers play."""

import io
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.loaders.recordings import Read, number_of, write

from sensorium.errors import EvidenceError
from sensorium.loaders._media import clips, spans
from sensorium.loaders._media.clips import clip, frame
from sensorium.loaders._media.probe import Media, probe
from sensorium.loaders._media.shown import shown_clip, shown_picture
from sensorium.loaders._media.waveform import HEIGHT, WIDTH, waveform
from sensorium.loaders.base import Limits, Picture, SourceFile, local_file
from sensorium.loaders.pdf import PdfLoader
from sensorium.nodes import Evidence, Kind

NTSC = Fraction(30_000, 1001)
Cut = Callable[..., Picture]


def media_of(path: Path) -> Media:
    return probe(path, Limits())


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 frames a second, a key frame every 2 s, B-frames, 44.1 kHz."""
    return write(tmp_path_factory.mktemp("clips") / "talk.mp4")


@pytest.mark.parametrize(
    ("start", "end"), [(0, 2), (2, 4), (1.2, 3.6), (1.204, 3.596), (3.12, 6), (5.96, 6), (0.0, 6.0)]
)
def test_a_clip_holds_exactly_the_frames_and_the_sound_of_its_span(talk: Path, start: float, end: float) -> None:
    """Bounds within 10 ms of a frame mean that frame."""
    made = clip(talk, start, end, media_of(talk))
    read = Read(made.data)
    assert made.media_type == "video/mp4"
    assert [number for _, number in read.frames] == list(range(round(start * 25), round(end * 25)))
    assert [time for time, _ in read.frames] == pytest.approx([n / 25 for n in range(len(read.frames))], abs=0.002)
    length = end - start
    assert read.seconds == pytest.approx(length, abs=0.03)
    assert read.lengths["video"] == pytest.approx(length, abs=0.02)
    expected = [second - start for second in range(7) if start <= second < end - 0.05]
    assert read.onsets == pytest.approx(expected, abs=0.012)
    assert read.streams == {"video": "h264", "audio": "aac"}


def test_between_frames_the_one_on_show_comes_first_and_the_sound_stays_in_time(talk: Path) -> None:
    read = Read(clip(talk, 1.22, 2.0, media_of(talk)).data)
    assert [number for _, number in read.frames] == list(range(30, 50))
    assert read.frames[1][0] == pytest.approx(0.02, abs=0.001)
    assert read.seconds == pytest.approx(0.78, abs=0.03)


def test_pictures_are_copied_where_both_bounds_allow_it(talk: Path) -> None:
    video = media_of(talk).pictures[0]

    def copyable(start: float, end: float) -> bool:
        return spans.copied(spans.Cut(talk, start, end, 0.0), video, 10_000_000) is not None

    assert copyable(0, 2)
    assert copyable(2, 4)
    assert copyable(2, 6)
    assert not copyable(1.2, 4)
    assert spans.copied(spans.Cut(talk, 0, 4, 0.0), video, 1000) is None  # too large


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vp9.webm", {"video": "libvpx", "sound": "libopus", "rate": 48_000}),
        ("talk.mkv", {"sound": "flac"}),
        ("old.mov", {"video": "mpeg4", "sound": "pcm_s16le", "layout": "stereo"}),
        ("phone.mp4", {"rate": 8000}),
        ("silent.mp4", {"sound": ""}),
        ("long-gop.mp4", {"gop": 1000}),
    ],
)
def test_other_codecs_and_containers_are_encoded_anew(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    path = write(tmp_path / name, 4, **options)  # type: ignore[arg-type]
    read = Read(clip(path, 1.2, 2.8, media_of(path)).data)
    assert [number for _, number in read.frames] == list(range(30, 70))
    assert read.seconds == pytest.approx(1.6, abs=0.03)
    assert read.onsets == pytest.approx([] if name == "silent.mp4" else [0.8], abs=0.012)
    assert read.streams["video"] == "h264"


@pytest.mark.integration
def test_ntsc_and_a_transport_stream_that_starts_late(tmp_path: Path) -> None:
    path = write(tmp_path / "ntsc.mp4", 4, fps=NTSC)
    read = Read(clip(path, round(float(40 / NTSC), 3), round(float(100 / NTSC), 3), media_of(path)).data)
    assert [number for _, number in read.frames] == list(range(40, 100))
    path = write(tmp_path / "talk.ts", 4, form="mpegts")
    media = media_of(path)
    assert media.start_s != 0
    first = media.pictures[0].start_s
    read = Read(clip(path, first + 1.2, first + 2.8, media).data)
    assert [number for _, number in read.frames] == list(range(30, 70))


def test_frames_of_varying_length_keep_their_times(tmp_path: Path) -> None:
    times = [0.0]
    for n in range(80):
        times.append(times[-1] + (0.02, 0.04, 0.1, 0.06)[n % 4])
    path = write(tmp_path / "vfr.mp4", times[-1], times=times)
    read = Read(clip(path, times[20], times[60], media_of(path)).data)
    assert [number for _, number in read.frames] == list(range(20, 60))
    shown = [at - times[20] for at in times[20:60]]
    assert [at for at, _ in read.frames] == pytest.approx(shown, abs=0.002)
    assert read.lengths["video"] == pytest.approx(times[60] - times[20], abs=0.002)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_clips_and_frames_are_upright(tmp_path: Path, rotation: int) -> None:
    path = write(tmp_path / "turned.mp4", 1, rotation=rotation)
    media = media_of(path)
    assert media.pictures[0].rotation == rotation
    still = Image.open(io.BytesIO(frame(path, 0.52, media, form="png").data))
    assert still.size == ((320, 180) if rotation == 180 else (180, 320))
    assert number_of(still.rotate(-rotation, expand=True)) == 13
    with_data = clip(path, 0.2, 0.8, media).data
    first = _first_frame(with_data)
    assert first.size == still.size
    assert number_of(first.rotate(-rotation, expand=True)) == 5


def _first_frame(data: bytes) -> Image.Image:
    import av

    with av.open(io.BytesIO(data), "r") as container:
        decoded: Any = next(container.decode(video=0))
        shown: Image.Image = decoded.to_image()
        return shown


@pytest.mark.integration
def test_large_pictures_are_scaled_and_stretched_pixels_made_square(tmp_path: Path) -> None:
    path = write(tmp_path / "large.mkv", 0.4, video="mpeg4", size=(1920, 1080))
    assert _first_frame(clip(path, 0.1, 0.3, media_of(path)).data).size == (1280, 720)


@pytest.mark.parametrize(
    ("at", "number"), [(0, 0), (1.0, 25), (1.036, 25), (1.04, 26), (1.05, 26), (5.96, 149), (90, 149)]
)
def test_a_frame_is_the_one_on_show(talk: Path, at: float, number: int) -> None:
    picture = frame(talk, at, media_of(talk))
    assert picture.media_type == "image/jpeg"
    assert number_of(Image.open(io.BytesIO(picture.data))) == number


@pytest.mark.parametrize(
    ("name", "encoder", "rate"),
    [("a.wav", "pcm_s16le", 16_000), ("a.mp3", "libmp3lame", 44_100), ("a.ogg", "libopus", 48_000),
     ("a.flac", "flac", 44_100), ("a.m4a", "aac", 8_000)],
)  # fmt: skip
def test_sound_alone_is_cut_to_the_sample(tmp_path: Path, name: str, encoder: str, rate: int) -> None:
    path = write(tmp_path / name, 8, video="", sound=encoder, rate=rate)
    made = clip(path, 2.5, 5.25, media_of(path))
    read = Read(made.data)
    assert made.media_type == "audio/mp4"
    assert read.seconds == pytest.approx(2.75, abs=0.005)
    assert read.onsets == pytest.approx([0.5, 1.5, 2.5], abs=0.012)


def test_the_chosen_streams_are_cut(tmp_path: Path) -> None:
    import av

    one = write(tmp_path / "one.mp4", 2)
    two = write(tmp_path / "two.mp4", 2, offset=500, sound="")
    both = tmp_path / "both.mkv"
    with av.open(str(one)) as a, av.open(str(two)) as b, av.open(str(both), "w") as target:
        streams = (a.streams.video[0], a.streams.audio[0], b.streams.video[0])
        added = {id(stream): target.add_stream_from_template(stream) for stream in streams}
        packets: list[Any] = [*a.demux(*streams[:2]), *b.demux(streams[2])]
        for packet in packets:
            if packet.dts is not None:
                packet.stream = added[id(packet.stream)]
                target.mux(packet)
    media = media_of(both)
    for video, number in ((None, 10), (media.pictures[1], 510)):
        start = (video or media.pictures[0]).start_s + 0.4
        assert Read(clip(both, start, start + 0.4, media, video).data).frames[0][1] == number


def test_long_spans_are_cut_and_say_so(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "LONGEST_S", 2.0)
    made = clip(talk, 1, 6, media_of(talk))
    assert made.note == "the first 0:02 of 0:05"
    assert Read(made.data).seconds == pytest.approx(2, abs=0.03)


def test_a_moment_becomes_something_that_plays(talk: Path) -> None:
    assert 0.05 < Read(clip(talk, 3, 3, media_of(talk)).data).seconds < 0.2


@pytest.mark.integration
def test_without_the_usual_encoders_it_is_webm(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "_has_encoder", lambda name: name in ("libvpx", "libopus"))
    made = clip(talk, 1.2, 2.8, media_of(talk))
    read = Read(made.data)
    assert made.media_type == "video/webm"
    assert [number for _, number in read.frames] == list(range(30, 70))
    assert read.streams == {"video": "vp8", "audio": "opus"}
    monkeypatch.setattr(clips, "_has_encoder", lambda name: False)
    with pytest.raises(EvidenceError, match="no encoder"):
        clip(talk, 1.2, 2.8, media_of(talk))


@pytest.mark.integration
def test_only_the_part_around_a_clip_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "long.mp4", 30, sound="")
    media = media_of(path)

    def seconds(start: float) -> float:
        before = time.process_time()
        clip(path, start, start + 0.5, media)
        frame(path, start, media)
        return time.process_time() - before

    early = min(seconds(0.5) for _ in range(3))
    assert min(seconds(28.5) for _ in range(3)) < 3 * early + 0.05


def test_what_cannot_be_cut_says_why(talk: Path, tmp_path: Path) -> None:
    media = media_of(talk)
    with pytest.raises(EvidenceError, match=r"1:30 lies behind the end of the recording, which lasts 0:06"):
        clip(talk, 90, 95, media)
    with pytest.raises(EvidenceError, match=r"1:30 lies behind the end of the recording, which lasts 0:06"):
        shown_picture(local_file(talk), evidence(local_file(talk), "speech", 90.0, 95.0))
    whole = shown_picture(local_file(talk), evidence(local_file(talk), "speech", 4.0, 95.0))
    assert number_of(Image.open(io.BytesIO(whole.data))) == 125
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(talk.read_bytes()[:600])
    with pytest.raises(EvidenceError, match="cannot be read as a recording"):
        clip(broken, 1, 2, media)
    song = write(tmp_path / "song.mp3", 2, video="", sound="libmp3lame")
    with pytest.raises(EvidenceError, match="no moving picture"):
        frame(song, 1, media_of(song))


@pytest.mark.integration
def test_a_file_that_breaks_off_gives_what_is_left(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mkv", 6)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    media = media_of(cut)
    read = Read(clip(cut, 1.0, 2.0, media).data)
    assert [number for _, number in read.frames] == list(range(25, 50))
    assert number_of(Image.open(io.BytesIO(frame(cut, 1.0, media).data))) == 25


def test_a_waveform_shows_where_the_sound_is_and_marks_the_span(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", 20, video="", sound="pcm_s16le", rate=16_000)
    picture = waveform(path, 9.5, 12.5, media_of(path))
    image = Image.open(io.BytesIO(picture.data))
    assert (picture.media_type, image.size) == ("image/png", (WIDTH, HEIGHT))
    pixels = np.asarray(image.convert("RGB")).astype(int)
    columns = np.flatnonzero((pixels[60:270] == (255, 241, 200)).all(axis=2).any(axis=0))
    # 8 s around the span are drawn: from 1.5 s to the end.
    seconds = 1.5 + (columns - 20) / (WIDTH - 40) * 18.5
    assert (seconds.min(), seconds.max()) == pytest.approx((9.5, 12.5), abs=0.05)
    dark = (pixels[70:100].sum(axis=2) < 400).any(axis=0)  # only tones reach there
    loud = 1.5 + (np.flatnonzero(dark[20:-20])) / (WIDTH - 40) * 18.5
    assert {int(s) for s in loud if s % 1 < 0.12} >= set(range(2, 20))
    silent = write(tmp_path / "silent.mp4", 1, sound="")
    with pytest.raises(EvidenceError, match="no sound"):
        waveform(silent, 0, 1, media_of(silent))


def evidence(file: SourceFile, kind: Kind, start: float | None, end: float | None = None) -> Evidence:
    return Evidence(source=file.source, sha256=file.sha256, media_type=file.media_type, kind=kind,
                    start_s=start, end_s=end)  # fmt: skip


def test_evidence_of_recordings_as_picture_and_clip(talk: Path, tmp_path: Path) -> None:
    file = local_file(talk)
    shown = shown_picture(file, evidence(file, "speech", 1.0, 3.0))
    assert number_of(Image.open(io.BytesIO(shown.data))) == 50
    assert len(Read(shown_clip(file, evidence(file, "scene", 1.0, 3.0)).data).frames) == 50
    song = local_file(write(tmp_path / "song.mp3", 2, video="", sound="libmp3lame"))
    assert shown_picture(song, evidence(song, "speech", 0.5, 1.5)).media_type == "image/png"
    assert shown_clip(song, evidence(song, "speech", 0.5, 1.5)).media_type == "audio/mp4"
    with pytest.raises(EvidenceError, match="names no time"):
        shown_clip(song, evidence(song, "text", None))


def test_what_is_no_recording_has_no_clip(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF-1.4 not read for this")
    file = SourceFile(path, str(tmp_path), "a.pdf", "0" * 64, "application/pdf")
    with pytest.raises(EvidenceError, match=r"a\.pdf is no recording"):
        PdfLoader().clip(file, evidence(file, "text", None))
