"""Getting, starting and talking to a Weaviate server. Private: apps use `sensorium.stores.weaviate`."""

import warnings

# weaviate-client switches every warning of the whole program on when it is imported; that is not its business here.
with warnings.catch_warnings():
    import weaviate  # noqa: F401
