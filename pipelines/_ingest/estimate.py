"""A dry run: what describing the pictures of some files would take, found out without asking a model."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from sensorium.errors import SensoriumError
from sensorium.pipelines._captions.budget import Spent
from sensorium.pipelines._ingest.host import launcher
from sensorium.pipelines._ingest.messages import Ended, Setup
from sensorium.pipelines._ingest.plan import Plan, Settled
from sensorium.pipelines._ingest.pool import Event, Pool
from sensorium.pipelines.assets import AssetStore
from sensorium.pipelines.captions import Captions
from sensorium.pipelines.evidence import PictureBytes


@dataclass(frozen=True)
class Estimate:
    """What describing the pictures of changed and new files would take.

    Attributes:
        model: Who would be asked.
        pictures: Pictures found in them.
        known: Of these, how many are described already and cost nothing; the same picture twice counts here, too.
        expected: Requests, tokens and cost of the others. Output tokens are a guess: 300 a picture.
        by_source: Pictures of each source that has some.
        unchanged: Files that would not be read again.
        problems: Files and pictures that could not be read.
    """

    model: str
    pictures: int
    known: int
    expected: Spent
    by_source: Mapping[str, int] = field(default_factory=dict)
    unchanged: int = 0
    problems: tuple[str, ...] = ()

    def public(self) -> dict[str, Any]:
        """The JSON shape of `sensorium index --dry-run`."""
        return {
            "dry_run": True, "model": self.model, "pictures": self.pictures, "known": self.known,
            "requests": self.expected.requests, "cost": self.expected.cost,
            "tokens": {"input": self.expected.input, "output": self.expected.output},
            "sources": dict(self.by_source), "unchanged": self.unchanged, "problems": list(self.problems),
        }  # fmt: skip


def estimate(
    setup: Setup, workers: int, plan: Plan, captions: Captions, pictures: Callable[[AssetStore], PictureBytes]
) -> Estimate:
    """Read the files of a plan and count; nothing is embedded, stored or sent.

    Args:
        setup: What workers get; pictures go to a temporary folder, and speech is not recognised.
        workers: Most worker processes.
        plan: What would be done.
        captions: Would describe the pictures.
        pictures: Gives the pictures of nodes from where they are kept.
    """
    settled = list(plan.settled())
    with tempfile.TemporaryDirectory(prefix="sensorium-dry-run-") as folder:
        assets = AssetStore(str(Path(folder)))
        count = _Count(captions, pictures(assets))
        quick = replace(setup, assets=assets, parts=None, speech=None)
        settled += _read(quick, workers, plan, count)
    unchanged = sum(one.row.status == "unchanged" for one in settled)
    return count.estimate(unchanged)


def _read(setup: Setup, workers: int, plan: Plan, count: "_Count") -> Iterator[Settled]:
    if not plan.waiting:
        return
    with ExitStack() as stack:
        woken, wake = Pipe(duplex=False)
        stack.callback(woken.close)
        stack.callback(wake.close)
        pool = Pool(launcher(setup), min(workers, plan.waiting), setup.limits)
        stack.callback(pool.close)
        jobs, more, open_ = plan.jobs(), True, 0
        while more or open_:
            while more and pool.room:
                job = next(jobs, None)
                more = job is not None
                if isinstance(job, Settled):
                    yield job
                elif job is not None:
                    pool.give(job[1])
                    open_ += 1
            for event in pool.events(True, woken) if open_ else ():
                open_ -= count.take(event)


class _Count:
    """Adds up what pictures would take."""

    def __init__(self, captions: Captions, picture: PictureBytes) -> None:
        self._captions, self._picture = captions, picture
        self._pictures = self._known = 0
        self._expected = Spent()
        self._by_source: dict[str, int] = {}
        self._seen: set[str] = set()
        self._problems: list[str] = []

    def take(self, event: Event) -> bool:
        """Look at what a worker sent; whether its source has ended."""
        source, message = event
        if isinstance(message, Ended):
            if message.outcome == "failed":
                self._problems.append(f"{source.source}: {message.reason}")
            return True
        for node in filter(self._captions.wants, message.nodes):
            try:
                self._add(source.source, self._captions.ask(node, self._picture))
            except (SensoriumError, OSError, ValueError) as fault:
                self._problems.append(f"{source.source}: {fault}")
        return False

    def _add(self, source: str, ask: Any) -> None:
        if ask is None:
            return
        self._pictures += 1
        self._by_source[source] = self._by_source.get(source, 0) + 1
        if ask.key in self._seen or self._captions.known(ask):
            self._known += 1
        else:
            self._expected = self._expected.plus(ask.expected)
        self._seen.add(ask.key)

    def estimate(self, unchanged: int) -> Estimate:
        """What was found."""
        return Estimate(
            self._captions.models.first.name, self._pictures, self._known, self._expected, self._by_source,
            unchanged, tuple(self._problems),
        )  # fmt: skip
