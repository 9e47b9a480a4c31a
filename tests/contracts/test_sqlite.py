from collections.abc import Sequence
from pathlib import Path

import pytest

from sensorium.stores.base import Space, Store
from sensorium.stores.sqlite import SqliteStore
from sensorium.testing import StoreContract


class TestSqliteStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.folders: dict[int, Path] = {}

    def make_store(self, spaces: Sequence[Space]) -> Store:
        return self._open(self.folder / str(len(self.folders)), spaces)

    def reopen_store(self, store: Store, spaces: Sequence[Space]) -> Store:
        return self._open(self.folders[id(store)], spaces)

    def _open(self, folder: Path, spaces: Sequence[Space]) -> Store:
        store = SqliteStore(data=folder, spaces=spaces)
        self.folders[id(store)] = folder
        return store
