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
        ({"anser": "x"}, r"'anser' \(configuration\) replaces none of ours. Did you mean 'answer'"),
        ("no/such/folder", "no folder of prompts"),
        ({"answer": "{question}", "answer-system": "{nothing}"}, r"(?s)lacks.*uses \{nothing\}"),
    ],
)
def test_faults_are_named(overrides: prompts.Overrides, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        prompts.check(overrides)


BODY = "Sources:\n{sources}\n\nQuestion: {question}\n"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (BODY + "{user}\n", 5, "uses {user}, which nothing fills in"),
        ("---\npurpose: mine\n---\n" + BODY + "\n{Sources}", 9, "has {Sources}, which is not filled in"),
        ("Question: {question}", 1, "lacks {sources}"),
        ("---\npurpose: mine\n---\nQuestion: {question}", 4, "lacks {sources}"),
        ("---\npurpose: x\nvariables: [sources, question, day]\n---\n" + BODY, 3, "declares {day} and does not use it"),
        ("---\npurpose: x\nvariables: [sources]\n---\n" + BODY, 3, "uses {question} and does not declare it"),
        ("---\npurpose: x\n" + BODY, 1, "has front matter that does not end"),
        (BODY + "{ question }", 5, "Did you mean {question}?"),
    ],
)
def test_a_fault_of_a_file_names_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    file = tmp_path / "answer.md"
    file.write_text(text, encoding="utf-8")
    for overrides in (str(tmp_path), {"answer": str(file)}):
        (fault,) = prompts.faults(overrides)
        assert fault.where == f"{file}:{line}"
        assert said in str(fault)
        with pytest.raises(ConfigError, match=f"answer.md:{line}"):
            prompts.prompt("answer", overrides)


def test_front_matter_may_name_its_variables(tmp_path: Path) -> None:
    (tmp_path / "answer.md").write_text("---\nvariables: question, sources\n---\n" + BODY, encoding="utf-8")
    (tmp_path / "README.md").write_text("Our prompts.", encoding="utf-8")
    assert prompts.faults(str(tmp_path)) == []
    assert prompts.prompt("answer", str(tmp_path)).text == BODY


def test_the_first_layer_that_has_a_prompt_counts(tmp_path: Path) -> None:
    (tmp_path / "answer.md").write_text("File: " + BODY, encoding="utf-8")
    layers = (None, {"answer": "Own: " + BODY}, str(tmp_path))
    assert prompts.prompt("answer", layers).text.startswith("Own: ")
    assert prompts.prompt("answer", layers[2:]).text.startswith("File: ")
    assert prompts.prompt("answer", (None, {"refine": "x"})).origin == "built-in"


def test_paths_start_from_the_configuration_file(tmp_path: Path) -> None:
    assert prompts.located("mine", tmp_path) == str(tmp_path / "mine")
    texts = {"answer": "own/answer.md", "refine": "{draft} in notes.md", "combine": "Two\nlines.md"}
    assert prompts.located(texts, tmp_path) == texts | {"answer": str(tmp_path / "own/answer.md")}
    assert prompts.located(None, tmp_path) is None
    (fault,) = prompts.faults({"answer": str(tmp_path / "none.md")})
    assert "cannot be read" in str(fault)
