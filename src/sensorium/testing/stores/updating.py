"""Adding, replacing and deleting outside of staged updates, and opening again."""

import asyncio

import numpy as np
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import FilterCondition, MetadataFilters, VectorStoreQuery

from sensorium.errors import SpaceError, StoreError
from sensorium.stores.base import Space
from sensorium.testing.embedding import FakeEmbedding
from sensorium.testing.stores.case import (
    DIMENSION,
    MODE,
    TEXT,
    StoreCase,
    add,
    dense,
    group,
    ids,
    keyword,
    node,
    only,
    plain,
    publish,
    raises,
    random_vectors,
    stored,
    unit,
)


class UpdateTests(StoreCase):
    """Adding, replacing and deleting outside of staged updates, and opening again."""

    def test_add_replaces_nodes_of_the_same_id(self) -> None:
        """Text, vector, metadata and statistics are the new ones."""
        store = self.store()
        store.add([plain("a", "saltwater", color="red"), plain("b", "river")], vectors={"text": [unit(1), unit(0, 1)]})
        assert store.add([plain("a", "mountain", color="blue")], vectors={"text": [unit(0, 0, 1)]}) == ["a"]
        assert store.count() == 2
        assert keyword(store, "saltwater") == []
        assert keyword(store, "mountain") == ["a"]
        assert dense(store, unit(0, 0, 1), 1) == [("a", 1.0)]
        assert store.document_frequency(["saltwat", "mountain"]) == {"saltwat": 0, "mountain": 1}
        assert ids(store.get_nodes(filters=only("color", "blue"))) == ["a"]
        assert store.get_nodes(filters=only("color", "red")) == []

    def test_replacing_drops_vectors_that_are_not_given(self) -> None:
        """A node has the vectors of its last version only."""
        store = self.store()
        store.add([plain("a")], vectors={"text": [unit(1)]})
        store.add([plain("a")])
        assert store.vectors(["a"], "text") == {}
        assert dense(store, unit(1)) == []

    def test_last_of_equal_ids_in_a_batch_stays(self) -> None:
        """One node is stored."""
        store = self.store()
        store.add([plain("a", "first"), plain("a", "second")], vectors={"text": [unit(1), unit(0, 1)]})
        assert store.count() == 1
        assert keyword(store, "second") == ["a"]
        assert keyword(store, "first") == []
        assert np.allclose(store.vectors(["a"], "text")["a"], unit(0, 1))

    def test_adding_nothing(self) -> None:
        """An empty list is no error."""
        store = self.store()
        assert store.add([]) == []
        assert store.count() == 0

    def test_delete_takes_exactly_one_source(self) -> None:
        """Sources with similar names, stop words as names and nodes without a source stay."""
        docs = ["report-1.pdf", "1-report-final.pdf", "report-1", "REPORT-1.PDF", "the", "report", " report-1.pdf "]
        store = self.store()
        nodes = [plain(f"n{i}", "word", doc=doc) for i, doc in enumerate(docs)]
        add(store, [*nodes, TextNode(id_="free", text="word")])
        store.delete("report-1.pdf")
        left = [*(f"n{i}" for i in range(1, len(docs)))]
        assert ids(store.get_nodes()) == ["free", *left]
        assert set(keyword(store, "word", 50)) == {"free", *left}
        assert {i for i, _ in dense(store, unit(1), 50)} == {"free", *left}
        store.delete("the")
        store.delete("nosuch")
        assert store.count() == len(left)

    def test_delete_nodes_by_id_and_filter(self) -> None:
        """Both restrict; unknown ids do no harm."""
        store = self.store()
        add(store, [plain(f"n{i}", even=i % 2 == 0) for i in range(6)])
        store.delete_nodes(["n0", "n1", "nosuch"], only("even", 1))
        assert ids(store.get_nodes()) == ["n1", "n2", "n3", "n4", "n5"]
        store.delete_nodes(["n1"])
        store.delete_nodes(filters=only("even", 1))
        assert ids(store.get_nodes()) == ["n3", "n5"]
        assert {i for i, _ in dense(store, unit(1))} == {"n3", "n5"}

    def test_delete_nodes_never_wipes_by_accident(self) -> None:
        """No arguments and filters without conditions are errors; an empty list deletes nothing."""
        store = self.store()
        add(store, [plain("a"), plain("b")])
        with raises(StoreError, "clear"):
            store.delete_nodes()
        with raises(StoreError, "clear"):
            store.delete_nodes(filters=MetadataFilters(filters=[]))
        with raises(StoreError, "clear"):
            store.delete_nodes(filters=group(FilterCondition.AND, group(FilterCondition.OR)))
        store.delete_nodes([])
        store.delete_nodes([], only("x", 1))
        assert store.count() == 2

    def test_get_nodes(self) -> None:
        """By id and filter, in order of id; an empty list gives nothing."""
        store = self.store()
        add(store, [plain(i, even=int(i) % 2 == 0) for i in ("3", "1", "2", "10")])
        assert ids(store.get_nodes()) == ["1", "10", "2", "3"]
        assert ids(store.get_nodes(["3", "2", "nosuch"])) == ["2", "3"]
        assert ids(store.get_nodes(["3", "2"], only("even", 1))) == ["2"]
        assert store.get_nodes([]) == []

    def test_clear_empties_everything(self) -> None:
        """Also the ledger; the store can be used at once, and with another embedder when opened again."""
        store = self.store()
        publish(store, "doc", [node("saltwater", 0)])
        store.clear()
        assert store.count() == 0
        assert list(store.sources()) == []
        assert keyword(store, "saltwater") == []
        assert dense(store, unit(1)) == []
        assert store.document_frequency(["saltwat"]) == {"saltwat": 0}
        add(store, [plain("a")])
        assert store.count() == 1
        store.clear()
        store = self.reopen(store, Space("text", 3, "fake-2"))
        store.add([plain("a")], vectors={"text": [[0, 0, 1]]})
        assert dense(store, [0, 0, 1]) == [("a", 1.0)]

    def test_everything_is_there_after_opening_again(self) -> None:
        """Nodes, vectors, full text and ledger."""
        store = self.store()
        record = publish(store, "doc", [node("saltwater ducks", 0), node("river", 1)])
        before = dense(store, unit(1, 1))
        store = self.reopen(store)
        assert dense(store, unit(1, 1)) == before
        assert len(keyword(store, "saltwater")) == 1
        assert list(store.sources()) == [record]

    def test_changed_embedder_is_refused(self) -> None:
        """While nodes are stored, with a hint how to index again; the data stay as they are."""
        store = self.store()
        add(store, [plain("a")])
        for spaces, word in (
            ((Space("text", 8, "fake-2"),), "fake-2"),
            ((Space("text", 4, "fake-1"),), "dimension"),
            ((Space("text", 8, "fake-1", distance="dot"),), "dot"),
            ((Space("text", 8, "fake-1", multi=True),), "multi"),
        ):
            store.close()
            with raises(SpaceError, word, "index again"):
                self.reopen_store(store, spaces)
        assert self.reopen(store, TEXT).count() == 1

    def test_a_space_that_is_added_later(self) -> None:
        """It is no search space before the nodes from before have been stored again; the others go on working."""
        visual, kept = Space("visual", 2, "r"), Space("kept", 4, "r", multi=True, searchable=False)
        store = self.store()
        publish(store, "doc", [node("saltwater", 0)])
        store = self.reopen(store, TEXT, visual, kept)
        assert store.incomplete == {"visual", "kept"}
        hit = dense(store, unit(1))[0][0]
        assert keyword(store, "saltwater") == [hit]
        for mode in (MODE.DEFAULT, MODE.HYBRID, MODE.MMR):
            query = VectorStoreQuery(query_embedding=[1, 0], query_str="x", embedding_field="visual", mode=mode)
            with raises(SpaceError, "'visual'", "sensorium index /root"):
                store.search(query)
            with raises(SpaceError, "'visual'"):
                store.query(query)
        assert len([w for w in store.status()["warnings"] if "sensorium index /root" in w]) == 2
        again = node("river", 0)
        with store.stage("doc") as stage:
            flat, kept_vector = np.array([[1, 0]], np.float32), np.ones((1, 4), np.float32)
            stage.add([again], {"text": random_vectors(1), "visual": flat, "kept": [kept_vector]})
            stage.publish(stored("doc", {"text": 1}))
        store = self.reopen(store)
        assert store.incomplete == {"visual", "kept"}
        store.completed()
        assert dense(store, [1, 0], embedding_field="visual") == [(again.node_id, 1.0)]
        store = self.reopen(store)
        assert store.incomplete == frozenset()
        assert dense(store, [1, 0], embedding_field="visual") == [(again.node_id, 1.0)]
        assert len(store.vectors([again.node_id], "kept")) == 1
        assert store.verify().sound

    def test_space_left_out_for_a_while_is_incomplete_later(self) -> None:
        """Once nodes were added without it; it may be left out as long as nothing is added."""
        visual = Space("visual", 2, "r")
        store = self.store(TEXT, visual)
        store.add([plain("a")], vectors={"text": [unit(1)], "visual": [[1, 0]]})
        store = self.reopen(store, TEXT)
        store = self.reopen(store, TEXT, visual)
        assert dense(store, [1, 0], embedding_field="visual") == [("a", 1.0)]
        store = self.reopen(store, TEXT)
        store.add([plain("b")], vectors={"text": [unit(1)]})
        store = self.reopen(store, TEXT, visual)
        with raises(SpaceError, "visual", "index"):
            dense(store, [1, 0], embedding_field="visual")

    def test_siblings(self) -> None:
        """Nodes of one source by their place in it."""
        store = self.store()
        nodes = [node(f"part {i}", i) for i in range(6)]
        add(store, [*reversed(nodes), node("elsewhere", 2, doc="other")])
        assert store.siblings("doc", 2, 4) == nodes[2:5]
        assert store.siblings("doc", -3, 0) == nodes[:1]
        assert store.siblings("doc", 9, 12) == []
        assert store.siblings("nosuch", 0, 9) == []

    def test_async_does_the_same(self) -> None:
        """Every asynchronous method of LlamaIndex's interface."""
        store = self.store()
        nodes = [plain("a", "saltwater"), plain("b", "river", doc="other")]
        query = VectorStoreQuery(query_embedding=unit(1), similarity_top_k=2)

        async def run() -> None:
            assert await store.async_add(nodes, vectors={"text": [unit(1), unit(0, 1)]}) == ["a", "b"]
            found = await store.aquery(query)
            assert (found.ids, found.similarities) == (["a", "b"], store.query(query).similarities)
            assert await store.aget_nodes(["b"]) == store.get_nodes(["b"]) == [nodes[1]]
            await store.adelete("other")
            assert store.count() == 1
            await store.adelete_nodes(["a"])
            assert store.count() == 0
            await store.async_add(nodes)
            await store.aclear()
            assert store.count() == 0

        asyncio.run(run())

    def test_llama_index_runs_on_it(self) -> None:
        """`VectorStoreIndex` inserts, retrieves and deletes through the store."""
        store = self.store()
        embedder = FakeEmbedding(dimension=DIMENSION)
        index = VectorStoreIndex.from_vector_store(store, embed_model=embedder)
        nodes = [plain("a", "saltwater ducks"), plain("b", "mountain goats", doc="other")]
        index.insert_nodes(nodes)
        retriever = index.as_retriever(similarity_top_k=1)
        (hit,) = retriever.retrieve("mountain goats")
        assert hit.node == nodes[1]
        assert hit.score is not None
        assert abs(hit.score - 1.0) < 1e-5
        index.delete_ref_doc("other")
        assert [h.node_id for h in retriever.retrieve("mountain goats")] == ["a"]

    def test_closed_store_says_so(self) -> None:
        """Closing twice is harmless."""
        store = self.store()
        store.close()
        store.close()
        with raises(StoreError, "closed"):
            store.count()
