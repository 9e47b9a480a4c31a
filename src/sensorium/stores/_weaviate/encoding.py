"""Nodes as objects of Weaviate, and back."""

import base64
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.schema import BaseNode
from weaviate.classes.data import DataObject

from sensorium.stores._weaviate.engine import Found, as_vector
from sensorium.stores._weaviate.fields import Fields, indexed, space_token
from sensorium.stores._weaviate.names import (
    BODY,
    DOC,
    GENERATION,
    KEY,
    KIND,
    METADATA,
    NODE_ID,
    TAGS,
    TERMS,
    digest,
    doc_key,
    kept_property,
    node_uuid,
    vector_name,
)
from sensorium.stores.base import Space, Vector, Vectors
from sensorium.stores.checking import checked_vectors, encoded_nodes, kind_of, restore_node, searched_texts
from sensorium.stores.codec import decode, encode
from sensorium.stores.terms import columns


@dataclass(frozen=True)
class Prepared:
    """A node ready to be written, in whatever generation.

    Attributes:
        id: Its id.
        doc: Its source; empty without one.
        kind: What the ledger counts it under.
        properties: All but the generation.
        vectors: By named vector.
        spaces: Searchable spaces that it has a vector in.
    """

    id: str
    doc: str
    kind: str
    properties: Mapping[str, Any]
    vectors: Mapping[str, Vector]
    spaces: tuple[str, ...]

    def object(self, generation: str) -> DataObject[Any, Any]:
        """The object to insert."""
        return DataObject(
            uuid=node_uuid(self.id, generation),
            properties={**self.properties, GENERATION: generation},
            vector=self.vectors,  # type: ignore[arg-type]
        )

    def uuid(self, generation: str) -> uuid.UUID:
        """Id of that object."""
        return node_uuid(self.id, generation)


def prepare(nodes: Sequence[BaseNode], vectors: Vectors, spaces: Mapping[str, Space], fields: Fields) -> list[Prepared]:
    """Check a batch and encode it, before anything is written.

    Raises:
        PartialWriteError: nodes that could not come back whole, or vectors that are not finite.
        SpaceError: unknown space, or another dimension.
    """
    encoded = encoded_nodes(nodes)
    checked = checked_vectors(nodes, vectors, spaces)
    given = [{name: v for name, c in checked.items() if (v := c[i]) is not None} for i in range(len(nodes))]
    return [_prepared(node, *encoded[i], given[i], spaces, fields) for i, node in enumerate(nodes)]


def _prepared(
    node: BaseNode, metadata: str, body: str, given: Mapping[str, Vector], spaces: Mapping[str, Space], fields: Fields
) -> Prepared:
    doc, kind = node.ref_doc_id or "", kind_of(node)
    tokens, typed = indexed(json.loads(metadata), fields)
    tokens += [space_token(name) for name in given]
    terms = " ".join(filter(None, columns(searched_texts(node))))
    properties = {
        NODE_ID: node.node_id,
        KEY: digest(node.node_id),
        DOC: doc_key(doc),
        KIND: kind,
        TAGS: tokens,
        METADATA: metadata,
        BODY: body,
        **({TERMS: _utf8(terms)} if terms else {}),
        **typed,
        **{kept_property(name): _blob(v, spaces[name]) for name, v in given.items() if not spaces[name].searchable},
    }
    searched = {name: v for name, v in given.items() if spaces[name].searchable}
    named = {vector_name(name): vector for name, vector in searched.items()}
    return Prepared(node.node_id, doc, kind, properties, named, tuple(searched))


def restored(found: Found) -> BaseNode:
    """The node of an object."""
    return restore_node(found.metadata, found.body)


def vectors_of(found: Found, spaces: Sequence[Space]) -> dict[str, Vector]:
    """A node's vectors by space, as far as they were asked for."""
    vectors: dict[str, Vector] = {}
    for space in spaces:
        if space.searchable:
            value = found.vectors.get(vector_name(space.name))
            if value is not None and len(value):
                vectors[space.name] = as_vector(value)
        elif blob := found.properties.get(kept_property(space.name)):
            vectors[space.name] = decode(base64.b64decode(str(blob)), space)
    return vectors


def kept_properties(spaces: Sequence[Space]) -> list[str]:
    """Properties to ask for when the vectors of these spaces are wanted."""
    return [kept_property(space.name) for space in spaces if not space.searchable]


def named_vectors(spaces: Sequence[Space]) -> list[str]:
    """Named vectors to ask for when the vectors of these spaces are wanted."""
    return [vector_name(space.name) for space in spaces if space.searchable]


def _blob(vector: Vector, space: Space) -> str:
    return base64.b64encode(encode(vector, space)).decode()


def _utf8(text: str) -> str:
    """Lone surrogates, which gRPC cannot carry, as question marks."""
    return text.encode("utf-8", "replace").decode()
