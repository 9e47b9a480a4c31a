"""The contract of every store, on a real Weaviate server."""

from collections.abc import Sequence

import pytest

from sensorium.stores.base import Space, Store
from sensorium.stores.weaviate import WeaviateStore
from sensorium.testing import StoreContract
from sensorium.testing.weaviate import WeaviateServer


class TestWeaviateStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, weaviate_server: WeaviateServer, collection_name: str) -> None:
        self.server = weaviate_server
        self.prefix = collection_name
        self.names: dict[int, str] = {}

    def make_store(self, spaces: Sequence[Space]) -> Store:
        return self._open(f"{self.prefix}_{len(self.names)}", spaces)

    def reopen_store(self, store: Store, spaces: Sequence[Space]) -> Store:
        return self._open(self.names[id(store)], spaces)

    def _open(self, name: str, spaces: Sequence[Space]) -> Store:
        store = WeaviateStore(
            spaces=spaces,
            url=self.server.url,
            grpc=f"{self.server.grpc_host}:{self.server.grpc_port}",
            api_key=self.server.api_key,
            collection=name,
        )
        self.names[id(store)] = name
        return store
