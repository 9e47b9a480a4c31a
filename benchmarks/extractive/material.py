"""Nodes and questions of the development set."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import cast

from llama_index.core.schema import TextNode

from sensorium.nodes import Evidence, Kind, NodeInfo, source_id, text_node

CHUNK = 900  # characters: about 200 tokens


@dataclass(frozen=True)
class Question:
    """A question with its answer.

    Attributes:
        text: The question.
        answer: Pattern that a right answer matches; None when the sources hold none.
        source: Where the answer stands.
        kind: For breakdowns.
        natural: Written by hand, as people ask.
        row: For programmatic table questions the label of the row.
    """

    text: str
    answer: str | None
    source: str
    kind: str
    natural: bool = False
    row: str = ""


class Material:
    """Collects nodes and questions."""

    def __init__(self) -> None:
        self.nodes: list[TextNode] = []
        self.questions: list[Question] = []
        self._order: dict[str, int] = {}

    def add(
        self, source: str, text: str, kind: str = "text", title: str = "", section: str = "", caption: str = ""
    ) -> None:
        """Add a node."""
        order = self._order[source] = self._order.get(source, -1) + 1
        evidence = Evidence(
            source=source, sha256=sha256(source.encode()).hexdigest(), media_type="text/plain",
            kind=cast(Kind, kind), page=order + 1,
        )  # fmt: skip
        info = NodeInfo(source_id("dev", source), "dev", order, title=title, section=section, caption=caption)
        self.nodes.append(text_node(text, evidence, info))

    def pack(self, source: str, paragraphs: Iterable[str], title: str = "", section: str = "") -> None:
        """Add paragraphs, packed to about `CHUNK` characters."""
        for text in packed(paragraphs):
            self.add(source, text, title=title, section=section)


def packed(paragraphs: Iterable[str], size: int = CHUNK) -> list[str]:
    """Paragraphs joined up to a size; longer ones are cut at stops."""
    chunks: list[str] = []
    buffer = ""
    for paragraph in paragraphs:
        for piece in _pieces(paragraph.strip(), size):
            if buffer and len(buffer) + len(piece) > size:
                chunks.append(buffer)
                buffer = ""
            buffer = f"{buffer}\n{piece}".strip()
    return [*chunks, buffer] if buffer else chunks


def _pieces(paragraph: str, size: int) -> list[str]:
    if len(paragraph) <= size:
        return [paragraph] if paragraph else []
    pieces, buffer = [], ""
    for sentence in paragraph.replace("; ", ";\0").replace(". ", ".\0").split("\0"):
        if buffer and len(buffer) + len(sentence) > size:
            pieces.append(buffer)
            buffer = ""
        buffer = f"{buffer} {sentence}".strip()
    return [*pieces, buffer]
