"""A transformer encoder as one small ONNX graph of fused, dynamically quantised operators.

Exported encoders have hundreds of nodes and multiply in float; the same weights in ONNX Runtime's fused operators
(QAttention, DynamicQuantizeMatMul, BiasGelu, SkipLayerNormalization) run two to three times as fast on a CPU.
Matrices are int8 with one scale an output channel; activations are quantised to uint8 as they come. The graph
takes one text at a time, which is the fastest on a CPU, and therefore needs neither padding nor a mask.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sensorium.models._weights import Embeddings, Layer, Quantised
from sensorium.models.base import Matrix

MICROSOFT = "com.microsoft"
HIDDEN_STATES = "states"


def encoder_model(embeddings: Embeddings, layers: Iterable[Layer], heads: int, epsilon: float) -> bytes:
    """Serialise an encoder.

    Its input is `ids`, int64 (1, s), or without a word table `vectors`, float32 (1, s, d); its output are the token
    states, float32 (1, s, d). The same weights always give the same bytes.
    """
    graph = _Graph(epsilon)
    width = embeddings.positions.shape[1]
    state = graph.embed(embeddings)
    for layer in layers:
        state = graph.layer(state, layer, heads)
    graph.add("Identity", [state], HIDDEN_STATES)
    if embeddings.words is None:
        given = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, [1, "s", width])
    else:
        given = helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "s"])
    made = helper.make_tensor_value_info(HIDDEN_STATES, TensorProto.FLOAT, [1, "s", width])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "encoder", [given], [made], graph.constants),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)],
        ir_version=8,
        producer_name="sensorium",
    )
    data: bytes = model.SerializeToString(deterministic=True)
    return data


class _Graph:
    """Collects the nodes and constants; each method adds one block and returns the name of its output."""

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str = "", domain: str = "", **options: Any) -> str:
        name = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], domain=domain, **options))
        return name

    def embed(self, embeddings: Embeddings) -> str:
        words = self._words(*embeddings.words) if embeddings.words else "vectors"
        length = self.add("Shape", [words], start=1, end=2)
        zero = self.constant(np.array([0], np.int64))
        positions = self.add("Slice", [self.constant(embeddings.positions), zero, length, zero])
        return self._norm(self.add("Add", [words, positions]), embeddings.norm)

    def _words(self, table: NDArray[np.int8], scale: Matrix) -> str:
        rows = self.add("Gather", [self.constant(table), "ids"])
        scales = self.add("Gather", [self.constant(scale), "ids"])
        return self.add("Mul", [self.add("Cast", [rows], to=TensorProto.FLOAT), scales])

    def _norm(self, state: str, norm: tuple[Matrix, Matrix]) -> str:
        inputs = [state, *map(self.constant, norm)]
        return self.add("LayerNormalization", inputs, axis=-1, epsilon=self.epsilon)

    def layer(self, state: str, layer: Layer, heads: int) -> str:
        attended = self._attention(state, layer, heads)
        projected = self._multiply(attended, layer.output)
        middle = self._skip_norm(projected, state, layer.norm, layer.output_bias)
        inner = self._multiply(middle, layer.up)
        active = self.add("BiasGelu", [inner, self.constant(layer.up_bias)], domain=MICROSOFT)
        return self._skip_norm(self._multiply(active, layer.down), middle, layer.final_norm, layer.down_bias)

    def _attention(self, state: str, layer: Layer, heads: int) -> str:
        at = len(self.nodes)
        quantised, scale, zero = f"q{at}", f"q{at}_scale", f"q{at}_zero"
        self.nodes.append(helper.make_node("DynamicQuantizeLinear", [state], [quantised, scale, zero]))
        weight, bias = self.constant(layer.attention.values), self.constant(layer.attention_bias)
        weight_scale = self.constant(layer.attention.scale)
        weight_zero = self.constant(np.zeros(len(layer.attention.scale), np.int8))
        inputs = [quantised, weight, bias, scale, weight_scale, "", zero, weight_zero]
        return self.add("QAttention", inputs, domain=MICROSOFT, num_heads=heads)

    def _multiply(self, state: str, matrix: Quantised) -> str:
        inputs = [state, self.constant(matrix.values), self.constant(matrix.scale)]
        return self.add("DynamicQuantizeMatMul", inputs, domain=MICROSOFT)

    def _skip_norm(self, new: str, old: str, norm: tuple[Matrix, Matrix], bias: Matrix) -> str:
        inputs = [new, old, *map(self.constant, norm), self.constant(bias)]
        return self.add("SkipLayerNormalization", inputs, domain=MICROSOFT, epsilon=self.epsilon)
