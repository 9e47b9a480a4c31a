"""How metadata are indexed, so that every filter can be answered.

Each key of a node gives tokens: its type, and a digest of its value (of each element, for lists). They answer
equality, membership and emptiness exactly, whatever the key and the value are. Order and parts of text need a typed
property of their own: the keys in `BUILT_IN` have one, and so have those declared as `filter_fields`. Filters on
other keys are narrowed down by type here and decided on the metadata themselves (`where`).
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal

from weaviate.classes.config import DataType, Property, Tokenization

from sensorium.errors import StoreError
from sensorium.stores._weaviate.names import digest, field_property, folded_property

FieldType = Literal["text", "number", "count"]
"""Counts are numbers that few of are different: each is found by its own entry, so they need no token."""
Fields = Mapping[str, FieldType]

BUILT_IN: Fields = {
    "source": "text",
    "page": "count",
    "slide": "count",
    "order": "count",
    "start_s": "number",
    "end_s": "number",
}
TEXT, ODD_TEXT, NUMBER, LIST, ODD_LIST, OTHER = "s", "S", "n", "l", "L", "d"
"""Types: text that has its typed property, or where none is declared; text that its property would spoil; numbers;
lists; lists without a token for each element; mappings."""
PRESENT = (TEXT, ODD_TEXT, NUMBER, LIST, ODD_LIST, OTHER)
_MOST_ELEMENTS = 256
_EXACT = 2**53
_LARGEST = 1e308
_LONGEST = 8_000


def check_fields(fields: Mapping[str, str]) -> Fields:
    """The declared fields and the built-in ones.

    Raises:
        StoreError: a type that there is not.
    """
    for key, kind in fields.items():
        if kind not in ("text", "number"):
            raise StoreError(f"filter_fields: {key}: {kind!r} is no type.", "Types: text, number.")
    return {**BUILT_IN, **fields}  # type: ignore[dict-item]


def type_token(key: str, kind: str) -> str:
    """Held by nodes whose value of a key is of one type."""
    return _prefix(key) + kind


def value_token(key: str, value: Any) -> str:
    """Held by nodes whose value of a key equals this one; numbers compare by value."""
    return f"{_prefix(key)}={_digest(canonical(value))}"


def element_token(key: str, value: Any) -> str:
    """Held by nodes whose value of a key is a list with this element."""
    return f"{_prefix(key)}+{_digest(canonical(value))}"


@lru_cache(maxsize=1024)
def space_token(space: str) -> str:
    """Held by nodes that have a vector in a space."""
    return f"@{digest(space, 6)}"


@lru_cache(maxsize=4096)
def _prefix(key: str) -> str:
    return digest(key, 6)


@lru_cache(maxsize=8192)
def _digest(value: str) -> str:
    return digest(value)


def canonical(value: Any) -> str:
    """Text that is equal for equal values: 1, 1.0 and true are."""
    if isinstance(value, bool | int):
        return f"n{int(value)}"
    if isinstance(value, float):
        return f"n{int(value)}" if value.is_integer() else f"n{value!r}"
    if isinstance(value, str):
        return f"s{value}"
    if isinstance(value, list):
        return "l" + json.dumps([canonical(v) for v in value])
    return "z" if value is None else "d" + json.dumps(value, sort_keys=True, default=str)


def indexed(metadata: Mapping[str, Any], fields: Fields) -> tuple[list[str], dict[str, Any]]:
    """Tokens and typed properties of a node's metadata (as they come back from JSON)."""
    tokens: list[str] = []
    properties: dict[str, Any] = {}
    for key, value in metadata.items():
        if isinstance(value, str | int | float):
            found, typed = _scalar(key, value, fields.get(key))
            tokens += found
            properties.update(typed)
        elif isinstance(value, list):
            tokens += _list_tokens(key, value)
        elif value is not None:
            tokens.append(type_token(key, OTHER))
    return tokens, properties


@lru_cache(maxsize=16_384)
def _scalar(
    key: str, value: str | float, declared: FieldType | None
) -> tuple[tuple[str, ...], tuple[tuple[str, Any], ...]]:
    """Tokens and typed properties of one value; most are shared by many nodes."""
    kind = _kind(value, declared)
    tokens = (type_token(key, kind), value_token(key, value))
    if isinstance(value, str):
        return tokens, _text_properties(key, value) if declared == "text" and kind == TEXT else ()
    if kind != NUMBER or declared not in ("number", "count"):
        return tokens, ()
    return tokens[:1] if declared == "count" else tokens, ((field_property(key), float(value)),)


def _list_tokens(key: str, values: list[Any]) -> list[str]:
    if _unindexed(values):
        return [type_token(key, ODD_LIST)]
    elements = dict.fromkeys(element_token(key, value) for value in values)
    return [type_token(key, LIST), value_token(key, values), *elements]


def is_odd(text: str) -> bool:
    """Whether the index would spoil a text: it trims blanks, and its patterns stop at the end of a line.

    The lower case of Σ depends on what follows, so that a part of a text may not be one of its lower case.
    """
    return text != text.strip() or "\n" in text or "Σ" in text or not text or len(text) > _LONGEST or not _clean(text)


def exact_number(value: float) -> bool:
    """Whether comparing with this number as a double is exact, also for whole numbers beyond 2^53."""
    return abs(value) < _EXACT


def field_properties(fields: Fields) -> Iterator[Property]:
    """The typed properties of all fields."""
    for key, kind in fields.items():
        if kind != "text":
            counts = kind == "count"
            yield Property(
                name=field_property(key),
                data_type=DataType.NUMBER,
                index_filterable=counts,
                index_range_filters=not counts,
            )
        else:
            for name in (field_property(key), folded_property(key)):
                yield Property(
                    name=name, data_type=DataType.TEXT, tokenization=Tokenization.FIELD, index_searchable=False
                )


def _kind(value: str | float, declared: FieldType | None) -> str:
    if isinstance(value, str):
        return ODD_TEXT if declared == "text" and is_odd(value) else TEXT
    # A number that a property would spoil is found by its token, and compared where its metadata are at hand.
    return NUMBER if exact_number(value) or (declared != "count" and abs(value) <= _LARGEST) else ODD_LIST


def _unindexed(values: list[Any]) -> bool:
    """Long lists, and those of fractions (boxes, embeddings): a term for each number would help no one."""
    return len(values) > _MOST_ELEMENTS or (
        bool(values) and all(isinstance(v, float) and not v.is_integer() for v in values)
    )


def _text_properties(key: str, value: str) -> tuple[tuple[str, str], ...]:
    lower = value.lower()
    own = (field_property(key), value)
    return (own,) if lower == value else (own, (folded_property(key), lower))


def _clean(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text
