"""Metadata filters as SQL; `stores.filters` has their meaning.

Values are bound. Keys stand in the SQL as literals, so that the planner finds the expression indexes; keys with
characters that SQLite's JSON paths cannot hold go through the reference predicate, row by row.
"""

import json
import re
import sqlite3
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from sensorium.stores._sqlite.schema import json_path, value_of
from sensorium.stores.filters import check, matches

Sql = tuple[str, list[Any]]

_PLAIN_KEY = re.compile(r'[^"\\\x00-\x1f\ud800-\udfff]*')
_SURROGATE = re.compile("[\ud800-\udfff]")
_COMPARISONS = {
    FilterOperator.GT: ">",
    FilterOperator.GTE: ">=",
    FilterOperator.LT: "<",
    FilterOperator.LTE: "<=",
}
_INT64 = 2**63


def register(connection: sqlite3.Connection) -> None:
    """Add the functions that the SQL of filters uses."""
    connection.create_function("py_lower", 1, _lower, deterministic=True)
    connection.create_function("py_matches", 2, _matches, deterministic=True)


def where(filters: MetadataFilters | None) -> Sql:
    """A condition on the table `nodes`, and its values.

    Raises:
        QueryError: an operator with a value that it cannot take.
    """
    check(filters)
    return _group(filters) if filters is not None else ("1", [])


def one_of(column: str, values: list[str]) -> Sql:
    """The condition that a column holds one of some strings, however many."""
    return f"{column} IN (SELECT value FROM json_each(?))", [json.dumps(values)]


def _group(group: MetadataFilters) -> Sql:
    if not group.filters:
        return "1", []
    parts = [_group(m) if isinstance(m, MetadataFilters) else _leaf(m) for m in group.filters]
    values = [value for _, bound in parts for value in bound]
    joint = " AND " if group.condition in (FilterCondition.AND, None) else " OR "
    sql = joint.join(f"({part})" for part, _ in parts)
    if group.condition == FilterCondition.NOT:
        sql = f"NOT ifnull(({sql}), 0)"
    return sql, values


def _leaf(leaf: MetadataFilter) -> Sql:
    if not _PLAIN_KEY.fullmatch(leaf.key) or not _bindable(leaf.value):
        return "py_matches(nodes.metadata, ?)", [json.dumps(leaf.model_dump(mode="json"))]
    found = value_of(leaf.key)
    kind = f"json_type(nodes.metadata, {json_path(leaf.key)})"
    value = leaf.value
    if leaf.operator in _COMPARISONS:
        types = "('text')" if isinstance(value, str) else "('integer', 'real', 'true', 'false')"
        return f"{found} {_COMPARISONS[leaf.operator]} ? AND {kind} IN {types}", [value]
    if leaf.operator in (FilterOperator.EQ, FilterOperator.NE):
        return _equality(leaf, found, kind)
    return _BUILDERS[leaf.operator](found, kind, json_path(leaf.key), value)


def _equality(leaf: MetadataFilter, found: str, kind: str) -> Sql:
    if isinstance(leaf.value, list):
        return "py_matches(nodes.metadata, ?)", [json.dumps(leaf.model_dump(mode="json"))]
    equal = f"{found} = ? AND {kind} NOT IN ('array', 'object')"
    return (equal if leaf.operator == FilterOperator.EQ else f"NOT ifnull({equal}, 0)"), [leaf.value]


def _in(found: str, kind: str, _path: str, values: list[Any]) -> Sql:
    listed = "SELECT value FROM json_each(?)"
    return f"{found} IN ({listed}) AND {kind} NOT IN ('array', 'object')", [json.dumps(values)]


def _nin(found: str, kind: str, path: str, values: list[Any]) -> Sql:
    sql, bound = _in(found, kind, path, values)
    return f"NOT ifnull({sql}, 0)", bound


def _contains(found: str, kind: str, path: str, value: Any) -> Sql:
    member = "e.value = ? AND e.type NOT IN ('array', 'object')"
    sql = f"CASE {kind} WHEN 'array' THEN EXISTS (SELECT 1 FROM json_each(nodes.metadata, {path}) e WHERE {member})"
    if not isinstance(value, str):
        return f"{sql} ELSE 0 END", [value]
    return f"{sql} WHEN 'text' THEN instr({found}, ?) > 0 ELSE 0 END", [value, value]


def _contains_one(found: str, kind: str, path: str) -> str:
    """Whether the metadata value contains `v`, a row of json_each over the filter's values."""
    return (
        f"CASE {kind} WHEN 'array' THEN EXISTS (SELECT 1 FROM json_each(nodes.metadata, {path}) e "
        "WHERE e.value = v.value AND e.type NOT IN ('array', 'object')) "
        f"WHEN 'text' THEN v.type = 'text' AND instr({found}, v.value) > 0 ELSE 0 END"
    )


def _any(found: str, kind: str, path: str, values: list[Any]) -> Sql:
    one = _contains_one(found, kind, path)
    return f"EXISTS (SELECT 1 FROM json_each(?) v WHERE {one})", [json.dumps(values)]


def _all(found: str, kind: str, path: str, values: list[Any]) -> Sql:
    one = _contains_one(found, kind, path)
    missed = f"EXISTS (SELECT 1 FROM json_each(?) v WHERE NOT ({one}))"
    return f"{found} IS NOT NULL AND NOT {missed}", [json.dumps(values)]


def _text_match(found: str, kind: str, _path: str, value: str) -> Sql:
    return f"{kind} = 'text' AND instr({found}, ?) > 0", [value]


def _text_match_insensitive(found: str, kind: str, _path: str, value: str) -> Sql:
    return f"{kind} = 'text' AND instr(py_lower({found}), ?) > 0", [value.lower()]


def _is_empty(found: str, kind: str, _path: str, _value: Any) -> Sql:
    return f"({found} IS NULL OR ({kind} = 'text' AND {found} = '') OR ({kind} = 'array' AND {found} = '[]'))", []


_BUILDERS: dict[FilterOperator, Callable[[str, str, str, Any], Sql]] = {
    FilterOperator.IN: _in,
    FilterOperator.NIN: _nin,
    FilterOperator.CONTAINS: _contains,
    FilterOperator.ANY: _any,
    FilterOperator.ALL: _all,
    FilterOperator.TEXT_MATCH: _text_match,
    FilterOperator.TEXT_MATCH_INSENSITIVE: _text_match_insensitive,
    FilterOperator.IS_EMPTY: _is_empty,
}


def _bindable(value: Any) -> bool:
    """Whether SQLite can take the values: integers of 64 bits, text without lone surrogates or NUL."""
    if isinstance(value, list):
        return all(_bindable(v) for v in value)
    if isinstance(value, str):
        return not _SURROGATE.search(value) and "\0" not in value
    return not isinstance(value, int) or -_INT64 <= value < _INT64


def _lower(value: Any) -> Any:
    # SQLite may call this before it has looked at the type.
    return value.lower() if isinstance(value, str) else None


def _matches(metadata: str, leaf: str) -> bool:
    return matches(_parsed(leaf), json.loads(metadata))


@lru_cache(maxsize=256)
def _parsed(leaf: str) -> MetadataFilter:
    return MetadataFilter.model_validate_json(leaf)
