import itertools

import pytest
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from sensorium.errors import QueryError
from sensorium.stores.filters import check, predicate, restricts
from sensorium.testing.stores.filtering import VALUES, leaves


def test_reference_agrees_with_core_wherever_core_does_not_raise() -> None:
    compared = 0
    for leaf, condition in itertools.product(leaves("value"), FilterCondition):
        filters = MetadataFilters(filters=[leaf], condition=condition)
        takes = predicate(filters)
        for value in VALUES:
            core = build_metadata_filter_fn(lambda _, value=value: {"value": value}, filters)  # type: ignore[misc]
            try:
                expected = core("x")
            except TypeError:
                continue
            assert takes({"value": value}) == expected, (leaf, value)
            compared += 1
    assert compared > 10_000


def test_groups_nest() -> None:
    red, big = MetadataFilter(key="color", value="red"), MetadataFilter(key="n", value=5, operator=FilterOperator.GT)
    neither = MetadataFilters(filters=[red, big], condition=FilterCondition.NOT)
    takes = predicate(
        MetadataFilters(filters=[neither, MetadataFilter(key="n", value=1)], condition=FilterCondition.OR)
    )
    assert takes({"color": "blue", "n": 3})
    assert takes({"color": "red", "n": 1})
    assert not takes({"color": "red", "n": 3})
    assert not takes({"n": 7})


def test_restricts() -> None:
    leaf = MetadataFilter(key="a", value=1)
    empty = MetadataFilters(filters=[])
    assert not restricts(None)
    assert not restricts(empty)
    assert not restricts(MetadataFilters(filters=[empty, empty]))
    assert restricts(MetadataFilters(filters=[empty, MetadataFilters(filters=[leaf])]))


def test_impossible_values_are_refused_also_when_nested() -> None:
    bad = MetadataFilter(key="color", value="red", operator=FilterOperator.IN)
    with pytest.raises(QueryError, match=r"color.*IN needs a list.*red"):
        check(MetadataFilters(filters=[MetadataFilters(filters=[bad])]))
