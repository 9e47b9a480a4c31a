"""Nodes as JSON: what is usual is left out, and everything comes back."""

import json

import pytest
from llama_index.core.schema import BaseNode, Document, ImageNode, NodeRelationship, RelatedNodeInfo, TextNode

from sensorium.stores.checking import node_json, restore_node
from sensorium.testing.stores.round_trip import every_node


@pytest.mark.parametrize("node", [*every_node(), Document(id_="d", text="x"), Document(id_="e")], ids=lambda n: n.id_)
def test_every_node_comes_back(node: BaseNode) -> None:
    back = restore_node(*node_json(node))
    assert type(back) is type(node)
    assert back == node


@pytest.mark.parametrize("node", every_node(), ids=lambda n: n.id_)
def test_nodes_that_were_stored_whole_come_back(node: BaseNode) -> None:
    """As earlier versions did."""
    rest = node.to_dict()
    assert restore_node(json.dumps(rest.pop("metadata")), json.dumps(rest)) == node


def test_usual_values_are_not_stored() -> None:
    node = TextNode(id_="a", text="x", relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc")})
    assert json.loads(node_json(node)[1]).keys() == {"id_", "relationships", "text", "class_name"}
    assert json.loads(node_json(ImageNode(id_="a", mimetype=""))[1]).keys() == {"id_", "mimetype", "class_name"}


def test_restored_nodes_share_nothing() -> None:
    stored = node_json(TextNode(id_="a"))
    changed, other = restore_node(*stored), restore_node(*stored)
    changed.excluded_llm_metadata_keys.append("x")
    changed.relationships[NodeRelationship.NEXT] = RelatedNodeInfo(node_id="n")
    assert other == TextNode(id_="a")
    assert restore_node(*stored) == other
