"""`synthesize: multimodal` in the configuration: providers and packages, options, secrets, the schema."""

import json
from pathlib import Path
from typing import Any

import pytest

from sensorium.errors import ConfigError
from sensorium.pipelines.spec import Spec, json_schema, load_spec

KEY = "sk-live-0987654321"


def loaded(**options: Any) -> Spec:
    return load_spec({"pipelines": {"vision": {"extends": "default", "synthesize": {"multimodal": options}}}})


@pytest.mark.parametrize(
    "llm",
    [
        "openai",
        {"openai": "gpt-5-mini"},
        {"openai": {"model": "gpt-5-mini", "temperature": 0, "price": {"input": 0.25, "output": 2}}},
        [{"openai": "gpt-5-mini"}, {"openai": "gpt-4o-mini"}],
    ],
)
def test_a_model_is_named_as_every_component(llm: Any) -> None:
    component = loaded(llm=llm, max_images=4).pipelines["vision"].synthesize
    assert (component.name, component.options["llm"], component.options["max_images"]) == ("multimodal", llm, 4)


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ({}, "vision.synthesize.multimodal", "'llm' is missing"),
        ({"llm": {"opnai": "x"}}, "multimodal.llm", "nearest to it: openai"),
        ({"llm": {"clarifai_x": "x"}}, "multimodal.llm", "Unknown LLM"),
        ({"llm": {"sambanovasystems": "x"}}, "multimodal.llm", "pip install 'llama-index-llms-sambanovasystems'"),
        ({"llm": []}, "multimodal.llm", "no LLM is given"),
        ({"llm": {"openai": "x", "ollama": "y"}}, "multimodal.llm", "{provider: model}"),
        ({"llm": {"openai": {"model": "x", "vision": "si"}}}, "multimodal.llm", "vision must be true or false"),
        ({"llm": "openai", "max_images": -1}, "multimodal.max_images", "at least 0"),
        ({"llm": "openai", "picturs": "all"}, "multimodal.picturs", "Did you mean 'pictures'"),
        ({"llm": "openai", "pictures": "some"}, "multimodal.pictures", "one of 'auto', 'all' or 'off'"),
        ({"llm": "openai", "prompts": {"answer": "{question}"}}, "multimodal.prompts", "lacks {sources}"),
        ({"llm": "openai", "prompts": "no/such"}, "multimodal.prompts", "no folder of prompts"),
    ],
)
def test_faults_stand_where_they_are(options: dict[str, Any], path: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(**options)
    (fault,) = caught.value.faults
    assert path in str(fault)
    assert said in str(fault)


def test_keys_of_the_environment_do_not_show(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    spec = loaded(llm=[{"openai": {"model": "gpt-5-mini", "api_key": "${MY_KEY}"}}])
    assert spec.pipelines["vision"].synthesize.options["llm"][0]["openai"]["api_key"] == KEY
    assert KEY not in f"{spec!r} {spec} {spec.model_dump()} {spec.model_dump_json()}"


def test_the_schema_knows_it() -> None:
    forms = json.dumps(json_schema()["$defs"])
    for word in ("multimodal", "openai_like", "anthropic", "ollama", "max_images", "Most pictures in a request"):
        assert word in forms
