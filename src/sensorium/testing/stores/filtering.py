"""Metadata filters mean the same in every engine: what `stores.filters` says."""

import random
from collections.abc import Iterator
from typing import Any

from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from sensorium.errors import QueryError
from sensorium.stores.base import Store
from sensorium.stores.filters import predicate
from sensorium.testing.stores.case import StoreCase, add, dense, group, ids, only, plain, raises, unit

OP = FilterOperator
_LISTS = (OP.IN, OP.NIN, OP.ANY, OP.ALL)
_ORDER = (OP.GT, OP.GTE, OP.LT, OP.LTE)
_TEXTS = (OP.TEXT_MATCH, OP.TEXT_MATCH_INSENSITIVE)

# Values that engines get wrong: stop words, wildcards, blanks, umlauts, code, JSON in text, types side by side.
VALUES: tuple[Any, ...] = (
    "a", "the", "A", "", " ", " a ", "Straße", "STRASSE", "straße", "ÜBER über", "über", "İ", "50%", "5_%", "a*b?c",
    "*", "O'Brien", 'say "x"', "back\\slash", "line\nbreak", "report-1.pdf", "1-report-final.pdf", "1", "true", "null",
    '["a"]', "[]", "{}", "2018-01-31", "文字", "a b c",
    0, 1, -1, 3, 3.0, 3.5, 10**12, 2**53 + 1, 1e-9, True, False, None,
    [], ["a"], ["a", "b"], ["the", ""], ["über", "50%"], [1, 2], [1.5, 2.0], ["1"], [True], [["a"]], [None],
)  # fmt: skip
WANTED: tuple[Any, ...] = (
    "a", "the", "", " ", "Straße", "ss", "über", "ÜBER", "%", "_", "*", "?", "'", '"', "\\", "\n", "1", "report-1.pdf",
    '["a"]', "[]", "文", "zzz", "' OR 1=1 --", 0, 1, 3, 3.0, 3.5, -2, 10**12, 2**53 + 1, 10**30,
)  # fmt: skip
LISTS: tuple[Any, ...] = (
    [], ["a"], ["a", "b"], ["the"], [""], ["zzz"], ["über", "50%"], [1], [1, 2], [3, 0], [1.5], ["1", "null"], ["ß"],
)  # fmt: skip
KEYS = ("value", "with space", "dotted.key", "ключ", "o'key", 'quo"te', "back\\slash", "a[0]", "$", "", "text", "id")
KEY_VALUES = ("a", 3, ["a", "b"], None)


class FilterTests(StoreCase):
    """Metadata filters mean the same in every engine."""

    def filter_store(self) -> tuple[Store, dict[str, dict[str, Any]]]:
        """A store over the nasty values, and the metadata by node id."""
        metadata = {f"v{i:03d}": {"value": value} for i, value in enumerate(VALUES)}
        metadata["missing"] = {"other": 1}
        for i, key in enumerate(KEYS[1:]):
            metadata |= {f"k{i}-{j}": {key: value} for j, value in enumerate(KEY_VALUES)}
        store = self.store()
        add(store, [TextNode(id_=node_id, text="word", metadata=values) for node_id, values in metadata.items()])
        return store, metadata

    def test_every_operator_means_what_the_reference_says(self) -> None:
        """All operators with all values that they take, over values of all types."""
        store, metadata = self.filter_store()
        for leaf in leaves("value"):
            check(store, metadata, group(FilterCondition.AND, leaf))

    def test_unusual_keys(self) -> None:
        """Keys with quotes, dots, brackets and backslashes."""
        store, metadata = self.filter_store()
        for key in KEYS:
            for operator, value in (
                (OP.EQ, "a"), (OP.NE, "a"), (OP.GT, 2), (OP.CONTAINS, "a"), (OP.IN, ["a", "x"]), (OP.IS_EMPTY, None),
                (OP.TEXT_MATCH, "a"), (OP.ANY, ["b"]), (OP.NIN, ["a"]),
            ):  # fmt: skip
                check(store, metadata, only(key, value, operator))

    def test_nested_groups(self) -> None:
        """AND, OR and NOT, three deep, at random (with a fixed seed), and groups without members."""
        store, metadata = self.filter_store()
        rng = random.Random(7)
        pool = list(leaves("value"))
        for _ in range(150):
            check(store, metadata, tree(rng, pool, 3))
        for condition in FilterCondition:
            check(store, metadata, group(condition))
            check(store, metadata, group(FilterCondition.NOT, group(condition)))
            check(store, metadata, group(FilterCondition.OR, group(condition), MetadataFilter(key="value", value="a")))

    def test_negations_take_missing_values(self) -> None:
        """NE, NIN and NOT match nodes that lack the key; comparisons never do."""
        store = self.store()
        add(store, [plain("has", color="red"), plain("other", color="blue"), plain("lacks")])
        red = MetadataFilter(key="color", value="red")
        for filters in (
            only("color", "red", OP.NE), only("color", ["red"], OP.NIN), group(FilterCondition.NOT, red)
        ):  # fmt: skip
            assert ids(store.get_nodes(filters=filters)) == ["lacks", "other"]
        assert ids(store.get_nodes(filters=only("color", "zzz", OP.LT))) == ["has", "other"]

    def test_impossible_filters_say_what_they_need(self) -> None:
        """Whatever the nodes hold."""
        store = self.store()
        for operator, value, word in (
            (OP.IN, "a", "list"), (OP.ANY, "a", "list"), (OP.TEXT_MATCH, 3, "text"), (OP.GT, ["a"], "number"),
            (OP.GT, None, "number"), (OP.CONTAINS, ["a"], "one value"), (OP.EQ, float("inf"), "finite"),
        ):  # fmt: skip
            with raises(QueryError, "key", operator.name, word):
                store.get_nodes(filters=only("key", value, operator))
            with raises(QueryError, "key"):
                dense(store, unit(1), filters=only("key", value, operator))

    def test_very_long_lists(self) -> None:
        """Lists longer than what engines bind at once."""
        store = self.store()
        add(store, [plain(f"n{i}", number=i) for i in range(5)])
        numbers = list(range(3, 60_000))
        assert ids(store.get_nodes(filters=only("number", numbers, OP.IN))) == ["n3", "n4"]
        wanted = [f"n{i}" for i in range(2, 60_000)]
        assert ids(store.get_nodes(node_ids=wanted)) == ["n2", "n3", "n4"]


def leaves(key: str) -> Iterator[MetadataFilter]:
    """Filters with every operator and every value that it takes."""
    for operator in OP:
        if operator == OP.IS_EMPTY:
            yield MetadataFilter(key=key, value=None, operator=operator)
            continue
        values = LISTS if operator in _LISTS else WANTED
        if operator in _TEXTS:
            values = tuple(v for v in WANTED if isinstance(v, str))
        elif operator in (OP.EQ, OP.NE):
            values = (*WANTED, *LISTS, None)
        for value in values:
            yield MetadataFilter(key=key, value=value, operator=operator)


def tree(rng: random.Random, pool: list[MetadataFilter], depth: int) -> MetadataFilters:
    """Random nested groups."""
    members: list[MetadataFilter | MetadataFilters] = [
        tree(rng, pool, depth - 1) if depth > 1 and rng.random() < 0.5 else rng.choice(pool)
        for _ in range(rng.randint(1, 3))
    ]
    return group(rng.choice(list(FilterCondition)), *members)


def check(store: Store, metadata: dict[str, dict[str, Any]], filters: MetadataFilters) -> None:
    """The store finds exactly the nodes that the reference takes."""
    takes = predicate(filters)
    expected = sorted(node_id for node_id, values in metadata.items() if takes(values))
    found = ids(store.get_nodes(filters=filters))
    wrong = {node_id: metadata[node_id] for node_id in set(found) ^ set(expected)}
    assert found == expected, f"{filters!r}: wrong about {wrong}"
