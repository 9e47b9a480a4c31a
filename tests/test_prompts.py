"""Prompts: files with front matter, replaced by name, variables checked."""

from pathlib import Path

import pytest

from sensorium import prompts
from sensorium.errors import ConfigError


def test_every_prompt_says_what_it_is_for_and_declares_its_variables() -> None:
    for name in prompts.names():
        found = prompts.prompt(name)
        assert found.purpose, name
        assert found.origin == "built-in"
        assert found.fill(**dict.fromkeys(found.variables, "X")), name


def test_what_is_filled_in_is_not_read_again() -> None:
    text = prompts.prompt("answer").fill(sources="{question} {x} $", question="a {sources} b")
    assert "{question} {x} $" in text
    assert "Question: a {sources} b" in text


def test_a_wrong_set_of_values_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"takes \{sources\}, \{question\}; given: \{question\}"):
        prompts.prompt("answer").fill(question="x")


def test_a_folder_replaces_some_by_name(tmp_path: Path) -> None:
    (tmp_path / "answer-system.md").write_text("---\npurpose: mine\n---\nBe brief.", encoding="utf-8")
    prompts.check(str(tmp_path))
    mine = prompts.prompt("answer-system", str(tmp_path))
    assert (mine.text, mine.origin) == ("Be brief.\n", str(tmp_path / "answer-system.md"))
    assert prompts.prompt("answer", str(tmp_path)).origin == "built-in"


def test_other_braces_are_left_alone() -> None:
    mine = prompts.prompt("answer", {"answer": 'Give {"a": 1}. {sources} {question}'})
    assert mine.fill(sources="S", question="Q") == 'Give {"a": 1}. S Q\n'


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"answer": "{question}"}, r"lacks \{sources\}"),
        ({"answer": "{question} {sources} {user}"}, r"uses \{user\}, which nothing fills in"),
        ({"anser": "x"}, "Did you mean 'answer'"),
        ("no/such/folder", "no folder of prompts"),
        ({"answer": "{question}", "answer-system": "{nothing}"}, r"(?s)lacks.*uses \{nothing\}"),
    ],
)
def test_faults_are_named(overrides: prompts.Overrides, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        prompts.check(overrides)
