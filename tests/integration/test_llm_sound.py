"""Sound to models that take it: what goes over the wire, within the budget, and what is said where none goes."""

import math
import struct
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.knowledge_base import KnowledgeBase
from sensorium.models import TEXT_EMBEDDERS
from sensorium.nodes import Evidence, NodeInfo, source_id, text_node
from sensorium.testing.llm_server import ChatServer, Fail

pytestmark = pytest.mark.integration

WORDS = {0: "The lamp of the tower is lit at dusk.", 20: "The lamp burns paraffin.", 40: "The lamp has a red shade."}
QUESTION = "What does the lamp of the tower burn?"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of tones (a different one every 20 s) with speech nodes, as a transcription would make them."""
    import hashlib

    root = tmp_path_factory.mktemp("recordings")
    with wave.open(str(root / "talk.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16000)
        for tone in (400, 800, 1200):
            samples = (int(9000 * math.sin(2 * math.pi * tone * i / 16000)) for i in range(20 * 16000))
            sound.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    digest = hashlib.sha256((root / "talk.wav").read_bytes()).hexdigest()
    doc = source_id(str(root), "talk.wav")
    data = tmp_path_factory.mktemp("data")
    with sensorium.open(data=data) as kb:
        nodes = [
            text_node(text, Evidence(source="talk.wav", sha256=digest, media_type="audio/wav", kind="speech",
                                     start_s=start, end_s=start + 20), NodeInfo(doc, str(root), order))
            for order, (start, text) in enumerate(WORDS.items())
        ]  # fmt: skip
        embedder = TEXT_EMBEDDERS.create("minilm")
        vectors = list(np.array(embedder.get_text_embedding_batch(list(WORDS.values())), np.float32))
        kb.store.add(nodes, vectors={"text": vectors})
    return data


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture
def ask(data: Path, server: ChatServer) -> Iterator[Any]:
    opened: list[KnowledgeBase] = []

    def make(llm: Any = None, **options: Any) -> KnowledgeBase:
        llm = llm or server.llm(model="gpt-4o-audio-preview")
        synthesize = {"multimodal": {"llm": llm, "pictures": "off", **options}}
        opened.append(sensorium.open({"data": str(data), "pipelines": {"default": {"synthesize": synthesize}}}))
        return opened[-1]

    yield make
    for kb in opened:
        kb.close()


def tone(data: bytes) -> float:
    """The loudest frequency of a WAV file."""
    import io

    with wave.open(io.BytesIO(data)) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).astype(float)
        return float(np.argmax(np.abs(np.fft.rfft(samples))) * sound.getframerate() / len(samples))


def test_a_model_that_hears_gets_the_clips_behind_their_words(ask: Any, server: ChatServer) -> None:
    answer = ask().ask(QUESTION)
    (request,) = server.requests
    assert len(request.sounds) == len(request.sources) == len(answer.hits)
    parts = request.parts
    for at, part in enumerate(parts):
        if not isinstance(part, str):
            number = int(str(parts[at - 1]).rpartition("Sound of [")[2].partition("]")[0])
            start = answer.hits[number - 1].evidence.start_s
            assert tone(request.sounds[number - 1].data) == pytest.approx(400 + start * 20, rel=0.02)
    assert {sound.format for sound in request.sounds} == {"wav"}
    assert all(sound.seconds == pytest.approx(20, abs=0.3) for sound in request.sounds)
    assert [s["source"] for s in answer.trace["prompt"]["sounds"]] == [1, 2, 3]
    assert answer.trace["llm"]["estimated_input_tokens"] > 600, "10 tokens a second"


def test_the_budget_cuts_the_last_clip(ask: Any, server: ChatServer) -> None:
    answer = ask(max_sound_s=30).ask(QUESTION)
    assert [round(sound.seconds) for sound in server.requests[0].sounds] == [20, 10]
    assert any("sound of 1 sources was left out" in note for note in answer.trace["prompt"]["notes"])


def test_a_model_that_does_not_gets_the_words_and_a_note(ask: Any, server: ChatServer) -> None:
    answer = ask(server.llm(model="gpt-5-mini")).ask(QUESTION)
    assert server.requests[0].sounds == []
    assert "The lamp burns paraffin." in server.requests[0].text
    assert any("gets no sound" in note for note in answer.trace["prompt"]["notes"])


def test_a_provider_that_refuses_sound_is_asked_again_without(ask: Any, server: ChatServer) -> None:
    server.script(Fail(400, "Invalid value: 'input_audio'. Supported values are: 'text' and 'image_url'."))
    answer = ask(server.llm(sound=True)).ask(QUESTION)
    first, second = server.requests
    assert len(first.sounds) == 3
    assert second.sounds == []
    assert any("takes no sound" in note for note in answer.trace["llm"]["notes"])


def test_a_recording_that_vanished_leaves_its_words(ask: Any, server: ChatServer, data: Path) -> None:
    kb = ask()
    hit = kb.search(QUESTION)[0]
    file = Path(hit.node.metadata["root"]) / "talk.wav"
    hidden = file.rename(file.with_suffix(".away"))
    try:
        for kept in (data / "drawn").glob("*"):
            kept.unlink()
        answer = kb.ask(QUESTION)
    finally:
        hidden.rename(file)
    assert server.requests[0].sounds == []
    assert any("no sound of talk.wav" in note for note in answer.trace["prompt"]["notes"])


def test_the_prompt_shows_sound_as_files(ask: Any, tmp_path: Path) -> None:
    shown = ask().request(QUESTION).shown(tmp_path)
    files = [part for part in shown["messages"][1]["parts"] if "seconds" in part]
    assert len(files) == 3
    for part in files:
        with wave.open(part["file"]) as sound:
            assert sound.getframerate() == 16000
