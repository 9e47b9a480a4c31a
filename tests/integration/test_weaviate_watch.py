"""After a run that did not end properly, what was written last is looked for again before the next write."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID, uuid4, uuid5

import pytest
from tests.integration.weaviate_case import open_store, publish, version, versions

from sensorium.stores._weaviate.names import row_uuid
from sensorium.stores._weaviate.server import start
from sensorium.stores._weaviate.watch import RECENT, RUN, Run
from sensorium.stores.weaviate import WeaviateStore
from sensorium.testing.weaviate import WeaviateServer

LOG = "sensorium.weaviate"


def runs(store: WeaviateStore) -> list[Run]:
    """The rows of runs in the ledger."""
    rows = [row.properties for row in store._parts.engine.scan_rows(["row", "value"])]
    return [Run.parse(str(p["value"])) for p in rows if p["row"] == RUN]


def harm(store: WeaviateStore) -> None:
    """Take a node away behind the store's back."""
    found = next(f for f in store._parts.engine.scan(["node_id"]) if f.node_id == "doc-1-3")
    store._parts.engine.delete_each([found.uuid])


def killed(store: WeaviateStore) -> None:
    """Make a run's row look as if its process had been killed."""
    watch = store._watch
    assert watch is not None
    (run,) = runs(store)
    values = json.loads(str(run.row().properties["value"]))
    machine, _, started = json.loads(values[1])
    values[1] = json.dumps([machine, 2**22 + 1, started])
    row = run.row()
    row.properties["value"] = json.dumps(values)
    store._parts.engine.write_rows([row])
    watch.forget()


@pytest.mark.parametrize("end", [killed, WeaviateStore.close])
def test_what_a_killed_run_wrote_last_is_looked_at(
    weaviate_server: WeaviateServer, collection_name: str, end: Callable[[WeaviateStore], None],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    store = open_store(weaviate_server, collection_name)
    publish(store, "doc", 1)
    harm(store)
    end(store)
    store.close()
    again = open_store(weaviate_server, collection_name)
    with caplog.at_level(logging.WARNING, LOG):
        assert again.count() == 59
        assert not caplog.records  # reading alone looks at nothing
        publish(again, "other", 1)
    record = again.source("doc")
    assert record is not None
    if end is killed:
        assert "did not end properly" in caplog.text
        assert record.status == "failed"  # the next run indexes it again
        assert again.verify().sound
    else:
        assert not caplog.records
        assert record.status == "stored"
    assert [run.closed for run in runs(again)] == [False]
    again.close()


def test_a_runs_row_stays_small(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """It names the last sources only, those of the run before among them."""
    for start_at in (0, 3):
        store = open_store(weaviate_server, collection_name)
        for number in range(start_at, start_at + RECENT - 1):
            store.keep_note("warm", "x", number)
            store._parts.generations.discard(
                store._parts.generations.begin(f"d{number}", store._watching.announced),
            )
        (run,) = runs(store)
        assert len(run.recent) == RECENT - 1 if start_at == 0 else RECENT
        store.close()


def test_a_server_that_was_killed_is_noticed(
    weaviate_server: WeaviateServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By its new term of office; nodes that its vector indexes lost are written again."""
    if weaviate_server.embedded is None:
        pytest.skip("the server at WEAVIATE_URL is not ours to kill")
    embedded = start(tmp_path / "server")
    server = WeaviateServer(embedded.url, "127.0.0.1", embedded.grpc_port, embedded.api_key, embedded)
    store = open_store(server, "Watched")
    publish(store, "doc", 1)
    term, head = store._connection.term(), store._parts.generations.head("doc")
    assert term
    assert head is not None
    nodes, vectors = version("doc", 2, 1000)
    objects = [node.object(head.live) for node in store._parts.prepare(nodes, vectors)]
    for first in range(0, 1000, 100):  # without a barrier, as other clients write
        store._parts.engine.insert(objects[first : first + 100])
    embedded.kill()
    store.close()
    with start(tmp_path / "server"), caplog.at_level(logging.WARNING, LOG):
        again = open_store(server, "Watched")
        assert again._connection.term() != term
        publish(again, "other", 1)
        assert "the server was restarted" in caplog.text  # the ledger's count differs at least
        outcome = again.verify()
        assert outcome.sound, outcome.public()
        assert outcome.nodes == again.count() == 1120
        again.close()
    embedded.stop()


def test_rows_of_the_ledger_can_be_written_again(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """As `verify` does with those that are stored, but that no filter finds."""
    store = open_store(weaviate_server, collection_name)
    publish(store, "doc", 1)
    engine, one = store._parts.engine, row_uuid("settings")
    before = engine.row_by_uuid(one)
    assert before is not None
    engine.rewrite_row(one)
    after = engine.row_by_uuid(one)
    assert after is not None
    assert after.properties == before.properties
    engine.confirm_rows([one])
    assert engine.row_by_uuid(row_uuid("nosuch")) is None
    store.close()
    again = open_store(weaviate_server, collection_name)
    assert again.verify().sound
    again.close()


def test_what_is_doubled_and_what_belongs_to_nobody_goes(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """Objects that a killed repair, or a writer whose rows are gone, has left behind."""
    store = open_store(weaviate_server, collection_name)
    publish(store, "doc", 1)
    before = {node.node_id: node.to_dict() for node in store.get_nodes()}
    head = store._parts.generations.head("doc")
    assert head is not None
    nodes, vectors = version("doc", 1, 3)
    prepared = store._parts.prepare(nodes, {space: rows[:3] for space, rows in vectors.items()})
    twins = [node.object(head.live) for node in prepared]
    for twin in twins:
        twin.uuid = uuid4()
    store._parts.engine.insert(twins)
    store._parts.engine.insert([node.object("f" * 16) for node in prepared])
    found = store.verify()
    assert {f.fault: f.number for f in found.left} == {"doubled": 3, "orphaned": 3}
    assert found.nodes == 60
    mended = store.verify(repair=True)
    assert mended.sound, mended.public()
    assert {node.node_id: node.to_dict() for node in store.get_nodes()} == before
    assert store.verify().nodes == store.count() == 60
    store.close()


def test_a_mending_that_was_killed_is_done_again_and_loses_nothing(
    weaviate_server: WeaviateServer, collection_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had written the copy of a lost node, and not yet deleted the node."""
    store = open_store(weaviate_server, collection_name)
    publish(store, "doc", 1)
    engine, writer = store._parts.engine, store._parts.writer
    # Of two objects of one node, the second one met counts as the double: here the copy.
    stored = [f.uuid for f in engine.scan(["node_id"]) if f.node_id.startswith("doc")]
    victim = next(one for one in stored if uuid5(one, "mended") > one)
    delete_each, near = engine.delete_each, engine.near

    def killed_before(uuids: Sequence[UUID]) -> None:
        if victim in uuids:
            raise KeyboardInterrupt
        delete_each(uuids)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "delete_each", killed_before)
        with pytest.raises(KeyboardInterrupt):
            writer.mend([victim])
    with monkeypatch.context() as patch:
        patch.setattr(engine, "near", lambda *of: [hit for hit in near(*of) if hit.uuid != victim])
        assert {finding.fault for finding in store.verify(repair=True).found} == {"unfindable", "doubled"}
    assert versions(store, "doc") == {1: 60}
    assert store.verify().sound
    store.close()
