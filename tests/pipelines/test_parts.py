"""Finished parts of recordings, and runs that go on from them."""

import os
import time
from pathlib import Path

import pytest
from tests.pipelines.home import Home

from sensorium.loaders.base import Limits
from sensorium.pipelines._ingest.parts import PartStore
from sensorium.pipelines.ingest import Progress

ONE, OTHER = "1" * 64, "2" * 64


def test_what_was_put_comes_back_whole_or_not_at_all(tmp_path: Path) -> None:
    parts = PartStore(tmp_path / "parts")
    assert parts.get(f"{ONE}/speech/a/0") is None
    parts.put(f"{ONE}/speech/a/0", b"words")
    parts.put(f"{ONE}/speech/b/0", b"")
    assert (parts.get(f"{ONE}/speech/a/0"), parts.get(f"{ONE}/speech/b/0")) == (b"words", b"")
    assert parts.get(f"{OTHER}/speech/a/0") is None
    for path in (tmp_path / "parts" / ONE).iterdir():
        path.write_bytes(path.read_bytes()[:-3])
    assert parts.get(f"{ONE}/speech/a/0") is None


def test_parts_of_a_stored_source_and_old_ones_go(tmp_path: Path) -> None:
    parts = PartStore(tmp_path / "parts")
    for sha256 in (ONE, OTHER):
        parts.put(f"{sha256}/speech/a/0", b"words")
    then = time.time() - 30 * 86_400
    for path in (tmp_path / "parts" / OTHER).iterdir():
        os.utime(path, (then, then))
    assert parts.sweep() == 1
    assert parts.get(f"{OTHER}/speech/a/0") is None
    parts.drop(ONE)
    assert parts.get(f"{ONE}/speech/a/0") is None
    assert not list((tmp_path / "parts").iterdir())


@pytest.mark.parametrize("key", ["../secrets/x", "words", "/etc/passwd"])
def test_keys_stay_inside_the_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="no digest"):
        PartStore(tmp_path).get(key)


def test_a_folder_that_cannot_be_written_loses_only_time(tmp_path: Path) -> None:
    (tmp_path / "parts").write_text("a file")
    parts = PartStore(tmp_path / "parts")
    parts.put(f"{ONE}/speech/a/0", b"words")
    assert parts.get(f"{ONE}/speech/a/0") is None
    assert parts.sweep() == 0


@pytest.mark.usefixtures("shared_host", "faulty")
def test_a_killed_run_goes_on_at_the_last_finished_part(home: Home, tmp_path: Path) -> None:
    note, blow = tmp_path / "note", tmp_path / "blow"
    path = home.write("talk.txt", f"PART {note}\nPART {note}\nPART {note}\nONCE {blow}\nPART {note}")
    report = home.ingestor().run([home.docs])
    assert "SIGKILL" in report.rows[0].reason
    report = home.ingestor().run([home.docs])
    assert report.rows[0].status == "stored"
    assert note.read_text().split() == ["1", "2", "3", "4"]
    texts = [node.get_content() for node in home.store().get_nodes()]
    assert sorted(texts) == [f"Words of minute {n}." for n in (1, 2, 3, 4)]
    assert not list((home.data / "parts").iterdir())
    path.write_text(path.read_text() + "\nMore.")
    home.ingestor().run([home.docs])
    assert note.read_text().split() == ["1", "2", "3", "4"] * 2  # other bytes: nothing of before is valid


@pytest.mark.usefixtures("shared_host", "faulty")
def test_progress_within_a_recording(home: Home, tmp_path: Path) -> None:
    home.write("talk.txt", f"PART {tmp_path / 'note'}\nSLEEP 0.6\n" * 3)
    moments: list[Progress] = []
    home.ingestor().run([home.docs], progress=moments.append)
    shares = [(one.done_s, one.total_s) for moment in moments for one in moment.readings if one.total_s]
    assert {(60.0, 180.0), (120.0, 180.0)} <= set(shares)
    half = next(m for m in moments if m.readings and m.readings[0].done_s == 120.0)
    assert half.current == ("talk.txt",)
    assert half.bytes_done == int(half.bytes_total * 2 / 3)
    assert half.eta_s is not None
    assert moments[-1].bytes_done == moments[-1].bytes_total


@pytest.mark.usefixtures("shared_host", "faulty")
def test_time_grows_with_the_minutes_done(home: Home, tmp_path: Path) -> None:
    home.write("talk.txt", f"PART {tmp_path / 'note'}\nSLEEP 0.7\n" * 3)
    slow = Limits(seconds=1.2, seconds_per_minute=1.2)
    assert home.ingestor(limits=slow).run([home.docs]).rows[0].status == "stored"
    home.write("long.txt", "BEGIN 6000\nSLEEP 2\nDone.")
    assert home.ingestor(limits=Limits(seconds=1, seconds_per_minute=1)).run([home.docs]).rows[0].status == "stored"
    home.write("stuck.txt", f"PART {tmp_path / 'note'}\nHANG")
    report = home.ingestor(limits=Limits(seconds=1, seconds_per_minute=1)).run([home.docs])
    reasons = {row.source: row.reason for row in report.rows}
    assert reasons["stuck.txt"].startswith("took longer than 2 s (after 1:00 of the recording); the limit is")
