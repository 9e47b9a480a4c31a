"""What a metadata filter means, the same in every engine.

The meaning is that of core's `build_metadata_filter_fn`, extended to nested groups. Where core raises because
of what some node holds (a comparison of text with a number), a node of another type simply does not match.

| operator | a node matches when its value |
|---|---|
| EQ, NE | equals it or not; a missing value never equals, so NE takes it |
| GT GTE LT LTE | is a number and the filter's too, or both are text (by code point) |
| IN, NIN | is in the list or not; NIN takes missing values |
| CONTAINS | is a list with the filter's value, or text with it inside |
| ANY, ALL | is a list (or text) that contains one, or each, of the filter's values |
| TEXT_MATCH, TEXT_MATCH_INSENSITIVE | is text with the filter's text inside, as written or in lower case |
| IS_EMPTY | is missing, null, "" or [] |

Numbers compare by value (1, 1.0 and true are equal). Groups: AND, OR, and NOT (none of its members match); a
group without members matches everything.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from sensorium.errors import QueryError

Metadata = Mapping[str, Any]
Predicate = Callable[[Metadata], bool]

_LISTS = (FilterOperator.IN, FilterOperator.NIN, FilterOperator.ANY, FilterOperator.ALL)
_ORDER = (FilterOperator.GT, FilterOperator.GTE, FilterOperator.LT, FilterOperator.LTE)
_TEXTS = (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE)


def predicate(filters: MetadataFilters | None) -> Predicate:
    """The filters as a function of a node's metadata: the reference for what an engine has to return.

    Raises:
        QueryError: an operator with a value that it cannot take.
    """
    check(filters)
    return lambda metadata: filters is None or matches(filters, metadata)


def restricts(filters: MetadataFilters | None) -> bool:
    """Whether the filters hold any condition at all."""
    members = filters.filters if filters is not None else []
    return any(restricts(m) if isinstance(m, MetadataFilters) else True for m in members)


def check(filters: MetadataFilters | None) -> None:
    """Refuse operators with values that they cannot take, before anything is run.

    Raises:
        QueryError: names the key, the operator and what it needs.
    """
    for member in filters.filters if filters is not None else []:
        if isinstance(member, MetadataFilters):
            check(member)
        else:
            _check_leaf(member)


def matches(filters: MetadataFilters | MetadataFilter, metadata: Metadata) -> bool:
    """Whether metadata satisfy a filter or a group of them."""
    if isinstance(filters, MetadataFilter):
        return _matches_leaf(filters.operator, filters.value, metadata.get(filters.key))
    if not filters.filters:
        return True
    results = [matches(member, metadata) for member in filters.filters]
    if filters.condition == FilterCondition.OR:
        return any(results)
    if filters.condition == FilterCondition.NOT:
        return not any(results)
    return all(results)


def _check_leaf(leaf: MetadataFilter) -> None:
    value = leaf.value
    needs = ""
    if leaf.operator in _LISTS and not isinstance(value, list):
        needs = "a list"
    elif leaf.operator in _TEXTS and not isinstance(value, str):
        needs = "text"
    elif leaf.operator in _ORDER and not isinstance(value, int | float | str):
        needs = "a number or text"
    elif leaf.operator == FilterOperator.CONTAINS and (value is None or isinstance(value, list)):
        needs = "one value, no list"
    elif any(isinstance(v, float) and not math.isfinite(v) for v in _items(value)):
        needs = "finite numbers"
    if needs:
        name = leaf.operator.name
        raise QueryError(f"The filter on {leaf.key!r} cannot be run: {name} needs {needs}, got {value!r}.")


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _matches_leaf(operator: FilterOperator, value: Any, found: Any) -> bool:
    if operator == FilterOperator.IS_EMPTY:
        return found is None or found == "" or found == []
    if found is None:
        return operator in (FilterOperator.NE, FilterOperator.NIN)
    if operator in _ORDER:
        return _ordered(operator, value, found)
    return _TESTS[operator](value, found)


def _ordered(operator: FilterOperator, value: Any, found: Any) -> bool:
    numbers = isinstance(value, int | float) and isinstance(found, int | float)
    if not numbers and not (isinstance(value, str) and isinstance(found, str)):
        return False
    if operator == FilterOperator.GT:
        return bool(found > value)
    if operator == FilterOperator.GTE:
        return bool(found >= value)
    return bool(found < value if operator == FilterOperator.LT else found <= value)


def _contains(value: Any, found: Any) -> bool:
    if isinstance(found, str):
        return isinstance(value, str) and value in found
    return isinstance(found, list) and value in found


_TESTS: dict[FilterOperator, Callable[[Any, Any], bool]] = {
    FilterOperator.EQ: lambda value, found: bool(found == value),
    FilterOperator.NE: lambda value, found: bool(found != value),
    FilterOperator.IN: lambda value, found: found in value,
    FilterOperator.NIN: lambda value, found: found not in value,
    FilterOperator.CONTAINS: _contains,
    FilterOperator.ANY: lambda value, found: any(_contains(v, found) for v in value),
    FilterOperator.ALL: lambda value, found: all(_contains(v, found) for v in value),
    FilterOperator.TEXT_MATCH: lambda value, found: isinstance(found, str) and value in found,
    FilterOperator.TEXT_MATCH_INSENSITIVE: lambda value, found: (
        isinstance(found, str) and value.lower() in found.lower()
    ),
}
