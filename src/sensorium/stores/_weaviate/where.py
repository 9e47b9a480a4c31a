"""Metadata filters for Weaviate, with the meaning of `stores.filters`.

A filter becomes two bounds: nodes that surely match (`lower`) and nodes that may match (`upper`). Where they are
one, Weaviate decides alone; else the metadata of what `upper` finds are checked by the reference predicate.
Negation swaps the bounds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from weaviate.classes.query import Filter

from sensorium.stores._weaviate.fields import (
    NUMBER,
    ODD_LIST,
    ODD_TEXT,
    PRESENT,
    TEXT,
    Fields,
    element_token,
    exact_number,
    is_odd,
    type_token,
    value_token,
)
from sensorium.stores._weaviate.names import TAGS, field_property, folded_property

Condition = Any
"""A filter of the client, or True (all nodes) or False (none)."""

_COMPARISONS = {
    FilterOperator.GT: "greater_than",
    FilterOperator.GTE: "greater_or_equal",
    FilterOperator.LT: "less_than",
    FilterOperator.LTE: "less_or_equal",
}


@dataclass(frozen=True)
class Bounds:
    """What a filter is for Weaviate.

    Attributes:
        upper: Nodes that may match.
        lower: Nodes that surely match.
        exact: Whether both are the same.
        vague: Keys that only the metadata decide, for messages.
    """

    upper: Condition
    lower: Condition
    exact: bool = True
    vague: tuple[str, ...] = ()


def bounds(filters: MetadataFilters | None, fields: Fields) -> Bounds:
    """The bounds of checked filters."""
    return _group(filters, fields) if filters is not None else Bounds(True, True)


def all_of(conditions: Sequence[Condition]) -> Condition:
    """Conjunction."""
    if any(c is False for c in conditions):
        return False
    left = [c for c in conditions if c is not True]
    return True if not left else left[0] if len(left) == 1 else Filter.all_of(left)


def any_of(conditions: Sequence[Condition]) -> Condition:
    """Disjunction."""
    if any(c is True for c in conditions):
        return True
    left = [c for c in conditions if c is not False]
    return False if not left else left[0] if len(left) == 1 else Filter.any_of(left)


def none_of(conditions: Sequence[Condition]) -> Condition:
    """Negated disjunction."""
    some = any_of(conditions)
    return not some if isinstance(some, bool) else Filter.not_(some)


def tagged(tokens: Sequence[str]) -> Condition:
    """Nodes that hold one of some tokens."""
    return Filter.by_property(TAGS).contains_any(list(tokens)) if tokens else False


def _group(group: MetadataFilters, fields: Fields) -> Bounds:
    if not group.filters:
        return Bounds(True, True)
    members = [_group(m, fields) if isinstance(m, MetadataFilters) else _leaf(m, fields) for m in group.filters]
    if group.condition == FilterCondition.NOT:
        some = _joined(members, any_of)
        return Bounds(none_of([some.lower]), none_of([some.upper]), some.exact, some.vague)
    return _joined(members, any_of if group.condition == FilterCondition.OR else all_of)


def _joined(members: Sequence[Bounds], join: Callable[[Sequence[Condition]], Condition]) -> Bounds:
    vague = tuple(dict.fromkeys(key for m in members for key in m.vague))
    exact = all(m.exact for m in members)
    return Bounds(join([m.upper for m in members]), join([m.lower for m in members]), exact, vague)


def _leaf(leaf: MetadataFilter, fields: Fields) -> Bounds:
    key, value, operator = leaf.key, leaf.value, leaf.operator
    if operator == FilterOperator.IS_EMPTY:
        empty = tagged([value_token(key, ""), value_token(key, [])])
        return _exactly(any_of([none_of([_present(key)]), empty]))
    if operator in (FilterOperator.EQ, FilterOperator.IN):
        return _equal(key, value if operator == FilterOperator.IN else [value], fields)
    if operator in (FilterOperator.NE, FilterOperator.NIN):
        found = _equal(key, value if operator == FilterOperator.NIN else [value], fields)
        return Bounds(none_of([found.lower]), none_of([found.upper]), found.exact, found.vague)
    if operator in _COMPARISONS:
        return _compared(key, operator, value, fields)
    if operator in (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE):
        return _holding(key, str(value), fields, operator == FilterOperator.TEXT_MATCH_INSENSITIVE)
    if operator == FilterOperator.CONTAINS:
        return _containing(key, value, fields)
    parts = [_containing(key, v, fields) for v in value]  # type: ignore[union-attr]
    if operator == FilterOperator.ALL:
        # Of no values at all, each is contained in whatever is there.
        return _joined([_exactly(_present(key)), *parts], all_of)
    return _joined(parts, any_of)


def _exactly(condition: Condition) -> Bounds:
    return Bounds(condition, condition)


def _present(key: str) -> Condition:
    return tagged([type_token(key, kind) for kind in PRESENT])


def _equal(key: str, values: Any, fields: Fields) -> Bounds:
    """Equality by tokens, or by the property of a count; only lists that have no token are looked at."""
    numbers = {float(v) for v in values if fields.get(key) == "count" and _is_exact(v)}
    tokens = tagged([value_token(key, v) for v in values if v is not None])
    if numbers:
        tokens = any_of([tokens, Filter.by_property(field_property(key)).contains_any(sorted(numbers))])
    if not any(isinstance(v, list) for v in values):
        return _exactly(tokens)
    return Bounds(any_of([tokens, tagged([type_token(key, ODD_LIST)])]), tokens, False)


def _is_exact(value: Any) -> bool:
    return isinstance(value, int | float) and exact_number(value)


def _containing(key: str, value: Any, fields: Fields) -> Bounds:
    element = tagged([element_token(key, value)])
    odd = tagged([type_token(key, ODD_LIST)])
    if not isinstance(value, str):
        return Bounds(any_of([element, odd]), element, False)
    text = _holding(key, value, fields, False)
    return Bounds(any_of([element, odd, text.upper]), any_of([element, text.lower]), False, text.vague)


def _holding(key: str, part: str, fields: Fields, insensitive: bool) -> Bounds:
    """Text with `part` in it."""
    texts = tagged([type_token(key, TEXT), type_token(key, ODD_TEXT)])
    if not part:
        return _exactly(texts)
    if fields.get(key) != "text":
        equal = tagged([value_token(key, part)])
        return Bounds(texts, equal, False, (key,))
    odd = tagged([type_token(key, ODD_TEXT)])
    if is_odd(f"x{part}x"):
        return Bounds(odd, False, False)
    like = Filter.by_property(field_property(key)).like(f"*{part}*")
    if insensitive:
        lower = part.lower()
        like = Filter.any_of(
            [
                Filter.by_property(folded_property(key)).like(f"*{lower}*"),
                Filter.by_property(field_property(key)).like(f"*{lower}*"),
            ]
        )
    # A * or ? in the text cannot be escaped, so it finds too much.
    sure = False if "*" in part or "?" in part else like
    return Bounds(any_of([like, odd]), sure, False)


def _compared(key: str, operator: FilterOperator, value: Any, fields: Fields) -> Bounds:
    """Order among numbers, or among texts."""
    kinds = [TEXT, ODD_TEXT] if isinstance(value, str) else [NUMBER, ODD_LIST]
    right_type = tagged([type_token(key, kind) for kind in kinds])
    wanted = ("text",) if isinstance(value, str) else ("number", "count")
    if fields.get(key) not in wanted:
        return Bounds(right_type, False, False, (key,))
    usable = not is_odd(value) if isinstance(value, str) else exact_number(value)
    if not usable:
        return Bounds(right_type, False, False, (key,))
    bound = value if isinstance(value, str) else float(value)
    found = getattr(Filter.by_property(field_property(key)), _COMPARISONS[operator])(bound)
    return Bounds(any_of([found, tagged([type_token(key, kinds[1])])]), found, False)
