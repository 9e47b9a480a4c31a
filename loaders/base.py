"""What a loader is, what it gets and what it yields.

A loader is one class in one file: `load` reads a source as a stream of nodes and located faults, `picture` draws
what a citation shows. It is found by the content of the file, never by its name (`loaders.sniff`). Register it
with one line in `loaders/__init__.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document, ImageDocument, ImageNode, TextNode

from sensorium.errors import EvidenceError, LoadError
from sensorium.nodes import Box, Evidence, Kind, NodeInfo, content_digest, picture_node, source_id, text_node
from sensorium.ocr_types import OcrEngine, OcrLine
from sensorium.speech_types import SpeechEngine


@dataclass(frozen=True)
class Limits:
    """What one source may cost. A source beyond a limit fails or is cut with a fault; it never takes others down.

    Attributes:
        seconds: Time for a source, before `seconds_per_page` and `seconds_per_minute`. While other programs keep it
            from the processors (as far as the system tells: Linux) the time stands still, up to ten times as long.
        seconds_per_page: More time for each page or slide.
        seconds_per_minute: More time for each minute of a recording that is done, or at work.
        memory_mb: Address space that the parser may take beyond what its process holds at start.
        file_mb: Size of the file.
        pages: Pages, slides or frames.
        pixels: Pixels of one picture (of a video: one frame), in millions.
        unpacked_mb: Unpacked size of an archive (a deck).
        media_hours: Length of a recording.
        streams: Streams of a recording: sound, pictures, captions and data together.
    """

    seconds: float = 120
    seconds_per_page: float = 5
    seconds_per_minute: float = 60
    memory_mb: int = 2048
    file_mb: int = 2048
    pages: int = 5000
    pixels: float = 100
    unpacked_mb: int = 512
    media_hours: float = 12
    streams: int = 64


class Assets(Protocol):
    """Content-addressed media files (`pipelines.assets`)."""

    def put(self, data: bytes, suffix: str) -> str:
        """Store bytes under `<sha256><suffix>` and return that name."""
        ...

    def path(self, name: str) -> str:
        """Path or URL of an asset."""
        ...


class Parts(Protocol):
    """Finished parts of slow sources (recognised speech, found scenes), so that a killed run goes on from there."""

    def get(self, key: str) -> bytes | None:
        """What was put under this key, or None."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Keep a finished part.

        Args:
            key: Names the source's digest, what was done to it with which settings, and which part it is.
            data: Its result.
        """
        ...


@dataclass(frozen=True)
class SourceFile:
    """A file to load.

    Attributes:
        path: Where its bytes are.
        root: Absolute path or URL of the indexed folder.
        source: Path inside it, with forward slashes.
        sha256: Digest of the bytes.
        media_type: Type found by content.
    """

    path: Path
    root: str
    source: str
    sha256: str
    media_type: str

    @property
    def doc_id(self) -> str:
        """Identity of the source."""
        return source_id(self.root, self.source)


@dataclass(frozen=True)
class Tools:
    """What loaders use; None means: switched off.

    Attributes:
        ocr: Text recognition.
        assets: Where pictures are kept.
        limits: What one source may cost.
        speech: Speech recognition.
        parts: Where finished parts of a long recording are kept.
    """

    ocr: OcrEngine | None = None
    assets: Assets | None = None
    limits: Limits = field(default_factory=Limits)
    speech: SpeechEngine | None = None
    parts: Parts | None = None


@dataclass(frozen=True)
class Fault:
    """Something in a source that did not make it, and where.

    Attributes:
        reason: What happened, for a person.
        where: "page 3", "slide 2, picture 1", or empty for the whole source.
    """

    reason: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" if self.where else self.reason


@dataclass(frozen=True)
class Advance:
    """How far a loader is in a recording; yield one before its first part, and after each (of some minutes at most).

    Attributes:
        done_s: Seconds of the recording that are done.
        total_s: Its length.
    """

    done_s: float
    total_s: float


@dataclass(frozen=True)
class Picture:
    """Encoded picture or clip: what `asset()` of a citation gives.

    Attributes:
        data: Encoded bytes.
        media_type: Their type ("image/png", "image/jpeg", "video/mp4", ...).
        note: A word of caution, e.g. that a slide is a schematic drawing.
    """

    data: bytes
    media_type: str
    note: str = ""


@dataclass(frozen=True)
class Word:
    """A word as it stands on a page or picture: its text, and its box in fractions of the whole."""

    text: str
    box: Box


Item = TextNode | ImageNode | Fault | Advance


class NodeMaker:
    """Makes the nodes of one source: counts the order, fills in what all of them share."""

    def __init__(self, file: SourceFile, title: str = "") -> None:
        self.file = file
        self.title = title
        self._order = 0

    def text(self, kind: Kind, text: str, *, section: str = "", caption: str = "", page: int | None = None,
             slide: int | None = None, bbox: Box | None = None, start_s: float | None = None,
             end_s: float | None = None, **extra: str | float | bool) -> TextNode:  # fmt: skip
        """A text node of this source; see `Evidence` and `NodeInfo` for the arguments."""
        evidence = self._evidence(kind, page, slide, bbox, start_s, end_s)
        return text_node(text, evidence, self._info(section, caption, extra))

    def picture(self, kind: Kind, text: str, *, image_path: str, asset: str = "", section: str = "",
                caption: str = "", page: int | None = None, slide: int | None = None, bbox: Box | None = None,
                start_s: float | None = None, end_s: float | None = None,
                **extra: str | float | bool) -> ImageNode:  # fmt: skip
        """A picture node of this source; see `nodes.picture_node`."""
        evidence = self._evidence(kind, page, slide, bbox, start_s, end_s)
        return picture_node(text, evidence, self._info(section, caption, extra), image_path, asset)

    def _evidence(self, kind: Kind, page: int | None, slide: int | None, bbox: Box | None,
                  start_s: float | None, end_s: float | None) -> Evidence:  # fmt: skip
        return Evidence(
            source=self.file.source, sha256=self.file.sha256, media_type=self.file.media_type, kind=kind,
            page=page, slide=slide, bbox=bbox, start_s=start_s, end_s=end_s,
        )  # fmt: skip

    def _info(self, section: str, caption: str, extra: dict[str, str | float | bool]) -> NodeInfo:
        order, self._order = self._order, self._order + 1
        values = tuple((k, v) for k, v in sorted(extra.items()) if v not in ("", None))
        return NodeInfo(self.file.doc_id, self.file.root, order, self.title, section, caption, values)


class Loader(BaseReader, ABC):
    """Base of all loaders. Options are keyword arguments of the constructor, with defaults.

    A loader is stateless between files and is used from one thread at a time. It is also a LlamaIndex reader:
    `SimpleDirectoryReader(file_extractor={".pdf": PdfLoader()})` works.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raise it when the output changes: stored sources are then read again."""

    @abstractmethod
    def load(self, file: SourceFile, tools: Tools) -> Iterator[Item]:
        """Read a source as a stream.

        Text comes in paragraphs (the splitter joins and cuts them), a table or a picture as one node. Faults are
        parts that did not make it; the rest goes on.

        Raises:
            LoadError: the source as a whole cannot be read; the message goes into its row of the report.
        """

    @abstractmethod
    def picture(self, file: SourceFile, evidence: Evidence) -> Picture:
        """Draw what the evidence points at.

        Raises:
            EvidenceError: there is nothing to draw.
        """

    def clip(self, file: SourceFile, evidence: Evidence) -> Picture:
        """The clip of a recording that the evidence points at, in a format that browsers play.

        Raises:
            EvidenceError: this is no recording, or nothing there can be decoded.
        """
        raise EvidenceError(
            f"{file.source} is no recording: there is no clip to cut.",
            'Ask for a picture: a name that ends in .png, or `asset("picture")`.',
        )

    def words(self, file: SourceFile, evidence: Evidence, ocr: OcrEngine | None = None) -> list[Word]:
        """Words of the evidence's region with their boxes, in reading order, for finding a quote in it.

        Args:
            file: The source.
            evidence: Which region.
            ocr: Recognises text in its picture; None: only what is written in the file as text.

        Returns:
            None at all where the format has none.

        Raises:
            EvidenceError: the region cannot be read.
        """
        return []

    def lazy_load_data(self, file: str | Path, extra_info: dict[str, Any] | None = None,
                       **_: Any) -> Iterable[Document]:  # fmt: skip
        """LlamaIndex's reader interface: one `Document` (or `ImageDocument`) a node, faults as warnings."""
        import warnings

        path = Path(file)
        for item in self.load(local_file(path), Tools()):
            if isinstance(item, Fault):
                warnings.warn(f"{path}: {item}", stacklevel=2)
                continue
            if isinstance(item, Advance):
                continue
            item.metadata |= extra_info or {}
            yield _document(item)

    def load_data(self, file: str | Path, extra_info: dict[str, Any] | None = None, **_: Any) -> list[Document]:
        """LlamaIndex's reader interface, as a list."""
        return list(self.lazy_load_data(file, extra_info))


def local_file(path: Path, root: Path | None = None) -> SourceFile:
    """A `SourceFile` for a file on this machine; `root` defaults to its folder.

    Raises:
        LoadError: the file cannot be read, or is empty.
    """
    from sensorium.loaders.sniff import sniff

    path = path.absolute()
    base = (root or path.parent).absolute()
    try:
        data = path.read_bytes()
    except OSError as fault:
        raise LoadError(f"cannot be read: {fault.strerror or fault}") from fault
    digest = content_digest_file(data)
    return SourceFile(path, str(base), path.relative_to(base).as_posix(), digest, sniff(path))


def content_digest_file(data: bytes) -> str:
    """SHA-256 of a file's bytes as lower-case hex."""
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _document(node: TextNode) -> Document:
    fields = {
        "id_": node.node_id, "metadata": node.metadata, "text": node.text,
        "excluded_embed_metadata_keys": node.excluded_embed_metadata_keys,
        "excluded_llm_metadata_keys": node.excluded_llm_metadata_keys,
        "metadata_template": node.metadata_template, "metadata_separator": node.metadata_separator,
        "text_template": node.text_template,
    }  # fmt: skip
    if isinstance(node, ImageNode):
        return ImageDocument(**fields, image_path=node.image_path)
    return Document(**fields)


__all__ = [
    "Advance", "Assets", "Fault", "Item", "Limits", "Loader", "NodeMaker", "OcrEngine", "OcrLine", "Parts", "Picture",
    "SourceFile", "Tools", "Word", "content_digest", "local_file",
]  # fmt: skip
