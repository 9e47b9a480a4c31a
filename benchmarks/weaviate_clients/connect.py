"""A connected client of weaviate-client."""

from typing import Any

import weaviate
from weaviate.classes.init import AdditionalConfig, Auth, Timeout


def connected(settings: dict[str, Any]) -> weaviate.WeaviateClient:
    """Connect to the benchmark's server."""
    return weaviate.connect_to_local(
        port=settings["port"], grpc_port=settings["grpc_port"], auth_credentials=Auth.api_key(settings["api_key"]),
        additional_config=AdditionalConfig(timeout=Timeout(init=30, query=60, insert=300)), skip_init_checks=True,
    )  # fmt: skip
