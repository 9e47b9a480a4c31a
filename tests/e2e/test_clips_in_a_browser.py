"""Clips of every make play in a browser and last what was asked for."""

from pathlib import Path

import pytest
from tests.e2e.browser import PROGRAM, played
from tests.loaders.recordings import write

from sensorium.loaders._media.clips import clip
from sensorium.loaders._media.probe import probe
from sensorium.loaders.base import Limits

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine"),
]


def test_clips_play_to_their_end(tmp_path: Path) -> None:
    talk = write(tmp_path / "talk.mp4", 6)
    late = write(tmp_path / "late.ts", 6, form="mpegts")
    times = [0.0]
    for n in range(80):
        times.append(times[-1] + (0.02, 0.04, 0.1, 0.06)[n % 4])
    spans = {
        "copied.mp4": (talk, 2.0, 4.0),
        "anew.mp4": (talk, 1.2, 3.6),
        "one-frame.mp4": (talk, 5.96, 6.0),
        "upright.mp4": (write(tmp_path / "turned.mp4", 2, rotation=90), 0.4, 1.2),
        "silent.mp4": (write(tmp_path / "silent.mkv", 3, sound=""), 0.52, 1.2),
        "varying.mp4": (write(tmp_path / "vfr.mp4", times[-1], times=times, rate=8000), 1.1, 3.3),
        "transport.mp4": (late, 2.0, 4.0),
        "sound.m4a": (write(tmp_path / "song.ogg", 6, video="", sound="libopus", rate=48_000), 1.5, 4.25),
    }
    made = {name: clip(path, start, end, probe(path, Limits())).data for name, (path, start, end) in spans.items()}
    found = played(made, tmp_path / "profile")
    for name, (_, start, end) in spans.items():
        assert found[name]["fault"] == "", name
        assert found[name]["duration"] == pytest.approx(end - start, abs=0.03), name
        assert found[name]["played"] == pytest.approx(end - start, abs=0.05), name
    assert found["upright.mp4"]["width"] == 180
