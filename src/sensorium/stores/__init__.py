"""Stores: the embedded one and Weaviate. New ones are registered here."""

from sensorium.registry import Registry

STORES = Registry("store", supplied=("data", "spaces", "create"))
STORES.add("sqlite", "sensorium.stores.sqlite:SqliteStore", summary="embedded, no set-up")
STORES.add(
    "weaviate",
    "sensorium.stores.weaviate:WeaviateStore",
    value_option="url",
    summary="a server: large collections, several machines",
)
