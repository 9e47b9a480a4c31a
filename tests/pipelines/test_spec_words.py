"""`prompts:` and `index: captions:` in the configuration: faults, lines, fingerprints, secrets, the schema."""

import json
from pathlib import Path
from typing import Any

import pytest

import sensorium
from sensorium.errors import ConfigError
from sensorium.pipelines.multimodal import Multimodal
from sensorium.pipelines.spec import default_yaml, fingerprint, json_schema, load_spec
from sensorium.prompts import prompt

LLM = {"openai": {"model": "gpt-5-mini", "price": {"input": 0.25, "output": 2}}}
ANSWER = "Quellen:\n{sources}\nFrage: {question}\n"


def faults(given: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_spec(given)
    return [str(fault) for fault in caught.value.faults]


def test_prompts_of_a_folder_hold_for_the_whole_configuration(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "answer.md").write_text(ANSWER, encoding="utf-8")
    config = tmp_path / "config.yaml"
    config.write_text(
        "data: kb\nprompts: words\npipelines:\n  default: {synthesize: {multimodal: {llm: {openai: gpt-5-mini}}}}\n"
    )
    spec = load_spec(config)
    assert spec.prompts == str(tmp_path / "words")
    assert spec.with_data("elsewhere").prompts == spec.prompts
    with sensorium.open(config) as kb:
        made = kb.pipeline().synthesizer
        assert isinstance(made, Multimodal)
        request = made._maker.make("Wer?", [], made.models.first)
    assert (request.before, request.behind) == ("Quellen:\n", "\nFrage: Wer?\n")


def test_a_pipelines_own_prompts_go_first() -> None:
    own = {"answer": "Own: {sources} {question}"}
    synthesize = {"multimodal": {"llm": "openai", "prompts": own}}
    shared = {"answer": ANSWER, "refine": "R {draft} {sources} {question}"}
    with sensorium.open({"prompts": shared, "pipelines": {"default": {"synthesize": synthesize}}}) as kb:
        made = kb.pipeline().synthesizer
        assert isinstance(made, Multimodal)
        assert made._maker._prompts["answer"].text.startswith("Own: ")
        assert made._maker._prompts["refine"].text.startswith("R ")


def test_faults_of_prompts_stand_in_their_line(tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text("{sources}\n{question}\n{user}\n", encoding="utf-8")
    config = tmp_path / "config.yaml"
    config.write_text("prompts:\n  anser: x\n  answer: mine.md\n  refine: |\n    Only {draft}.\n  combine: gone.md\n")
    found = faults(config)
    assert len(found) == 4
    places = [line.removeprefix(f"{config}:").partition(":")[0] for line in found]
    assert places == ["2", "3", "4", "6"]
    assert "Did you mean 'answer'" in found[0]
    assert f"{tmp_path / 'mine.md'}:3) uses {{user}}, which nothing fills in" in found[1]
    assert "lacks {sources}, {question}" in found[2]
    assert "cannot be read" in found[3]


@pytest.mark.parametrize(
    ("given", "said"),
    [("no/such", "prompts: There is no folder"), (3, "got 3"), ({"answer": 3}, "prompts")],
)
def test_prompts_of_another_shape_are_faults(given: Any, said: str) -> None:
    assert any(said in fault for fault in faults({"prompts": given}))


@pytest.mark.parametrize("given", ["off", False, None])
def test_captions_are_off(given: Any) -> None:
    assert load_spec({"index": {"captions": given}}).index.captions is None


@pytest.mark.parametrize(
    ("given", "path", "said"),
    [
        ("openai", "index.captions", "expected off, or {llm: {openai: gpt-5-mini}}"),
        ({}, "index.captions", "'llm' is missing"),
        ({"llm": {"opnai": "x"}}, "index.captions.llm", "nearest to it: openai"),
        ({"llm": LLM, "kinds": ["figur"]}, "index.captions.kinds[0]", "Did you mean 'figure'"),
        ({"llm": LLM, "kind": ["figure"]}, "index.captions.kind", "Did you mean 'kinds'"),
        ({"llm": LLM, "max_requests": -1}, "index.captions.max_requests", "at least 0"),
        ({"llm": "openai", "max_cost": 1}, "index.captions.max_cost", "the model has no price"),
    ],
)
def test_faults_of_captions(given: Any, path: str, said: str) -> None:
    (fault,) = faults({"index": {"captions": given}})
    assert fault.startswith(path)
    assert said in fault


def test_only_what_changes_descriptions_changes_the_fingerprint() -> None:
    def print_of(prompts: Any = None, **captions: Any) -> str:
        return fingerprint(load_spec({"prompts": prompts, "index": {"captions": captions or None}}))

    off, on = print_of(), print_of(llm=LLM)
    assert off == fingerprint(load_spec({}))
    assert on == print_of(llm=LLM, max_requests=5, max_cost=1, concurrency=9)
    assert on == print_of(llm={"openai": {"model": "gpt-5-mini", "api_key": "sk-1"}})
    other = {"describe": prompt("describe").text + "Antworte auf Deutsch."}
    assert len({off, on, print_of(llm="openai"), print_of(other, llm=LLM), print_of(llm=LLM, kinds=["slide"])}) == 5
    assert print_of({"answer": ANSWER}, llm=LLM) == on


def test_keys_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-live-0987654321")
    spec = load_spec({"index": {"captions": {"llm": {"openai": {"model": "x", "api_key": "${MY_KEY}"}}}}})
    assert "sk-live" not in f"{spec!r} {spec.model_dump()} {spec.model_dump_json()}"


def test_schema_and_template_know_them(tmp_path: Path) -> None:
    schema = json_schema()
    captions = json.dumps(schema["properties"]["index"]["properties"]["captions"])
    for word in ("off", "llm", "kinds", "max_requests", "Most requests of one run", "concurrency"):
        assert word in captions
    assert "describe" in json.dumps(schema["properties"]["prompts"])
    # The options stand there as a comment that can be taken as it is.
    _, _, commented = default_yaml().partition("  captions: off\n")
    block = [
        line.removeprefix("  # ") for line in commented.splitlines() if line.startswith(("  # captions", "  #   "))
    ]
    (tmp_path / "c.yaml").write_text("index:\n" + "\n".join(f"  {line}" for line in block))
    found = load_spec(tmp_path / "c.yaml").index.captions
    assert found is not None
    assert found.options["llm"] == {"openai": "gpt-5-mini"}
    assert found.options["kinds"] == ("figure", "frame", "scene")
