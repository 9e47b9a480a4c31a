"""Nodes and vectors come back as they went in."""

import json
from pathlib import Path

import numpy as np
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from sensorium.errors import PartialWriteError, SpaceError, StoreError
from sensorium.nodes import KINDS, Evidence, NodeInfo, picture_node
from sensorium.stores.base import Space
from sensorium.testing.stores.case import TEXT, StoreCase, add, ids, node, plain, raises, random_vectors, unit


class RoundTripTests(StoreCase):
    """Nodes and vectors come back as they went in."""

    def test_every_kind_survives_store_json_llama_index_store(self) -> None:
        """Store, JSON, LlamaIndex's own converters and another store keep all kinds of nodes whole."""
        nodes = every_node()
        first, second = self.store(), self.store()
        add(first, nodes)
        fetched = self.reopen(first).fetch(ids(nodes))
        assert fetched == nodes
        again = [through_core(n) for n in fetched]
        add(second, again)
        assert second.fetch(ids(nodes)) == nodes

    def test_other_node_classes_come_back_as_themselves(self) -> None:
        """Also those that core's own converters turn into text nodes."""
        document = Document(id_="d", text="whole text", metadata={"a": 1})
        store = self.store()
        store.add([document])
        (back,) = store.fetch(["d"])
        assert type(back) is Document
        assert back == document

    def test_embedding_is_left_out_and_searchable(self) -> None:
        """A node's `embedding` goes to the space "text" and does not come back with the node."""
        store = self.store()
        store.add([TextNode(id_="a", text="x", embedding=unit(1)), TextNode(id_="b", text="y", embedding=unit(0, 1))])
        assert store.fetch(["a"])[0].embedding is None
        assert np.allclose(store.vectors(["a"], "text")["a"], unit(1))

    def test_fetch_keeps_order_and_leaves_out_unknown_ids(self) -> None:
        """Nodes come in the order of the ids."""
        store = self.store()
        add(store, [plain("a"), plain("b"), plain("c")])
        assert ids(store.fetch(["c", "nosuch", "a"])) == ["c", "a"]
        assert store.fetch([]) == []

    def test_nodes_without_vectors_are_stored(self) -> None:
        """They are found by keyword."""
        store = self.store()
        store.add([plain("a", "saltwater")])
        assert store.vectors(["a"], "text") == {}
        assert ids(store.get_nodes()) == ["a"]

    def test_media_as_bytes_are_refused(self) -> None:
        """Core would drop them without a word; nothing of the batch is stored."""
        picture = Node(id_="b", image_resource=MediaResource(data=b"\x89PNG"))
        store = self.store()
        with raises(PartialWriteError, "media are files", "b"):
            store.add([plain("a"), picture])
        with raises(PartialWriteError, "media are files"):
            store.add([ImageNode(id_="c", image="aGVsbG8=")])
        assert store.count() == 0

    def test_foreign_classes_are_refused(self) -> None:
        """They could not come back as themselves."""

        class Special(TextNode):
            pass

        store = self.store()
        with raises(PartialWriteError, "Special"):
            store.add([Special(id_="a", text="x")])
        assert store.count() == 0

    def test_metadata_that_is_no_json_is_refused(self) -> None:
        """Numbers that are not finite would become null."""
        store = self.store()
        with raises(PartialWriteError, "a"):
            store.add([plain("a", score=float("nan")), plain("b")])
        assert store.count() == 0

    def test_vectors_come_back_by_space(self) -> None:
        """Normalised in cosine spaces, as given in dot spaces, several in multi-vector spaces."""
        spaces = (TEXT, Space("dots", 4, "r", distance="dot"), Space("late", 4, "r", multi=True))
        store = self.store(*spaces)
        text, dots = random_vectors(2), random_vectors(2, 1, 4)
        late = [random_vectors(3, 2, 4), None]
        store.add([plain("a"), plain("b")], vectors={"text": list(text), "dots": list(dots), "late": late})
        store = self.reopen(store)
        expected = text / np.linalg.norm(text, axis=1, keepdims=True)
        assert np.allclose(store.vectors(["a", "b"], "text")["b"], expected[1], atol=1e-6)
        assert np.array_equal(store.vectors(["b"], "dots")["b"], dots[1])
        found = store.vectors(["a", "b"], "late")
        assert set(found) == {"a"}
        assert found["a"].shape == (3, 4)
        assert np.allclose(np.linalg.norm(found["a"], axis=1), 1.0, atol=1e-6)

    def test_kept_vectors_are_nearly_as_given(self) -> None:
        """Spaces that are not searchable may be kept in 8 bits a component; zero vectors stay zero."""
        store = self.store(TEXT, Space("sentences", 16, "r", multi=True, searchable=False))
        given = random_vectors(5, 3, 16)
        given /= np.linalg.norm(given, axis=1, keepdims=True)
        given[4] = 0.0
        store.add([plain("a")], vectors={"text": [unit(1)], "sentences": [given]})
        found = store.vectors(["a"], "sentences")["a"]
        assert found.shape == (5, 16)
        assert np.abs(found - given).max() < 0.005
        assert not found[4].any()

    def test_unusable_vectors_are_refused_before_anything_is_written(self) -> None:
        """Not finite, of another dimension, in an unknown space, or not one a node."""
        store = self.store()
        bad = unit(1)
        bad[3] = float("nan")
        for vector in (bad, [float("inf"), *unit(1)[1:]]):
            with raises(PartialWriteError, "b", "finite"):
                store.add([plain("a"), plain("b")], vectors={"text": [unit(1), vector]})
        with raises(SpaceError, "shape"):
            store.add([plain("a"), plain("b")], vectors={"text": [unit(1), [1.0, 0.0]]})
        with raises(SpaceError, "nosuch"):
            store.add([plain("a")], vectors={"nosuch": [unit(1)]})
        with raises(StoreError, "2 vectors", "1 nodes"):
            store.add([plain("a")], vectors={"text": [unit(1), unit(1)]})
        assert store.count() == 0

    def test_refusal_names_every_node_of_the_batch(self) -> None:
        """The caller can tell that nothing was stored."""
        store = self.store()
        with raises(PartialWriteError, "2 of 2", "b") as caught:
            store.add([plain("a"), plain("b", x=float("inf"))])
        error = caught[0]
        assert isinstance(error, PartialWriteError)
        assert error.stored == ()
        assert list(error.failed) == ["b", "a"]

    def test_iter_nodes_streams_everything_in_order(self) -> None:
        """Every node once, by id, with its vectors."""
        store = self.store()
        nodes = [plain(f"n{i:02d}") for i in range(23)]
        vectors = add(store, nodes)
        store.add([plain("n99")])
        seen = list(store.iter_nodes(batch=5))
        assert [n.node_id for n, _ in seen] == [*ids(nodes), "n99"]
        assert seen[-1][1] == {}
        direction = vectors[7] / np.linalg.norm(vectors[7])
        assert np.allclose(seen[7][1]["text"], direction, atol=1e-6)


def every_node() -> list[BaseNode]:
    """One node of each kind that Sensorium makes, and of LlamaIndex's classes."""
    texts = [
        node(f"Text of kind {kind}\nwith ümlauts, 文字 and \x00 \\ \" '", i, kind=kind) for i, kind in enumerate(KINDS)
    ]
    evidence = Evidence(
        source="a b/ü.png", sha256="c" * 64, media_type="image/png", kind="figure", page=2, bbox=(0.1, 0.2, 0.5, 0.75)
    )
    info = NodeInfo("doc", "/root", 50, "Title", "A > B", "Figure 1", extra=(("score", 0.25), ("hidden", True)))
    pictures = [
        picture_node("text in it", evidence, info, "/root/ü.png"),
        picture_node("", evidence, info, "assets/x.png", asset="x.png"),
    ]
    media = [media_node(name) for name in ("image", "audio", "video")]
    related = {
        NodeRelationship.NEXT: RelatedNodeInfo(node_id="n"),
        NodeRelationship.CHILD: [RelatedNodeInfo(node_id="c")],
    }
    foreign = [
        TextNode(id_="plain"),
        TextNode(id_="odd id / ü", text="x", relationships=related, start_char_idx=3, end_char_idx=4),
        ImageNode(id_="url", image_url="https://example.org/a.png", metadata={"a.b": [1.5, "x"], "text": "y"}),
        IndexNode(id_="index", text="points", index_id="other"),
    ]
    return [*texts, *pictures, *media, *foreign]


def media_node(name: str) -> Node:
    """LlamaIndex's node for several media, with a file and its text."""
    made = Node(id_=f"media-{name}", text_resource=MediaResource(text=f"about the {name}"))
    made.relationships = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc", metadata={"k": "v"}, hash="h")}
    made.metadata = {"kind": "scene", "start_s": 1.5, "nested": {"list": [1, {"a": None}]}, "none": None}
    setattr(made, f"{name}_resource", MediaResource(path=Path(f"/root/x.{name}"), mimetype=f"{name}/x"))
    return made


def through_core(node: BaseNode) -> BaseNode:
    """A node through core's JSON converters and its own."""
    metadata = json.loads(json.dumps(node_to_metadata_dict(node, flat_metadata=False)))
    converted = metadata_dict_to_node(metadata)
    return type(converted).from_dict(json.loads(converted.to_json()))
