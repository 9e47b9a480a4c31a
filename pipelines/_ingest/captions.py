"""Pictures on their way to being described, beside the reading and embedding of their sources."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llama_index.core.schema import TextNode

from sensorium.pipelines._ingest.messages import Splitter

if TYPE_CHECKING:  # it takes the LLM parts along, which a run without descriptions does not need
    from sensorium.pipelines.captions import Captions, Described
    from sensorium.pipelines.evidence import PictureBytes

MOST_WAITING = 64
"""Pictures that wait to be described; beyond, workers wait before they send more."""


@dataclass(frozen=True)
class Captioning:
    """What it takes to describe the pictures of a run.

    Attributes:
        describer: Asks the model.
        picture: Gives the picture of a node.
        split: The splitter of the index.
    """

    describer: "Captions"
    picture: "PictureBytes"
    split: Splitter

    def describe(self, node: TextNode) -> "Described":
        """Describe a node's picture."""
        return self.describer.describe(node, self.picture, self.split)


class Desk:
    """Hands pictures to threads that describe them, and gives back what came of it.

    Args:
        captioning: Describes pictures; None: none are taken.
        wake: Called when a picture is done.
    """

    def __init__(self, captioning: Captioning | None, wake: Callable[[], None]) -> None:
        self._captioning, self._wake = captioning, wake
        self._waiting: dict[Future[Described | None], Any] = {}
        self._threads: ThreadPoolExecutor | None = None
        if captioning is not None:
            self._threads = ThreadPoolExecutor(captioning.describer.concurrency, "sensorium-describe")

    def take(self, owner: Any, nodes: Sequence[TextNode], wanted: Callable[[], bool]) -> int:
        """Have the pictures among some nodes described.

        Args:
            owner: Comes back with each result.
            nodes: As a worker sent them.
            wanted: Asked before each request: nothing is spent on a source that has failed meanwhile.

        Returns:
            How many pictures that are.
        """
        if self._captioning is None or self._threads is None:
            return 0
        found = [node for node in nodes if self._captioning.describer.wants(node)]
        for node in found:
            future = self._threads.submit(_one, self._captioning, node, wanted)
            self._waiting[future] = owner
            future.add_done_callback(lambda _: self._wake())
        return len(found)

    @property
    def full(self) -> bool:
        """Whether enough pictures are waiting."""
        return len(self._waiting) >= MOST_WAITING

    def done(self) -> Iterator[tuple[Any, "Described | None"]]:
        """Owner and result of every picture that is done by now; the result is None where it was not wanted."""
        for future in [future for future in self._waiting if future.done()]:
            yield self._waiting.pop(future), future.result()

    def close(self) -> None:
        """Wait for the requests that are under way; start no more."""
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)


def _one(captioning: Captioning, node: TextNode, wanted: Callable[[], bool]) -> "Described | None":
    return captioning.describe(node) if wanted() else None
