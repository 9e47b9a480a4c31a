"""Worker processes: what hangs, dies or eats memory costs one failed row, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.pipelines.home import Shared

from sensorium.loaders.base import Limits, SourceFile
from sensorium.pipelines._ingest.host import ForkHost, Forks, Launcher, Spawner
from sensorium.pipelines._ingest.messages import Batch, Ended, Part, Setup
from sensorium.pipelines._ingest.pool import Pool
from sensorium.pipelines.split import SentenceSplit

LIMITS = Limits(seconds=2, seconds_per_page=1, memory_mb=300)
pytestmark = pytest.mark.usefixtures("faulty")


def setup(limits: Limits = LIMITS) -> Setup:
    faulty = Part("faulty", "faulty_loaders:FaultyLoader")
    return Setup({"text/plain": faulty}, {}, None, SentenceSplit(tokens=100), None, limits)


def sources(folder: Path, *contents: str) -> list[SourceFile]:
    files = []
    for n, content in enumerate(contents):
        path = folder / f"{n}.txt"
        path.write_text(content)
        files.append(SourceFile(path, str(folder), path.name, "0" * 64, ""))
    return files


@pytest.fixture
def launcher(fork_host: ForkHost) -> Launcher:
    return Shared(fork_host, setup())


def read(launcher: Launcher, folder: Path, *contents: str, count: int = 1, limits: Limits = LIMITS
         ) -> tuple[list[Ended], list[str]]:  # fmt: skip
    """How each source ended, and the texts that came."""
    jobs = sources(folder, *contents)
    ends, texts = drain(Pool(launcher, count, limits), jobs)
    return [ends[job.source] for job in jobs], texts


def drain(pool: Pool, jobs: list[SourceFile]) -> tuple[dict[str, Ended], list[str]]:
    woken, wake = Pipe(duplex=False)
    ends: dict[str, Ended] = {}
    texts: list[str] = []
    waiting = list(jobs)
    try:
        while len(ends) < len(jobs):
            while waiting and pool.room:
                pool.give(waiting.pop(0))
            for job, event in list(pool.events(True, woken)):
                if isinstance(event, Batch):
                    texts += [node.text for node in event.nodes]
                else:
                    ends[job.source] = event
    finally:
        pool.close()
        woken.close()
        wake.close()
    return ends, texts


def children() -> list[psutil.Process]:
    """Processes of ours; that of `multiprocessing` which watches its resources stays for good."""
    found = psutil.Process().children(recursive=True)
    return [process for process in found if "resource_tracker" not in " ".join(process.cmdline())]


def workers() -> list[psutil.Process]:
    return [process for child in children() for process in child.children()]


def test_one_worker_reads_on_after_every_kind_of_death(launcher: Launcher, tmp_path: Path) -> None:
    ends, texts = read(
        launcher, tmp_path, "First good.", "HANG", "Half of it.\nKILL 9", "SEGFAULT", "EXIT 7", "Second good.",
        limits=Limits(seconds=1, seconds_per_page=1, memory_mb=300),
    )  # fmt: skip
    assert [end.outcome for end in ends] == ["read", "failed", "failed", "failed", "failed", "read"]
    assert [end.reason for end in ends[1:5]] == [
        "took longer than 1 s; the limit is index.limits.seconds",
        "the parser crashed (signal 9, SIGKILL)",
        "the parser crashed (signal 11, SIGSEGV)",
        "the parser crashed (exit status 1)",
    ]
    assert {"First good.", "Second good."} <= set(texts)


def test_spawned_workers_do_the_same(tmp_path: Path) -> None:
    ends, texts = read(Spawner(setup()), tmp_path, "SEGFAULT", "Good.")
    assert [end.reason for end in ends] == ["the parser crashed (signal 11, SIGSEGV)", ""]
    assert texts == ["Good."]
    assert len(children()) <= 1  # the host of the other tests


def test_errors_of_a_parser_are_reasons_and_the_worker_goes_on(launcher: Launcher, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    ends, _ = read(
        launcher,
        tmp_path,
        "THROW out of\n",
        "REFUSE is locked",
        "RECURSE",
        "EAT 2000",
        f"NOTE {note}",
        "",
        f"NOTE {note}",
    )
    assert [end.outcome for end in ends] == ["failed", "failed", "failed", "failed", "read", "failed", "read"]
    assert ends[0].reason.startswith("the parser failed: ValueError: out of (faulty_loaders.py:")
    assert ends[1].reason == "is locked. Do something about it."
    assert "RecursionError" in ends[2].reason
    assert ends[3].reason == "needs more than 300 MB of memory (index.limits.memory_mb)"
    assert ends[5].reason == "is empty (0 bytes)"
    assert len(set(note.read_text().split())) == 1


def test_memory_that_a_worker_keeps_is_given_back(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    limits = Limits(seconds=5, memory_mb=1500)
    ends, _ = read(Forks(ForkHost(), setup(limits)), tmp_path, f"NOTE {note}\nEAT 1250", f"NOTE {note}", limits=limits)
    assert [end.outcome for end in ends] == ["read", "read"]
    assert ends[0].retire
    assert len(set(note.read_text().split())) == 2


def test_time_grows_with_the_pages_seen(launcher: Launcher, tmp_path: Path) -> None:
    limits = Limits(seconds=1.2, seconds_per_page=1.2, memory_mb=300)
    slow = "\n".join(f"Page {n}.\nPAGE\nSLEEP 0.9" for n in range(4))
    (end,), texts = read(launcher, tmp_path, slow + "\nThe end.", limits=limits)
    assert end.outcome == "read"
    assert texts[-1] == "The end."
    (end,), _ = read(launcher, tmp_path, "SLEEP 3\nToo late.", limits=limits)
    assert end.reason.startswith("took longer than 1 s")


@pytest.fixture
def crowded() -> Iterator[int]:
    """A processor at which four other programs are busy."""
    processor = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{processor}}}); print(flush=True)\nwhile True: pass"
    others = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(4)]
    for other in others:
        assert other.stdout is not None
        other.stdout.readline()
    yield processor
    for other in others:
        other.kill()
        other.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long a process waits")
def test_time_stands_still_while_others_keep_the_processor(launcher: Launcher, tmp_path: Path, crowded: int) -> None:
    limits = Limits(seconds=0.6, memory_mb=300)
    start = time.monotonic()
    (end,), _ = read(launcher, tmp_path, f"PIN {crowded}\nCOMPUTE 0.2\nDone.", limits=limits)
    assert (end.outcome, time.monotonic() - start > 0.6) == ("read", True)
    ends, _ = read(launcher, tmp_path, f"PIN {crowded}\nHANG", f"PIN {crowded}\nSLEEP 9", limits=limits)
    assert [end.reason[:20] for end in ends] == ["took longer than 1 s"] * 2


def test_a_worker_that_has_to_wait_is_not_late(launcher: Launcher, tmp_path: Path) -> None:
    """Back-pressure: a full pipe stops the worker; that time does not count."""
    limits = Limits(seconds=1, seconds_per_page=0.001, memory_mb=300)
    (job,) = sources(tmp_path, "MANY 20000")
    pool = Pool(launcher, 1, limits)
    woken, _wake = Pipe(duplex=False)
    got = 0
    try:
        pool.give(job)
        for _ in range(3):
            got += sum(len(e.nodes) for _, e in pool.events(True, woken) if isinstance(e, Batch))
        time.sleep(1.5)
        (worker,) = workers()
        assert worker.cpu_times().user < 1.4
        for _ in range(10):
            events = list(pool.events(True, woken))
            assert all(isinstance(event, Batch) for _, event in events)
            got += sum(len(e.nodes) for _, e in events if isinstance(e, Batch))
    finally:
        pool.close()
    assert 0 < got < 5000


def test_several_workers_at_once(launcher: Launcher, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    start = time.monotonic()
    ends, _ = read(launcher, tmp_path, *[f"NOTE {note}\nSLEEP 1"] * 4, count=4)
    assert all(end.outcome == "read" for end in ends)
    assert len(set(note.read_text().split())) == 4
    assert time.monotonic() - start < 30


def test_programs_that_a_parser_started_die_with_it(launcher: Launcher, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    (end,), _ = read(launcher, tmp_path, f"CHILD {note}", limits=Limits(seconds=1, memory_mb=300))
    assert end.outcome == "failed"
    assert gone(int(note.read_text()))


def test_a_dropped_source_ends_its_worker(launcher: Launcher, tmp_path: Path) -> None:
    job, other = sources(tmp_path, "HANG", "Good.")
    pool = Pool(launcher, 1, Limits(seconds=60))
    pool.give(job)
    assert not pool.room
    pool.drop(job)
    ends, texts = drain(pool, [other])
    assert ends["1.txt"].outcome == "read"
    assert texts == ["Good."]


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from sensorium.pipelines._ingest import lean
lean.install()
from sensorium.loaders.base import Limits, SourceFile
from sensorium.pipelines._ingest.host import ForkHost, Forks
from sensorium.pipelines._ingest.messages import Part, Setup
from sensorium.pipelines._ingest.pool import Pool
from sensorium.pipelines.split import SentenceSplit
from multiprocessing import Pipe
loader = Part("faulty", "faulty_loaders:FaultyLoader")
setup = Setup({{"text/plain": loader}}, {{}}, None, SentenceSplit(), None, Limits())
pool = Pool(Forks(ForkHost(), setup), 2, Limits())
for name in ("0.txt", "1.txt"):
    pool.give(SourceFile(Path({folder!r}) / name, {folder!r}, name, "0" * 64, ""))
woken, wake = Pipe(duplex=False)
while True:
    list(pool.events(True, woken))
"""


def test_no_orphans_when_the_indexing_process_is_killed(tmp_path: Path) -> None:
    """A plain script without a `__main__` guard, killed with SIGKILL while its workers hang."""
    note = tmp_path / "pids"
    sources(tmp_path, f"NOTE {note}\nHANG", f"NOTE {note}\nHANG")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent), folder=str(tmp_path)))
    process = subprocess.Popen([sys.executable, str(script)])
    try:
        wait_for(lambda: note.exists() and len(note.read_text().split()) == 2)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert all(gone(int(pid)) for pid in note.read_text().split())


def gone(pid: int) -> bool:
    """Whether a process ends within some seconds."""

    def ended() -> bool:
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    wait_for(ended)
    return ended()


def wait_for(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)


def test_interrupts_of_the_terminal_do_not_reach_workers(launcher: Launcher, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    (job,) = sources(tmp_path, f"NOTE {note}\nSLEEP 1\nStill here.")
    pool = Pool(launcher, 1, LIMITS)
    woken, _wake = Pipe(duplex=False)
    pool.give(job)
    ended: Ended | None = None
    try:
        while ended is None:
            events = list(pool.events(True, woken))
            if not note.exists():
                continue
            os.kill(int(note.read_text()), signal.SIGINT)
            ended = next((e for _, e in events if isinstance(e, Ended)), None)
    finally:
        pool.close()
    assert ended.outcome == "read"


LEAN = """
import sys
from sensorium.pipelines._ingest import lean
lean.install()
from sensorium.loaders.mupdf import import_pymupdf
import_pymupdf()
import sensorium.pipelines._ingest.worker
assert not {"sqlalchemy", "llama_index.core.indices", "onnxruntime", "pymupdf.layout"} & set(sys.modules)
from llama_index.core.schema import TextNode
from llama_index.core import Document, VectorStoreIndex, __version__
assert issubclass(Document, TextNode.__mro__[1]) and __version__
import pymupdf.layout
assert pymupdf._get_layout is not None
"""


def test_workers_start_without_most_of_llamaindex_and_can_still_use_it() -> None:
    subprocess.run([sys.executable, "-c", LEAN], check=True, timeout=120)
