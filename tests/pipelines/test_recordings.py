"""Indexing recordings: what of the outside makes them be read again, and what does not."""

from pathlib import Path
from typing import Any

import pytest
from tests.loaders.sounds import beeps, save
from tests.pipelines.home import Home

from sensorium.models.speech import WHISPER
from sensorium.pipelines._ingest.messages import Part
from sensorium.pipelines._ingest.recordings import Beside, speech_version
from sensorium.pipelines._ingest.worker import LazySpeech
from sensorium.pipelines.spec import fingerprint, load_spec

pytestmark = pytest.mark.usefixtures("shared_host")

CUES = "1\n00:00:00,000 --> 00:00:03,000\nThe harbour master closes the north gate.\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def statuses(home: Home, **options: Any) -> dict[str, str]:
    options = {"speech": ("off", {})} | options
    return {row.source: row.status for row in home.ingestor(**options).run([home.docs]).rows}


def texts(home: Home) -> list[str]:
    return [node.get_content() for node in home.store().get_nodes()]


def test_captions_beside_a_recording_belong_to_it(home: Home) -> None:
    save(home.docs / "talk.mp3", beeps(3))
    home.write("talk.srt", CUES)
    assert statuses(home) == {"talk.mp3": "stored", "talk.srt": "skipped"}
    assert texts(home) == ["The harbour master closes the north gate."]
    assert statuses(home) == {"talk.mp3": "unchanged", "talk.srt": "skipped"}


def test_changed_captions_read_their_recording_again(home: Home) -> None:
    save(home.docs / "talk.mp3", beeps(3))
    save(home.docs / "other.mp3", beeps(4), tags={"title": "Winds"})
    home.write("talk.srt", CUES)
    statuses(home)
    home.write("talk.srt", CUES.replace("north", "southern"))
    assert statuses(home) == {"other.mp3": "unchanged", "talk.mp3": "stored", "talk.srt": "skipped"}
    assert "The harbour master closes the southern gate." in texts(home)
    (home.docs / "talk.mp3").unlink()
    assert statuses(home)["talk.srt"] == "stored"


def test_another_speech_engine_reads_recordings_again_and_nothing_else(home: Home) -> None:
    save(home.docs / "talk.flac", beeps(3))
    home.write("talk.vtt", "WEBVTT\n\n00:00.000 --> 00:03.000\nThe gate is closed at half past seven.\n")
    home.write("note.txt", "A plain note.")
    statuses(home)
    for speech in (("whisper", {}), ("whisper", {"beam": 1}), ("openai", {})):
        assert statuses(home, speech=speech) == {"note.txt": "unchanged", "talk.flac": "stored", "talk.vtt": "skipped"}


def test_installing_the_extra_reads_recordings_again(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Part("whisper", "sensorium.models.speech:Whisper")
    before = speech_version(part)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert speech_version(part) != before
    assert speech_version(None) == "speech-off"


def test_keys_are_no_part_of_versions() -> None:
    one, other = ({"openai": {"api_key": key}} for key in ("a", "b"))
    specs = [load_spec({"index": {"speech": speech}}) for speech in (one, other, "off")]
    assert len({speech_version(spec.index.speech) for spec in specs[:2]}) == 1
    assert len({fingerprint(spec) for spec in specs}) == 1


def test_only_captions_of_the_same_name_count(tmp_path: Path) -> None:
    path = tmp_path / "talk.mp3"
    assert Beside().version(path, "audio/mpeg") == ""
    (tmp_path / "talks.srt").write_text(CUES)
    assert Beside().version(path, "audio/mpeg") == ""
    (tmp_path / "talk.en.srt").write_text(CUES)
    assert Beside().version(path, "audio/mpeg")
    assert Beside().version(path, "application/pdf") == ""


def test_a_worker_makes_its_engine_when_it_is_needed() -> None:
    lazy = LazySpeech(Part("whisper", "sensorium.models.speech:Whisper", {"beam": 2}))
    assert "_engine" not in vars(lazy)
    assert WHISPER.name in lazy.revision
    assert lazy.transcribe(0 * beeps(1)) == []
