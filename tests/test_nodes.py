"""Evidence and nodes: valid, deterministic, and unchanged by LlamaIndex's (de)serialisers."""

from pathlib import Path

import pytest
from llama_index.core.schema import BaseNode, ImageNode, MetadataMode, TextNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict
from pydantic import ValidationError

from sensorium.loaders.base import Fault, NodeMaker, SourceFile
from sensorium.nodes import KINDS, Box, Evidence, content_digest, embedding_text, source_id, with_text

FILE = SourceFile(Path("/docs/a.pdf"), "/docs", "a.pdf", "ab" * 32, "application/pdf")


def maker() -> NodeMaker:
    return NodeMaker(FILE, title="Report")


def test_public_evidence_has_every_key_of_the_interface() -> None:
    node = maker().text("table", "| a |", page=3, bbox=(0.1, 0.2, 0.9, 0.4))
    assert Evidence.of(node).public() == {
        "source": "a.pdf", "media_type": "application/pdf", "kind": "table", "page": 3, "slide": None,
        "bbox": [0.1, 0.2, 0.9, 0.4], "start_s": None, "end_s": None,
    }  # fmt: skip


@pytest.mark.parametrize("bbox", [(0.5, 0.0, 0.4, 1.0), (0.0, 0.0, 1.2, 1.0), (0.1, 0.1, 0.1, 0.2)])
def test_boxes_outside_the_page_or_empty_are_refused(bbox: Box) -> None:
    with pytest.raises(ValidationError, match="bbox"):
        maker().text("text", "x", bbox=bbox)


def test_time_spans_run_forward() -> None:
    with pytest.raises(ValidationError, match="before"):
        maker().text("speech", "x", start_s=5, end_s=4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_survives_llama_index(kind: str) -> None:
    make = maker()
    plain: BaseNode = make.text(kind, "words", section="A > B", caption="Table 1", page=2, bbox=(0, 0, 0.5, 0.5))  # type: ignore[arg-type]
    picture = make.picture(kind, "", image_path="/data/x.png", asset="x.png", slide=1)  # type: ignore[arg-type]
    for node, cls in ((plain, TextNode), (picture, ImageNode)):
        assert cls.from_json(node.to_json()) == node
        stored = node_to_metadata_dict(node, remove_text=False, flat_metadata=False)
        assert metadata_dict_to_node(stored).to_dict() == node.to_dict()
        assert Evidence.of(node).kind == kind


def test_same_content_and_place_give_the_same_id() -> None:
    first, again = (maker().text("text", "x", page=1) for _ in range(2))
    assert first.node_id == again.node_id
    make = maker()
    assert make.text("text", "x", page=1).node_id != make.text("text", "x", page=1).node_id  # another order


def test_same_file_in_two_folders_is_two_sources() -> None:
    assert source_id("/a", "x.pdf") != source_id("/b", "x.pdf")


def test_embedding_text_is_what_llama_index_embeds() -> None:
    node = maker().text("text", "Body.", section="A > B", page=4, page_label="iv")
    assert embedding_text(node) == "Report\nA > B\nBody." == node.get_content(MetadataMode.EMBED)


def test_with_text_keeps_everything_but_text_and_place() -> None:
    node = maker().text("text", "One. Two.", section="S", page=1, bbox=(0, 0, 1, 1), page_label="i")
    part = with_text(node, "Two.", Evidence.of(node).model_copy(update={"bbox": (0.0, 0.5, 1.0, 1.0)}), order=7)
    assert (part.text, part.metadata["order"], part.metadata["page_label"]) == ("Two.", 7, "i")
    assert part.metadata["bbox"] == [0.0, 0.5, 1.0, 1.0]
    assert part.node_id != node.node_id
    assert part.ref_doc_id == node.ref_doc_id


def test_faults_name_their_place() -> None:
    assert str(Fault("no text layer", "page 3")) == "page 3: no text layer"


def test_digest_tells_parts_apart() -> None:
    assert content_digest("ab", "c") != content_digest("a", "bc")
