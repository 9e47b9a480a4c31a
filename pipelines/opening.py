"""The store of a configuration."""

from collections.abc import Sequence
from typing import cast

from sensorium.pipelines.spec import Spec
from sensorium.stores import STORES
from sensorium.stores.base import Space, Store


def open_store(spec: Spec, spaces: Sequence[Space] | None, create: bool = True) -> Store:
    """Open it.

    Args:
        spec: A validated configuration.
        spaces: The embedding spaces; None takes those of the index.
        create: Whether to make the index where there is none.

    Raises:
        MissingIndexError: there is none, and none is to be made.
        StoreError: it cannot be opened.
    """
    supplied = {"data": spec.data_folder, "spaces": spaces, "create": create}
    return cast(Store, STORES.create(spec.store.name, spec.store.options, **supplied))


def check_there(spec: Spec) -> None:
    """Say early that there is no index, where that can be seen without opening it (`Store.check_there`).

    Raises:
        MissingIndexError: there is none.
        ConfigError: the data folder cannot be reached.
    """
    store = cast(type[Store], STORES.entry(spec.store.name).load())
    store.check_there(spec.data_folder, **spec.store.options)
