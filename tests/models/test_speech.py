"""Speech engines: what they hear, what they do not make up, and what they say when something is missing."""

import importlib.util
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.loaders.sounds import beeps, music

from sensorium.errors import ConfigError, LoadError, MissingExtraError, ModelError
from sensorium.models import SPEECH_ENGINES
from sensorium.models._speech.openai import OpenAISpeech
from sensorium.models._speech.sentences import ends_sentence, segments, texted
from sensorium.models.speech import Whisper
from sensorium.speech_types import SAMPLE_RATE, Sound, Word, loudness_db, pause
from sensorium.testing.speech_server import Refusal, SpeechServer, heard

SECOND = SAMPLE_RATE


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    return Whisper()


def noise(seconds: float, level: float) -> Sound:
    return np.random.default_rng(3).normal(0, level, int(seconds * SECOND)).astype(np.float32)


def spoken(corpus: Path, name: str) -> Sound:
    """A recording of the corpus, as engines take it."""
    from sensorium.loaders._media import sound
    from sensorium.loaders._media.probe import probe
    from sensorium.loaders.base import Limits

    path = corpus / name
    media = probe(path, Limits())
    assert media.sound is not None
    blocks = sound.blocks(path, media, media.sound.index, sound.Damage())
    return np.concatenate([block.sound for block in blocks])


@pytest.mark.integration
@pytest.mark.parametrize(
    "sound",
    [np.zeros(10 * SECOND, np.float32), noise(10, 1e-4), noise(10, 0.05), noise(10, 0.3), beeps(10), music(20)],
    ids=["silence", "recorder's noise", "noise", "loud noise", "tones", "music"],
)
def test_where_nobody_speaks_nothing_is_heard(whisper: Whisper, sound: Sound) -> None:
    assert whisper.transcribe(sound) == []


@pytest.mark.integration
def test_words_and_times_of_real_speech(whisper: Whisper, corpus: Path) -> None:
    said = spoken(corpus, "audio/dialog_a.mp3")[: 12 * SECOND]
    found = whisper.transcribe(said)
    text = " ".join(segment.text for segment in found)
    assert "My name is Maria Smith" in text
    words = [word for segment in found for word in segment.words]
    assert len(words) == len(text.split())
    assert all(0 <= a.start_s <= b.start_s <= 12 for a, b in itertools.pairwise(words))
    maria = next(word for word in words if word.text == "Maria")
    assert 7.0 < maria.start_s < 8.3
    assert all(segment.language == "en" and 0.3 < segment.score <= 1 for segment in found)


@pytest.mark.integration
def test_quiet_speech_is_heard(whisper: Whisper, corpus: Path) -> None:
    said = spoken(corpus, "audio/dialog_a.mp3")[: 12 * SECOND] * 0.01
    assert "Maria Smith" in " ".join(segment.text for segment in whisper.transcribe(said.astype(np.float32)))


@pytest.mark.integration
def test_speech_between_silence_has_its_own_times(whisper: Whisper, corpus: Path) -> None:
    said = spoken(corpus, "audio/dialog_a.mp3")[: 5 * SECOND]
    gap = np.zeros(20 * SECOND, np.float32)
    found = whisper.transcribe(np.concatenate([gap, said, gap]))
    assert 19.5 < found[0].start_s < 20.7
    assert found[-1].end_s < 25.6


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"'base' is not on this machine.*download: true"):
        Whisper("base").revision  # noqa: B018
    with pytest.raises(ModelError, match="no Whisper model 'enormous'"):
        Whisper("enormous").revision  # noqa: B018
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"has no tokenizer\.json"):
        Whisper(str(tmp_path)).revision  # noqa: B018
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be loaded"):
        Whisper(str(tmp_path)).transcribe(beeps(1))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sensorium\[speech\]'"):
        Whisper().revision  # noqa: B018


def test_an_english_model_refuses_other_languages() -> None:
    with pytest.raises(ModelError, match="does not know the language 'de'"):
        Whisper(language="de").transcribe(beeps(1))


def test_revisions_tell_settings_apart() -> None:
    assert Whisper().revision == Whisper(batch=1, threads=2).revision
    assert len({Whisper().revision, Whisper(beam=1).revision, Whisper(compute="float32").revision}) == 3
    assert OpenAISpeech().revision != OpenAISpeech(base_url="http://127.0.0.1/v1").revision


def test_engines_are_registered_with_their_options() -> None:
    assert SPEECH_ENGINES.names() == ["whisper", "openai", "off"]
    assert SPEECH_ENGINES.options("whisper").model_fields["beam"].default == 5
    assert "threads" not in SPEECH_ENGINES.options("whisper").model_fields


def test_sentences_end_where_they_end() -> None:
    said = "Mrs. Allen paid 3.5 dollars. Did she? Yes"
    words = [Word(text, n * 0.5, n * 0.5 + 0.4, 0.9) for n, text in enumerate(said.split())]
    assert [s.text for s in segments(words)] == ["Mrs. Allen paid 3.5 dollars.", "Did she?", "Yes"]
    late = [*words[:3], *(Word(w.text, w.start_s + 3, w.end_s + 3, w.score) for w in words[3:])]
    assert next(s.text for s in segments(late)) == "Mrs. Allen paid"
    assert ends_sentence('done."')
    assert not ends_sentence("Dr.")


def test_words_take_the_spelling_of_the_text() -> None:
    words = [Word(w, float(n), n + 1.0, 1) for n, w in enumerate(("hello", "doctor", "absent", "smith"))]
    assert [w.text for w in texted("Hello, Doctor Smith!", words)] == ["Hello,", "Doctor", "Smith!"]


def test_sound_is_cut_in_the_longest_pause() -> None:
    sound = noise(10, 0.2)
    sound[3 * SECOND : 3 * SECOND + 1600] = 0
    sound[6 * SECOND : 7 * SECOND] = 0
    assert pause(sound, 1, 9) == pytest.approx(6.5, abs=0.1)
    assert loudness_db(np.zeros(0, np.float32)) == -120
    assert loudness_db(noise(1, 0.1)) == pytest.approx(-20, abs=1.5)


def test_an_endpoint_gives_words_with_times() -> None:
    with SpeechServer() as server:
        server.script(heard("Good day, sir. I am Doe.", 0.5, 3.5))
        engine = OpenAISpeech(base_url=server.base, api_key="k-1", language="en", prompt="Doe")
        found = engine.transcribe(noise(5, 0.1))
        (request,) = server.requests
    assert [(s.text, s.start_s, s.end_s) for s in found] == [("Good day, sir.", 0.5, 2.0), ("I am Doe.", 2.0, 3.5)]
    assert [w.text for w in found[0].words] == ["Good", "day,", "sir."]
    assert request.headers["authorization"] == "Bearer k-1"
    assert (request.fields["model"], request.fields["prompt"]) == ("whisper-1", "Doe")
    assert request.fields["timestamp_granularities[]"] == "word,segment"
    assert request.seconds == pytest.approx(5)


def test_an_endpoint_without_word_times_gives_segments() -> None:
    with SpeechServer() as server:
        server.script(heard("Good day.", 0.5, 3.5, words=False))
        (found,) = OpenAISpeech(base_url=server.base).transcribe(noise(5, 0.1))
    assert (found.text, found.start_s, found.end_s, found.words) == ("Good day.", 0.5, 3.5, ())


def test_a_model_without_times_gets_pieces() -> None:
    with SpeechServer() as server:
        refusal = Refusal(400, "response_format 'verbose_json' is not compatible with model 'gpt-4o-transcribe'")
        server.script(refusal, {"text": "One."}, {"text": ""}, {"text": "Three."})
        found = OpenAISpeech("gpt-4o-transcribe", base_url=server.base).transcribe(noise(70, 0.1))
        lengths = [request.seconds for request in server.requests[1:]]
    assert [segment.text for segment in found] == ["One.", "Three."]
    assert sum(lengths) == pytest.approx(70)
    assert max(lengths) <= 30
    assert found[1].start_s == pytest.approx(lengths[0] + lengths[1])


@pytest.mark.parametrize("first", [Refusal(429, retry_after=0.01), Refusal(503, retry_after=0.01), b"<html>", b"[1]"])
def test_an_endpoint_is_asked_again(first: Any) -> None:
    with SpeechServer() as server:
        server.script(first, heard("Good day.", 0, 1))
        engine = OpenAISpeech(base_url=server.base, retries=1)
        assert [segment.text for segment in engine.transcribe(noise(2, 0.1))] == ["Good day."]


def test_an_endpoint_that_refuses_is_no_empty_recording() -> None:
    with SpeechServer() as server:
        server.always(Refusal(401, "bad key"))
        with pytest.raises(ModelError, match="status 401: bad key"):
            OpenAISpeech(base_url=server.base).transcribe(noise(2, 0.1))
        server.always(Refusal(413, "too large"))
        with pytest.raises(LoadError, match="too large"):
            OpenAISpeech(base_url=server.base).transcribe(noise(2, 0.1))
        server.always(Refusal(500, "down", retry_after=0))
        with pytest.raises(ModelError, match="failed 3 times: status 500: down"):
            OpenAISpeech(base_url=server.base, retries=2).transcribe(noise(2, 0.1))
    with pytest.raises(ModelError, match="failed 1 times"):
        OpenAISpeech(base_url=server.base, retries=0).transcribe(noise(2, 0.1))


def test_silence_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with SpeechServer() as server:
        assert OpenAISpeech(base_url=server.base).transcribe(np.zeros(SECOND, np.float32)) == []
        assert server.requests == []
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        OpenAISpeech().transcribe(noise(1, 0.1))


def test_what_a_server_made_up_is_left_out() -> None:
    answer = json.loads(json.dumps(heard("Thanks for watching.", 0, 1)))
    answer["segments"][0] |= {"no_speech_prob": 0.9, "avg_logprob": -0.9}
    with SpeechServer() as server:
        server.script(answer)
        assert OpenAISpeech(base_url=server.base).transcribe(noise(2, 0.1)) == []
