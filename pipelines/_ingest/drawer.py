"""A worker process that draws and cuts what evidence of recordings shows; see `pipelines.apart`."""

from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

from sensorium.errors import SensoriumError
from sensorium.loaders.base import Limits, Loader, SourceFile
from sensorium.nodes import Evidence
from sensorium.pipelines._ingest.messages import Part

Task = Literal["picture", "clip", "words", "read"]


@dataclass(frozen=True, slots=True)
class Job:
    """What is wanted.

    Attributes:
        task: The method of the loader; "read" is `words` with OCR.
        file: The recording.
        evidence: Of it.
    """

    task: Task
    file: SourceFile
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Made:
    """What came of a job.

    Attributes:
        value: A `Picture`, or a list of `Word`; None where it was refused.
        refused: Message and hint of an `EvidenceError`.
        retire: The worker holds much more memory than at its start and should be replaced.
    """

    value: Any
    refused: tuple[str, str] = ("", "")
    retire: bool = False


@dataclass(frozen=True)
class DrawSetup:
    """Everything a worker needs to draw.

    Attributes:
        loaders: By media type.
        ocr: OCR engine.
        limits: What one job may cost.
    """

    loaders: Mapping[str, Part]
    ocr: Part
    limits: Limits

    def serve(self, connection: Connection) -> None:
        """Work until the other end closes."""
        drawer = Drawer(self)
        while True:
            try:
                job = connection.recv()
            except EOFError:
                return
            connection.send(drawer.make(job))


class Drawer:
    """Makes what jobs want, under limits.

    Args:
        setup: Loaders and limits.
    """

    def __init__(self, setup: DrawSetup) -> None:
        from sensorium.pipelines._ingest.worker import Growth, LazyOcr

        self._setup = setup
        self._ocr = LazyOcr(setup.ocr)
        self._growth = Growth(setup.limits.memory_mb)
        self._loaders: dict[str, Loader] = {}

    def make(self, job: Job) -> Made:
        """The answer to a job. Never raises for what is in the source."""
        from sensorium.pipelines._ingest.worker import reason

        self._growth.limit()
        try:
            return Made(self._made(job), retire=self._growth.outgrown())
        except SensoriumError as fault:
            refused = (fault.message, fault.hint)
        except Exception as fault:  # noqa: BLE001  decoders raise anything; here it ends as one error
            refused = (f"{job.file.source}: {reason(fault, self._setup.limits)}", "")
        return Made(None, refused, self._growth.outgrown())

    def _made(self, job: Job) -> Any:
        part = self._setup.loaders[job.file.media_type]
        if part.name not in self._loaders:
            self._loaders[part.name] = part.make()
        loader = self._loaders[part.name]
        if job.task == "picture":
            return loader.picture(job.file, job.evidence)
        if job.task == "clip":
            return loader.clip(job.file, job.evidence)
        return loader.words(job.file, job.evidence, self._ocr if job.task == "read" else None)
