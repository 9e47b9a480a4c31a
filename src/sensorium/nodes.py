"""Nodes and their evidence: what every loader yields and every citation resolves to.

Nodes are LlamaIndex's own `TextNode` and `ImageNode`, so that core's (de)serialisers keep them whole. What
Sensorium knows about them stands in flat metadata (so that metadata filters work) under the keys of
`Evidence` and of `NodeInfo`.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from llama_index.core.schema import BaseNode, ImageNode, NodeRelationship, RelatedNodeInfo, TextNode
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Kind = Literal["text", "table", "figure", "page", "slide", "notes", "ocr", "caption", "speech", "frame", "scene"]
Box = tuple[float, float, float, float]

KINDS: tuple[str, ...] = get_args(Kind)
FULL: Box = (0.0, 0.0, 1.0, 1.0)
_NAMESPACE = uuid.UUID("7b0d5c52-6f0a-5a51-9c3c-6a0f2b1b4f10")
# The words of a node's surroundings that are embedded and shown to a model with its text, in this order.
CONTEXT_KEYS = ("title", "section", "caption")
# Metadata of a node whose text a model wrote: which model. Such a text is never the source's own words.
MADE_BY = "made_by"


class Evidence(BaseModel):
    """Where a node's content stands in its source.

    Attributes:
        source: Path inside the indexed folder, with forward slashes.
        sha256: Digest of the source file's bytes, lower-case hex.
        media_type: IANA media type of the source, found by content.
        kind: What the node is.
        page: 1-based page of a paged document or frame of a multi-page image.
        slide: 1-based position in a deck, hidden slides counted.
        bbox: `(x0, y0, x1, y1)` as fractions of the displayed page, slide or picture, origin top left.
        start_s: Start in seconds, for audio and video.
        end_s: End in seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    sha256: str
    media_type: str
    kind: Kind
    page: int | None = Field(default=None, ge=1)
    slide: int | None = Field(default=None, ge=1)
    bbox: Box | None = None
    start_s: float | None = Field(default=None, ge=0)
    end_s: float | None = Field(default=None, ge=0)

    @field_validator("bbox")
    @classmethod
    def _ordered(cls, box: Box | None) -> Box | None:
        if box is not None and not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
            raise ValueError(f"bbox must be fractions with x0 < x1 and y0 < y1, got {box}")
        return box

    @model_validator(mode="after")
    def _span(self) -> "Evidence":
        if self.start_s is not None and self.end_s is not None and self.end_s < self.start_s:
            raise ValueError(f"end_s {self.end_s} lies before start_s {self.start_s}")
        return self

    @classmethod
    def of(cls, node: BaseNode) -> "Evidence":
        """Evidence of a node that Sensorium made.

        Raises:
            ValueError: the node's metadata holds no evidence (it came from elsewhere).
        """
        return cls.model_validate({k: node.metadata[k] for k in cls.model_fields if k in node.metadata})

    def metadata(self) -> dict[str, Any]:
        """Flat metadata; unused keys are left out, so that `IS_EMPTY` filters mean what they say."""
        values = self.model_dump(exclude_none=True)
        if self.bbox is not None:
            values["bbox"] = [round(v, 5) for v in self.bbox]
        return values

    def public(self) -> dict[str, Any]:
        """The JSON shape of the command line: every key but the digest, unused ones null."""
        values = self.model_dump(exclude={"sha256"})
        return values | {"bbox": list(self.bbox) if self.bbox else None}


@dataclass(frozen=True)
class NodeInfo:
    """What else a loader knows about a node; empty values are left out of the metadata.

    Attributes:
        doc_id: Identity of the source: its folder and path (`source_id`). The node's `ref_doc_id`.
        root: Absolute path or URL of the indexed folder.
        order: Position in the source, from 0, in reading order.
        title: Title of the document.
        section: Heading path, outermost first, joined by " > ".
        caption: Caption of a table or figure.
        extra: More flat metadata of the loader's own (page label, links, hidden, OCR score, ...).
    """

    doc_id: str
    root: str
    order: int
    title: str = ""
    section: str = ""
    caption: str = ""
    extra: tuple[tuple[str, str | int | float | bool], ...] = ()

    def metadata(self) -> dict[str, Any]:
        """Flat metadata without the empty values."""
        words = {"title": self.title, "section": self.section, "caption": self.caption}
        given = {k: whole_characters(v) for k, v in words.items() if v}
        return {"root": self.root, "order": self.order} | given | dict(self.extra)


def around(boxes: Sequence[Box]) -> Box:
    """The box around boxes, at least one."""
    return min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)


def source_id(root: str, source: str) -> str:
    """Identity of a source file: the same path under the same indexed folder is the same source."""
    return str(uuid.uuid5(_NAMESPACE, f"{root}\n{source}"))


def node_id(doc_id: str, evidence: Evidence, order: int, content: str) -> str:
    """Deterministic id, so that indexing the same file twice changes nothing."""
    place = evidence.model_dump_json(exclude_none=True)
    return str(uuid.uuid5(_NAMESPACE, "\n".join((doc_id, place, str(order), content))))


def whole_characters(text: str) -> str:
    """Text with question marks for halves of characters (lone surrogates), which no model and no engine takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def text_node(text: str, evidence: Evidence, info: NodeInfo) -> TextNode:
    """A text node with evidence, context words and a deterministic id."""
    text = whole_characters(text)
    return TextNode(text=text, **_common(text, evidence, info))


def picture_node(text: str, evidence: Evidence, info: NodeInfo, image_path: str, asset: str = "") -> ImageNode:
    """A picture node.

    Args:
        text: Text in the picture and its caption; may be empty.
        evidence: Where the picture stands.
        info: What else is known.
        image_path: Path or URL of the picture file: the original, or an asset.
        asset: Name in the asset store (`<sha256>.<ext>`) when the picture is an asset.
    """
    text = whole_characters(text)
    fields = _common(text + "\n" + asset, evidence, info)
    if asset:
        fields["metadata"]["asset"] = asset
        fields["excluded_embed_metadata_keys"].append("asset")
        fields["excluded_llm_metadata_keys"].append("asset")
    return ImageNode(text=text, image_path=image_path, **fields)


def with_text(node: TextNode, text: str, evidence: Evidence, order: int) -> TextNode:
    """A part of a node (or a merger of several): other text and place, everything else kept."""
    metadata = {k: v for k, v in node.metadata.items() if k not in Evidence.model_fields}
    metadata |= evidence.metadata() | {"order": order}
    new_id = node_id(node.ref_doc_id or "", evidence, order, text)
    return node.model_copy(update={"id_": new_id, "text": text, "metadata": metadata}, deep=True)


def made_by(node: BaseNode) -> str:
    """The model that wrote a node's text (a description of a picture); empty for words of the source."""
    return str(node.metadata.get(MADE_BY, ""))


def embedding_text(node: BaseNode) -> str:
    """The words that are embedded: title, section, caption and text. The same as `MetadataMode.EMBED` gives."""
    parts = [str(node.metadata.get(key, "")) for key in CONTEXT_KEYS]
    text = node.text if isinstance(node, TextNode) else node.get_content()
    return "\n".join(part for part in (*parts, text) if part)


def content_digest(*parts: str | bytes) -> str:
    """SHA-256 over the parts, each ended by a zero byte, as lower-case hex."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()


def _common(content: str, evidence: Evidence, info: NodeInfo) -> dict[str, Any]:
    metadata = evidence.metadata() | info.metadata()
    hidden = sorted(set(metadata) - set(CONTEXT_KEYS))
    ordered = {k: metadata[k] for k in (*CONTEXT_KEYS, *hidden) if k in metadata}
    return {
        "id_": node_id(info.doc_id, evidence, info.order, content),
        "metadata": ordered,
        "excluded_embed_metadata_keys": list(hidden),
        "excluded_llm_metadata_keys": list(hidden),
        "metadata_template": "{value}",
        "metadata_separator": "\n",
        "text_template": "{metadata_str}\n{content}",
        "relationships": {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=info.doc_id)},
    }
