import os
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def model_cache() -> Iterator[str]:
    """Built models of this test run, so that nothing of the user's own cache is used or changed."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("SENSORIUM_CACHE")
        os.environ["SENSORIUM_CACHE"] = folder
        yield folder
        if before is None:
            del os.environ["SENSORIUM_CACHE"]
        else:
            os.environ["SENSORIUM_CACHE"] = before
