"""From a model's reply to nodes of kind `caption`, which stand where the picture stands."""

import re
from collections.abc import Iterator
from typing import Any

from llama_index.core.schema import TextNode

from sensorium.errors import EvidenceError
from sensorium.nodes import MADE_BY, Evidence, NodeInfo, text_node, with_text
from sensorium.pipelines._extractive.tables import tables

LONGEST = 8_000
"""Characters of a description that are kept: a model that repeats itself ends there."""
NOTHING = "NOTHING"
_KEPT = ("asset", "hidden")
_THOUGHT = re.compile(r"\A\s*<think>.*?(?:</think>\s*|\Z)", re.IGNORECASE | re.DOTALL)
_FENCE = re.compile(r"^```[a-z]*[ \t]*$\n?", re.IGNORECASE | re.MULTILINE)


def words_of(reply: str) -> str:
    """A description in a reply: without thoughts and code fences; empty for a model that made nothing out."""
    text = _FENCE.sub("", _THOUGHT.sub("", reply)).strip()
    if text.strip(" .*\"'").upper() == NOTHING:
        return ""
    if len(text) <= LONGEST:
        return text
    return text[:LONGEST].rsplit("\n" if "\n" in text[:LONGEST] else " ", 1)[0].rstrip()


def caption_nodes(picture: TextNode, text: str, model: str, split: Any) -> list[TextNode]:
    """Nodes for the description of a picture, cut to the size of an index node, tables between their rows.

    Args:
        picture: The node of the picture.
        text: Its description.
        model: Who made it.
        split: The splitter of the index.
    """
    evidence = Evidence.of(picture).model_copy(update={"kind": "caption"})
    info = _info(picture, model)
    # The splitter knows how to cut a table by its kind.
    parts = [
        text_node(part, evidence.model_copy(update={"kind": kind}), info) for part, kind in _parts(text) if part
    ]  # fmt: skip
    made = [node for node in split.split(parts) if isinstance(node, TextNode)]
    return [with_text(node, node.text, evidence, info.order) for node in made]


def _info(picture: TextNode, model: str) -> NodeInfo:
    data = picture.metadata
    extra = [(key, data[key]) for key in _KEPT if key in data]
    if picture.ref_doc_id is None:
        raise EvidenceError(f"The picture {picture.node_id} belongs to no source.")
    return NodeInfo(
        picture.ref_doc_id, str(data.get("root", "")), int(data.get("order", 0)), str(data.get("title", "")),
        str(data.get("section", "")), str(data.get("caption", "")),
        (*extra, (MADE_BY, model), ("picture_id", picture.node_id), ("picture_kind", str(data["kind"]))),
    )  # fmt: skip


def _parts(text: str) -> Iterator[tuple[str, Any]]:
    """Paragraphs and tables in order, each with the kind that the splitter cuts it as."""
    at = 0
    for table in tables(text):
        yield text[at : table.start].strip(), "caption"
        yield text[table.start : table.end].strip(), "table"
        at = table.end
    yield text[at:].strip(), "caption"
