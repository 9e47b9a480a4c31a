"""Small-to-big: a hit brings the section or page around it when a synthesizer wants more than the passage.

In a recording that is what is said and shown then: speech during a scene, the scene during which something is said.
"""

from typing import Literal

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from sensorium.stores.base import Store

Scope = Literal["section", "page"]
REACH = 40
"""Neighbours looked at on either side; nodes hold up to some 200 tokens, so this is several pages."""
AROUND_S = 30.0
"""What is said up to this long before and after belongs to the section of a moment."""


def context(store: Store, node: BaseNode, scope: Scope = "section", max_chars: int = 6000) -> list[BaseNode]:
    """The node and its neighbours of the same section (or page), in reading order, nearest first to the budget.

    Args:
        store: Where the neighbours are.
        node: A hit's node.
        scope: How far to go. In recordings a page is what is said and shown at the same time; a section also what
            is said and shown shortly before and after, in order of time.
        max_chars: Budget for all texts together; the node itself always comes.
    """
    order = node.metadata.get("order")
    if order is None or node.ref_doc_id is None:
        return [node]
    if node.metadata.get("start_s") is not None:
        return _moment(store, node, AROUND_S if scope == "section" else 0.0, max_chars)
    around = store.siblings(node.ref_doc_id, order - REACH, order + REACH)
    same = [n for n in around if _scope(n, scope) == _scope(node, scope)]
    near = sorted(same, key=lambda n: abs(n.metadata["order"] - order))
    return sorted(_within(node, near, max_chars), key=lambda n: int(n.metadata["order"]))


def _within(node: BaseNode, near: list[BaseNode], max_chars: int) -> list[BaseNode]:
    """The node and as many others, nearest first, as the budget holds."""
    chosen = {node.node_id: node}
    left = max_chars - len(node.get_content())
    for neighbour in near:
        if neighbour.node_id in chosen:
            continue
        left -= len(neighbour.get_content())
        if left < 0:
            break
        chosen[neighbour.node_id] = neighbour
    return list(chosen.values())


def _moment(store: Store, node: BaseNode, around_s: float, max_chars: int) -> list[BaseNode]:
    """The node with what is said and shown at its time, in order of time."""
    start, end = _span(node)
    wanted = (
        ("root", FilterOperator.EQ, node.metadata.get("root")),
        ("source", FilterOperator.EQ, node.metadata.get("source")),
        ("start_s", FilterOperator.LTE, end + around_s),
        ("end_s", FilterOperator.GTE, start - around_s),
    )
    filters = [MetadataFilter(key=key, operator=operator, value=value) for key, operator, value in wanted]
    found = store.get_nodes(filters=MetadataFilters(filters=[*filters], condition=FilterCondition.AND))
    # Spans that only touch belong to other moments.
    away = {n.node_id: max(_span(n)[0] - end, start - _span(n)[1]) for n in found}
    near = sorted((n for n in found if away[n.node_id] < around_s), key=lambda n: (away[n.node_id], _order(n)))
    return sorted(_within(node, near, max_chars), key=lambda n: (_span(n)[0], _order(n)))


def _span(node: BaseNode) -> tuple[float, float]:
    start = float(node.metadata["start_s"])
    return start, max(start, float(node.metadata.get("end_s") or start))


def _order(node: BaseNode) -> int:
    return int(node.metadata.get("order", 0))


def _scope(node: BaseNode, scope: Scope) -> tuple[object, ...]:
    place = (node.metadata.get("page"), node.metadata.get("slide"))
    if scope == "page" or not node.metadata.get("section"):
        return place
    return (node.metadata["section"],)
