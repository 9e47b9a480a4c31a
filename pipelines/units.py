"""What an answer can quote: the sentences and table rows of a node's text.

Units follow from the text alone, so that the vectors kept for them at indexing (one a unit, in order) fit the
units found again when a question is asked. Any change of the rules has to raise `UNITS_VERSION`.
"""

from dataclasses import dataclass
from typing import Literal

from llama_index.core.schema import BaseNode, TextNode

from sensorium.nodes import embedding_text
from sensorium.pipelines._extractive.segments import SHORTEST, sentences
from sensorium.pipelines._extractive.tables import Row, Table, tables

__all__ = ["UNITS_VERSION", "Row", "Table", "Unit", "node_text", "tables", "unit_spans", "units"]

UNITS_VERSION = "1"

# Lines of slides, pictures and forms are short and complete.
_SHORTEST = {"slide": 12, "figure": 12, "ocr": 12, "page": 12, "scene": 12, "frame": 12}


@dataclass(frozen=True, slots=True)
class Unit:
    """A sentence or table row of a text.

    Attributes:
        start: Offset in the text.
        end: Offset behind it.
        kind: "row" for a body row of a Markdown table.
    """

    start: int
    end: int
    kind: Literal["sentence", "row"]


def units(text: str, kind: str = "text") -> tuple[Unit, ...]:
    """The units of a text in order: rows of its Markdown tables, sentences of the rest.

    Args:
        text: A node's text.
        kind: The kind of its evidence; on slides and in pictures shorter lines stand alone.
    """
    found: list[Unit] = []
    at = 0
    for table in tables(text):
        found += _sentences(text, at, table.start, kind)
        found += (Unit(row.start, row.end, "row") for row in table.rows)
        at = table.end
    found += _sentences(text, at, len(text), kind)
    return tuple(found)


def node_text(node: BaseNode) -> str:
    """The text of a node, without its metadata: what units and quotes are offsets into."""
    return node.text if isinstance(node, TextNode) else node.get_content()


def unit_spans(node: BaseNode) -> list[tuple[int, int]]:
    """Spans of a node's units in `nodes.embedding_text(node)`, for `PartEncoder.encode_parts`."""
    text = node_text(node)
    shift = len(embedding_text(node)) - len(text)
    return [(shift + u.start, shift + u.end) for u in units(text, str(node.metadata.get("kind", "text")))]


def _sentences(text: str, start: int, end: int, kind: str) -> list[Unit]:
    part = text[start:end]
    if not part.strip():
        return []
    spans = sentences(part, shortest=_SHORTEST.get(kind, SHORTEST))
    return [Unit(start + a, start + b, "sentence") for a, b in spans]
