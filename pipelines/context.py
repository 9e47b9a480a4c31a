"""Small-to-big: a hit brings the section or page around it when a synthesizer wants more than the passage."""

from typing import Literal

from llama_index.core.schema import BaseNode

from sensorium.stores.base import Store

Scope = Literal["section", "page"]
REACH = 40
"""Neighbours looked at on either side; nodes hold up to some 200 tokens, so this is several pages."""


def context(store: Store, node: BaseNode, scope: Scope = "section", max_chars: int = 6000) -> list[BaseNode]:
    """The node and its neighbours of the same section (or page), in reading order, nearest first to the budget.

    Args:
        store: Where the neighbours are.
        node: A hit's node.
        scope: How far to go.
        max_chars: Budget for all texts together; the node itself always comes.
    """
    order = node.metadata.get("order")
    if order is None or node.ref_doc_id is None:
        return [node]
    around = store.siblings(node.ref_doc_id, order - REACH, order + REACH)
    same = [n for n in around if _scope(n, scope) == _scope(node, scope)]
    chosen = {node.node_id: node}
    left = max_chars - len(node.get_content())
    for neighbour in sorted(same, key=lambda n: abs(n.metadata["order"] - order)):
        left -= len(neighbour.get_content())
        if left < 0:
            break
        chosen.setdefault(neighbour.node_id, neighbour)
    return sorted(chosen.values(), key=lambda n: int(n.metadata["order"]))


def _scope(node: BaseNode, scope: Scope) -> tuple[object, ...]:
    place = (node.metadata.get("page"), node.metadata.get("slide"))
    if scope == "page" or not node.metadata.get("section"):
        return place
    return (node.metadata["section"],)
