"""Clips cut in worker processes: what hangs or crashes a decoder costs one error, and the next clip is cut."""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.pipelines.faulty_loaders import FaultyLoader

from sensorium.errors import EvidenceError
from sensorium.loaders.base import Limits, Picture, SourceFile
from sensorium.nodes import Evidence
from sensorium.pipelines._ingest.messages import Part
from sensorium.pipelines.apart import Drawers, Here

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the calling process draws")


def hosts() -> set[int]:
    """Processes that workers are forked from."""
    return {one.pid for one in psutil.Process().children() if "_ingest.host" in " ".join(one.cmdline())}


@pytest.fixture(scope="module")
def drawers() -> Iterator[Drawers]:
    before = hosts()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        faulty = Part("faulty", "faulty_loaders:FaultyLoader")
        limits = Limits(seconds=1, seconds_per_minute=60, memory_mb=300)
        made = Drawers({"video/mp4": faulty}, Part("tiny", "sensorium.models.ocr:TinyOcr"), limits)
        yield made
        made.close()
    assert hosts() <= before


def order(folder: Path, orders: str, seconds: float = 0.0) -> tuple[SourceFile, Evidence]:
    """A film with orders for its loader."""
    path = folder / "film.mp4"
    path.write_text(orders)
    digest = "0" * 64
    evidence = Evidence(
        source=path.name, sha256=digest, media_type="video/mp4", kind="scene", start_s=0.0, end_s=seconds
    )
    return SourceFile(path, str(folder), path.name, digest, "video/mp4"), evidence


def cut(drawers: Drawers, folder: Path, orders: str, seconds: float = 0.0) -> int:
    """Have a file's orders obeyed; by which process that was done."""
    return int(drawers.make("clip", *order(folder, orders, seconds)).data)


def test_what_a_decoder_does_costs_one_error(drawers: Drawers, tmp_path: Path) -> None:
    first = cut(drawers, tmp_path, "")
    assert first not in (os.getpid(), *(one.pid for one in psutil.Process().children()))
    for orders, why in (
        ("REFUSE is locked", "is locked Do something about it."),
        ("THROW out of", "film.mp4: the parser failed: ValueError: out of (faulty_loaders.py:"),
        ("EAT 2000", "film.mp4: needs more than 300 MB of memory (index.limits.memory_mb)"),
    ):
        with pytest.raises(EvidenceError) as told:
            cut(drawers, tmp_path, orders)
        assert str(told.value).startswith(why)
    assert cut(drawers, tmp_path, "") == first
    for orders, why in (
        ("HANG", "film.mp4: it took longer than 1 s to cut the clip. The limit is index.limits.seconds."),
        ("SEGFAULT", "film.mp4: the decoder crashed (signal 11, SIGSEGV)."),
        ("KILL 9", "film.mp4: the decoder crashed (signal 9, SIGKILL)."),
    ):
        with pytest.raises(EvidenceError) as told:
            cut(drawers, tmp_path, orders)
        assert str(told.value) == why
    assert cut(drawers, tmp_path, "") != first
    assert not psutil.pid_exists(first)


def test_a_longer_clip_may_take_longer(drawers: Drawers, tmp_path: Path) -> None:
    assert cut(drawers, tmp_path, "SLEEP 1.5", seconds=2.0)


def test_a_worker_that_died_while_it_waited_is_replaced(drawers: Drawers, tmp_path: Path) -> None:
    before = cut(drawers, tmp_path, "")
    psutil.Process(before).kill()
    psutil.wait_procs([psutil.Process(before)], timeout=0.3)
    assert cut(drawers, tmp_path, "") != before


def test_the_process_that_starts_workers_is_replaced_too(drawers: Drawers, tmp_path: Path) -> None:
    before = psutil.Process(cut(drawers, tmp_path, ""))
    host = before.parent()
    assert host is not None
    host.kill()
    psutil.wait_procs([before, host], timeout=5)
    assert cut(drawers, tmp_path, "") != before.pid


def test_workers_outlive_the_thread_that_asked_first(drawers: Drawers, tmp_path: Path) -> None:
    drawers.close()
    by: list[int] = []
    thread = threading.Thread(target=lambda: by.append(cut(drawers, tmp_path, "")))
    thread.start()
    thread.join()
    assert [cut(drawers, tmp_path, "")] == by


class Slow(FaultyLoader):
    """Draws until it is told to be done."""

    def __init__(self) -> None:
        self.begun, self.done = threading.Event(), threading.Event()

    def picture(self, file: SourceFile, evidence: Evidence) -> Picture:
        self.begun.set()
        assert self.done.wait(10)
        return Picture(b"", "image/png")


def test_what_is_drawn_in_this_process_is_drawn_one_at_a_time(tmp_path: Path) -> None:
    """Whatever the loader, and whether it draws or reads; a clip does not wait for that."""
    turn, slow = threading.Lock(), Slow()
    one, other = Here(slow, turn), Here(FaultyLoader(), turn)
    file, evidence = order(tmp_path, "")
    first = threading.Thread(target=one.picture, args=(file, evidence))
    second = threading.Thread(target=other.words, args=(file, evidence))
    first.start()
    assert slow.begun.wait(10)
    second.start()
    second.join(0.1)
    assert second.is_alive()
    assert int(other.clip(file, evidence).data) == os.getpid()
    slow.done.set()
    for thread in (first, second):
        thread.join(10)
        assert not thread.is_alive()
