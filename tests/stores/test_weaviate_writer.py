"""Batches that are cut off at the same time; what real cuts leave behind: `integration/test_weaviate_faults`."""

import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from weaviate.classes.data import DataObject

from sensorium.errors import StoreError
from sensorium.stores._weaviate import writing
from sensorium.stores._weaviate.names import ROW
from sensorium.stores._weaviate.writing import Writer


class CutOff:
    """An engine that cuts off the first insert of each of two threads; deleting takes one of them longer."""

    connection = SimpleNamespace(wait_ready=lambda: None, timeout_s=1.0, concerns_all=lambda reason: False)

    def __init__(self) -> None:
        self.both = threading.Barrier(2, timeout=5.0)
        self.cut: set[str] = set()
        self.open: dict[uuid.UUID, str] = {}
        self.deleted: set[str] = set()
        self.too_early: list[str] = []

    def insert(self, objects: Sequence[DataObject[Any, Any]]) -> dict[int, str]:
        batch = str(objects[0].properties["batch"])
        if batch not in self.cut:
            self.cut.add(batch)
            threading.current_thread().name = batch
            self.both.wait()
            raise StoreError("cut off")
        return {}

    def write_rows(self, objects: Sequence[DataObject[Any, Any]]) -> None:
        self.open |= {o.uuid: threading.current_thread().name for o in objects if o.properties[ROW] == "cut"}  # type: ignore[misc]

    def delete_rows(self, ids: Sequence[uuid.UUID]) -> None:
        self.too_early += [batch for one in ids if (batch := self.open.pop(one)) not in self.deleted]

    def delete_each(self, ids: Sequence[uuid.UUID]) -> None:
        batch = threading.current_thread().name
        time.sleep(0.3 if batch == "slow" else 0.0)
        self.deleted.add(batch)

    def count(self, condition: object) -> int:
        return 1


def test_a_cut_stays_open_until_its_own_batch_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_PAUSE_S", 0.001)
    engine = CutOff()
    writer = Writer(engine, {}, 10, 1)  # type: ignore[arg-type]
    batches = [[DataObject(uuid=uuid.uuid4(), properties={"batch": name})] for name in ("fast", "slow")]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(writer._insert, batches)) == [{}, {}]
    assert engine.deleted == {"fast", "slow"}
    assert engine.too_early == []
    assert engine.open == {}
