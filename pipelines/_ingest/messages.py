"""What the indexing process and its workers tell each other."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Literal, Protocol

from llama_index.core.schema import TextNode

from sensorium.loaders import BY_MEDIA_TYPE, LOADERS
from sensorium.loaders.base import Advance, Assets, Limits, Parts
from sensorium.pipelines._ingest.recordings import is_recording, speech_version
from sensorium.registry import Entry


class Splitter(Protocol):
    """Turns a loader's stream into nodes of the wanted size."""

    def split(self, items: Any) -> Any:
        """Nodes and faults, as a stream."""
        ...


@dataclass(frozen=True)
class Part:
    """A component that a worker makes for itself.

    Attributes:
        name: Its name in YAML.
        target: Where it lives ("package.module:attribute").
        options: Arguments of its constructor.
    """

    name: str
    target: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self, **supplied: Any) -> Any:
        """Build the component; it gets what it takes of `supplied`, unless its options say otherwise."""
        component = self._load()
        accepted = inspect.signature(component).parameters
        given = {name: value for name, value in supplied.items() if name in accepted}
        return component(**(given | dict(self.options)))

    def version(self) -> str:
        """Name and version of a loader, for fingerprints."""
        try:
            return f"{self.name}/{getattr(self._load(), 'version', 1)}"
        except (ImportError, AttributeError):
            return f"{self.name}/?"  # the worker says what is missing, for each source that needs it

    def _load(self) -> Any:
        return Entry(self.name, self.target).load()


def loader_parts(options: Mapping[str, Mapping[str, Any]]) -> dict[str, Part]:
    """The loader of each media type; `options` by name of the loader."""
    return {
        media_type: Part(name, LOADERS.entry(name).target, dict(options.get(name, {})))
        for media_type, name in BY_MEDIA_TYPE.items()
    }


@dataclass(frozen=True)
class Setup:
    """Everything a worker needs to read sources.

    Attributes:
        by_type: Loaders by media type.
        by_suffix: LlamaIndex readers by file suffix, in lower case with its dot; they come first.
        ocr: OCR engine; None: switched off.
        split: The splitter; it is pickled.
        assets: Where pictures are kept.
        limits: What one source may cost.
        parts: Where finished parts of long recordings are kept; it is pickled.
        speech: Speech engine; None: switched off.
    """

    by_type: Mapping[str, Part]
    by_suffix: Mapping[str, Part]
    ocr: Part | None
    split: Splitter
    assets: Assets | None
    limits: Limits
    parts: Parts | None = None
    speech: Part | None = None

    def serve(self, connection: Connection) -> None:
        """What a worker does: read sources until the other end closes."""
        from sensorium.pipelines._ingest.worker import serve

        serve(connection, self)

    def loader(self, media_type: str, name: str) -> Part | None:
        """The loader of a source, by its type and file name."""
        suffix = "." + name.rpartition(".")[2].lower() if "." in name else ""
        return self.by_suffix.get(suffix) or self.by_type.get(media_type)

    def version(self, media_type: str, name: str) -> str:
        """Which loader reads a source, and its version; a change means that the source is read again."""
        loader = self.loader(media_type, name)
        if loader is None:
            return "none"
        return loader.version() + (f" {speech_version(self.speech)}" if is_recording(media_type) else "")


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has started."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some nodes of the source at hand.

    Attributes:
        nodes: In order.
        faults: Parts that did not make it.
        pages: The highest page or slide so far.
        active: Seconds that the worker has spent on the source, waiting for its reader left out.
        media_type: Of the source, once it is known.
        advance: How far the worker is in a recording.
    """

    nodes: tuple[TextNode, ...]
    faults: tuple[str, ...]
    pages: int
    active: float
    media_type: str
    advance: Advance | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The source at hand is done.

    Attributes:
        outcome: How it ended.
        reason: Why, unless it was read to its end.
        active: Seconds spent on it.
        media_type: Of the source; empty when it could not be told.
        retire: The worker holds much more memory than at its start and should be replaced.
    """

    outcome: Literal["read", "skipped", "failed"]
    reason: str
    active: float
    media_type: str
    retire: bool = False


Message = Ready | Batch | Ended
