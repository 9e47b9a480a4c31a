"""Fakes and contract suites, for Sensorium's own tests and for those of its users.

A suite is a base class of pytest-style tests: an engine's tests inherit it and say how the engine is made.
"""

from sensorium.testing.embedding import FakeEmbedding
from sensorium.testing.stores import StoreContract

__all__ = ["FakeEmbedding", "StoreContract"]
