"""What every engine checks before it writes: that nodes can come back whole, and that vectors are usable."""

import json
import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode, Document, ImageDocument, ImageNode, IndexNode, Node, TextNode
from pydantic_core import to_jsonable_python

from sensorium.errors import PartialWriteError, QueryError, SpaceError, StoreError
from sensorium.nodes import CONTEXT_KEYS
from sensorium.stores.base import Space, Vector, Vectors

NODE_CLASSES: Mapping[str, type[BaseNode]] = {
    kind.class_name(): kind for kind in (TextNode, ImageNode, Node, IndexNode, Document, ImageDocument)
}
"""Classes that come back as themselves. Structure of your own belongs in a node's metadata."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=to_jsonable_python)
_USUAL: Mapping[str, Any] = {
    "embedding": None, "excluded_embed_metadata_keys": [], "excluded_llm_metadata_keys": [], "relationships": {},
    "metadata_template": "{key}: {value}", "metadata_separator": "\n", "text": "", "mimetype": "text/plain",
    "start_char_idx": None, "end_char_idx": None, "text_template": "{metadata_str}\n\n{content}",
    "text_resource": None, "image_resource": None, "audio_resource": None, "video_resource": None,
    "image": None, "image_path": None, "image_url": None, "image_mimetype": None, "text_embedding": None,
}  # fmt: skip
"""Values that are not stored: half the bytes of a short text's node. Written out here, not asked of LlamaIndex, so that
stored nodes stay as they are when its defaults change."""
_LEFT_OUT = {
    name: {field: value for field, value in _USUAL.items() if field in kind.model_fields}
    for name, kind in NODE_CLASSES.items()
}
_MEDIA = {
    kind: [f for f in kind.model_fields if f == "image" or f.endswith("_resource")] for kind in NODE_CLASSES.values()
}


def kind_of(node: BaseNode) -> str:
    """The kind that the ledger counts a node under; "text" for nodes without evidence."""
    kind = node.metadata.get("kind")
    return kind if isinstance(kind, str) and kind else "text"


def order_of(node: BaseNode) -> int | None:
    """Position in the source, or None for nodes without one."""
    order = node.metadata.get("order")
    return order if isinstance(order, int) and not isinstance(order, bool) else None


def searched_texts(node: BaseNode) -> tuple[str, ...]:
    """What keyword search looks into: title, section, caption and text."""
    text = node.text if isinstance(node, TextNode) else node.get_content()
    return (*(str(node.metadata.get(key, "")) for key in CONTEXT_KEYS), text)


def node_json(node: BaseNode) -> tuple[str, str]:
    """Metadata, and all the rest of a node but its embedding, as JSON.

    Raises:
        ValueError: the node could not come back as it is; the message says why.
    """
    if type(node) not in NODE_CLASSES.values():
        raise ValueError(f"{type(node).__name__} is none of LlamaIndex's node classes")
    if _has_bytes(node):
        raise ValueError("it holds a medium as bytes; media are files: save it and give its path")
    rest = node.to_dict()
    metadata = rest.pop("metadata")
    rest["embedding"] = None
    left_out = _LEFT_OUT[rest["class_name"]]
    return to_json(metadata), to_json({k: v for k, v in rest.items() if k not in left_out or v != left_out[k]})


def encoded_nodes(nodes: Sequence[BaseNode]) -> list[tuple[str, str]]:
    """`node_json` of a batch.

    Raises:
        PartialWriteError: nodes that could not come back whole, or whose ids are no text.
    """
    failed: dict[str, str] = {}
    encoded: list[tuple[str, str]] = []
    for node in nodes:
        try:
            node.node_id.encode()
            (node.ref_doc_id or "").encode()
            encoded.append(node_json(node))
        except (ValueError, TypeError, RecursionError) as error:
            failed[node.node_id] = str(error)
    refuse(nodes, failed)
    return encoded


def _has_bytes(node: BaseNode) -> bool:
    """Whether a medium is in the node itself; only fields of its class are asked for, as others take pydantic long."""
    values = [getattr(node, name) for name in _MEDIA[type(node)]]
    return any(value if isinstance(value, str) else getattr(value, "data", None) for value in values)


def to_json(value: Any) -> str:
    """Compact JSON that can be stored as UTF-8; lone surrogates stay, escaped.

    Raises:
        ValueError: a number that is not finite, or a cycle.
    """
    text = _ENCODER.encode(value)
    return text if text.isascii() else _SURROGATE.sub(lambda m: f"\\u{ord(m[0]):04x}", text)


def restore_node(metadata: str, rest: str) -> BaseNode:
    """The node of `node_json`."""
    fields = json.loads(rest)
    kind = fields["class_name"]
    node: BaseNode = NODE_CLASSES[kind].from_dict({**_LEFT_OUT[kind], **fields, "metadata": json.loads(metadata)})
    return node


def checked_vectors(
    nodes: Sequence[BaseNode], vectors: Vectors, spaces: Mapping[str, Space]
) -> dict[str, list[Vector | None]]:
    """Vectors as the engines store them: float32, of the right shape, normalised in cosine spaces.

    Args:
        nodes: The nodes of the batch; an `embedding` goes to the space "text" when `vectors` has none.
        vectors: For each space one vector a node, or None.
        spaces: All the spaces.

    Raises:
        SpaceError: unknown space, or another dimension.
        StoreError: not one vector (or None) a node.
        PartialWriteError: vectors that are not finite. Nothing was written.
    """
    given: dict[str, Sequence[Any] | Vector] = dict(vectors)
    if "text" not in given and any(node.embedding is not None for node in nodes):
        given["text"] = [node.embedding for node in nodes]
    failed: dict[str, str] = {}
    checked = {}
    for name, values in given.items():
        space = space_of(name, spaces)
        if len(values) != len(nodes):
            raise StoreError(f"The space {name!r} got {len(values)} vectors for {len(nodes)} nodes.")
        checked[name] = _checked_space(nodes, values, space, failed)
    refuse(nodes, failed)
    return checked


def refuse_strangers(nodes: Sequence[BaseNode], doc_id: str, staged: Container[str]) -> None:
    """Refuse nodes that cannot be staged: of another source, or of an id that was staged before.

    Args:
        nodes: A batch.
        doc_id: The source that is staged.
        staged: Ids of the batches before.

    Raises:
        PartialWriteError: with the reason of each.
    """
    failed: dict[str, str] = {}
    seen: set[str] = set()
    for node in nodes:
        if node.ref_doc_id != doc_id:
            failed[node.node_id] = f"it belongs to the source {node.ref_doc_id}, not to {doc_id}"
        elif node.node_id in staged or node.node_id in seen:
            failed[node.node_id] = "another node of this id was staged before"
        seen.add(node.node_id)
    refuse(nodes, failed)


def refuse(nodes: Sequence[BaseNode], failed: Mapping[str, str]) -> None:
    """Refuse a whole batch when some of its nodes cannot be stored.

    Raises:
        PartialWriteError: `failed` is not empty; it names the others too, as nothing is written.
    """
    if failed:
        others = {n.node_id: "others of its batch were refused" for n in nodes if n.node_id not in failed}
        raise PartialWriteError([], dict(failed) | others)


def space_of(name: str | None, spaces: Mapping[str, Space]) -> Space:
    """The space of a name, "text" for None.

    Raises:
        SpaceError: there is none.
    """
    name = name or "text"
    if name not in spaces:
        known = ", ".join(spaces) or "none"
        raise SpaceError(f"There is no space {name!r}.", f"Spaces of this index: {known}.")
    return spaces[name]


def query_matrix(space: Space, embedding: Sequence[float] | None, matrix: Vector | None) -> Vector:
    """The vectors of a query, shape (m, d); one row unless the space is a multi-vector one.

    Raises:
        SpaceError: a space that is not searched, or vectors of another dimension.
        QueryError: no vectors, or such as are not finite.
    """
    if not space.searchable:
        raise SpaceError(f"The space {space.name!r} cannot be searched: its vectors are only kept.")
    given = matrix if matrix is not None and space.multi else embedding
    if given is None or len(given) == 0:
        raise QueryError(f"A search in the space {space.name!r} needs the query's vector.")
    rows = np.atleast_2d(np.asarray(given, dtype=np.float32))
    if rows.ndim != 2 or rows.shape[1] != space.dimension:
        raise SpaceError(
            f"The space {space.name!r} has {space.dimension} dimensions, the query's vector {rows.shape[-1]}."
        )
    if not np.isfinite(rows).all():
        raise QueryError("The query's vector holds numbers that are not finite.")
    return normalised(rows) if space.distance == "cosine" else rows


def normalised(rows: Vector) -> Vector:
    """Rows (n, d) of length 1; zero rows stay zero. Not changed in place."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=-1, keepdims=True)
    lengths[lengths == 0] = 1.0
    return np.asarray(rows / lengths, dtype=np.float32)


def _checked_space(
    nodes: Sequence[BaseNode], values: Sequence[Any] | Vector, space: Space, failed: dict[str, str]
) -> list[Vector | None]:
    """Check and normalise all vectors of a space at once; what is not finite goes into `failed`."""
    shaped = [_shaped(v, space, node.node_id) for v, node in zip(values, nodes, strict=True)]
    present = [i for i, vector in enumerate(shaped) if vector is not None]
    if not present:
        return shaped
    rows = np.concatenate([np.atleast_2d(v) for v in shaped if v is not None])
    finite = np.isfinite(rows).all(axis=1)
    if space.distance == "cosine":
        rows = normalised(np.where(finite[:, None], rows, 0.0))
    start = 0
    for i in present:
        end = start + (len(shaped[i]) if space.multi else 1)  # type: ignore[arg-type]
        if not finite[start:end].all():
            failed[nodes[i].node_id] = f"its vector in the space {space.name!r} is not finite"
        shaped[i] = rows[start:end] if space.multi else rows[start]
        start = end
    return shaped


def _shaped(value: Any, space: Space, node_id: str) -> Vector | None:
    if value is None:
        return None
    with np.errstate(over="ignore"):
        vector = np.asarray(value, dtype=np.float32)
    if space.multi and len(vector) == 0:
        return None
    if vector.ndim != (2 if space.multi else 1) or vector.shape[-1] != space.dimension:
        shape = f"(m, {space.dimension})" if space.multi else f"({space.dimension},)"
        raise SpaceError(
            f"The vector of node {node_id} has shape {vector.shape}; the space {space.name!r} takes {shape}.",
            "Nothing of its batch was stored.",
        )
    return vector
