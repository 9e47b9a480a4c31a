"""Cross-encoders of fastembed and flashrank, where they are installed, with a model made here: no download.

The model counts the words that passage and question share.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from sensorium.errors import ModelError, SensoriumError
from sensorium.pipelines import RERANKERS

WORDS = "[PAD] [UNK] [CLS] [SEP] how much paraffin does the lamp burn it burns two litres a red door mail".split()
PASSAGES = ["a red door", "mail", "the lamp burns paraffin"]
QUESTION = "how much paraffin does the lamp burn"
MODELS = {"fastembed": "Xenova/ms-marco-MiniLM-L-6-v2", "flashrank": "ms-marco-TinyBERT-L-2-v2"}


def network() -> bytes:
    """Logits (n, 1): pairs of equal words, one of the first text and one of the second."""
    from onnx import TensorProto, helper

    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Unsqueeze", ["input_ids", "two"], ["down"]),
            node("Unsqueeze", ["input_ids", "one"], ["across"]),
            node("Equal", ["down", "across"], ["same"]),
            node("Cast", ["same"], ["same_f"], to=TensorProto.FLOAT),
            node("Cast", ["token_type_ids"], ["second"], to=TensorProto.FLOAT),
            node("Cast", ["attention_mask"], ["real"], to=TensorProto.FLOAT),
            node("Sub", ["real", "second"], ["first"]),
            node("Unsqueeze", ["first", "two"], ["first_d"]),
            node("Unsqueeze", ["second", "one"], ["second_a"]),
            node("Mul", ["same_f", "first_d"], ["half"]),
            node("Mul", ["half", "second_a"], ["pairs"]),
            node("ReduceSum", ["pairs", "axes"], ["sum"], keepdims=0),
            node("Unsqueeze", ["sum", "one"], ["logits"]),
        ],
        "overlap",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "t"])
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1])],
        [
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
            helper.make_tensor("two", TensorProto.INT64, [1], [2]),
            helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def write_model(folder: Path, files: list[str]) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder.mkdir(parents=True)
    vocabulary = {word: at for at, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]"}
    (folder / "config.json").write_text(json.dumps({"pad_token_id": 0}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 64, "pad_token": "[PAD]", **special}))
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    for file in files:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(network())


def options(name: str, folder: Path) -> dict[str, Any]:
    if name == "fastembed":
        write_model(folder / "model", ["onnx/model.onnx"])
        return {"model": MODELS[name], "path": str(folder / "model")}
    write_model(folder / MODELS[name], ["flashrank-TinyBERT-L-2-v2.onnx"])
    return {"model": MODELS[name], "path": str(folder)}


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


def nodes() -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(id_=str(at), text=text), score=1 - at / 10) for at, text in enumerate(PASSAGES)]


async def test_passages_are_read_together_with_the_question(name: str, tmp_path: Path) -> None:
    made = RERANKERS.create(name, options(name, tmp_path))
    done = made.rank(nodes(), QUESTION)
    assert [n.node.node_id for n in done.nodes] == ["2", "0", "1"]
    assert done.trace["reranker"] == name
    scores = [n.score for n in done.nodes]
    assert scores == sorted(scores, reverse=True)
    assert np.isfinite(scores).all()
    again = await made.apostprocess_nodes(nodes(), QueryBundle(QUESTION))
    assert [n.node.node_id for n in again] == ["2", "0", "1"]


def test_hits_behind_those_read_keep_their_places(name: str, tmp_path: Path) -> None:
    made = RERANKERS.create(name, {**options(name, tmp_path), "hits": 2})
    assert [n.node.node_id for n in made.rank(nodes(), "mail").nodes] == ["1", "0", "2"]


def test_a_folder_without_the_files_is_named(name: str, tmp_path: Path) -> None:
    wrong = {"model": MODELS[name], "path": str(tmp_path)}
    (tmp_path / MODELS[name]).mkdir(parents=True, exist_ok=True)
    with pytest.raises(ModelError, match="name the folder"):
        RERANKERS.create(name, wrong).rank(nodes(), QUESTION)
    with pytest.raises(SensoriumError):
        RERANKERS.create(name, {"model": "no-such-model"}).rank(nodes(), QUESTION)
