"""The contract of every store, as tests.

```python
class TestMyStore(StoreContract):
    def make_store(self, spaces):
        return MyStore(..., spaces=spaces)   # empty, apart from all others

    def reopen_store(self, store, spaces):
        return MyStore(..., spaces=spaces)   # on the data of `store`, which may be closed
```
"""

from sensorium.testing.stores.filtering import FilterTests
from sensorium.testing.stores.noting import NoteTests
from sensorium.testing.stores.round_trip import RoundTripTests
from sensorium.testing.stores.searching import SearchTests
from sensorium.testing.stores.sharing import SharingTests
from sensorium.testing.stores.staging import StagingTests
from sensorium.testing.stores.updating import UpdateTests
from sensorium.testing.stores.verifying import VerifyTests

__all__ = ["StoreContract"]


class StoreContract(
    RoundTripTests, SearchTests, FilterTests, UpdateTests, StagingTests, SharingTests, NoteTests, VerifyTests
):
    """Everything that an engine has to pass; see the module for how to use it."""
