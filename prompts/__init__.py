"""Prompts: one Markdown file each, with front matter that names its purpose and variables.

```
---
purpose: The sources and the question; the user message.
variables: [sources, question]
---
Sources, the most relevant first:

{sources}

Question: {question}
```

A prompt is overridden by name: by a file of the same name in a folder, by another file, or by its text. `{name}`
stands for a variable; other braces are left alone. What is filled in is never read again, so a document cannot bring
variables. An override uses every variable of the prompt that it replaces, and no other; front matter may be left out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from sensorium.errors import ConfigError

_VARIABLE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_NEARLY = re.compile(r"\{(\s*[A-Za-z_][\w-]*\s*)\}")
_FRONT = re.compile(r"\A---[ \t]*\n(?P<front>.*?)\n---[ \t]*\n+", re.DOTALL)
_OPEN_FRONT = re.compile(r"\A---[ \t]*\n\s*\w+:")
_FILES = (".md", ".txt")

Layer = str | Mapping[str, str] | None
"""A folder of `*.md` files, or texts, or paths of files, by name; any may leave prompts out."""
Overrides = Layer | Sequence[Layer]
"""One layer or several, of which the first that has a prompt counts."""


@dataclass(frozen=True)
class Prompt:
    """A text with variables.

    Attributes:
        name: File name without suffix.
        purpose: What it is for.
        variables: Names that are filled in; each occurs in the text.
        text: With `{name}` for a variable.
        origin: "built-in", the path of a file, or "configuration".
    """

    name: str
    purpose: str
    variables: tuple[str, ...]
    text: str
    origin: str = "built-in"

    def fill(self, **values: str) -> str:
        """The text with its variables replaced.

        Raises:
            ConfigError: a variable has no value, or a value no variable.
        """
        if set(values) != set(self.variables):
            raise ConfigError(f"The prompt {self.name!r} takes {_listed(self.variables)}; given: {_listed(values)}.")
        return _VARIABLE.sub(lambda found: values.get(found[1], found[0]), self.text)

    def halves(self, variable: str, **values: str) -> tuple[str, str]:
        """The text before and behind one variable, with the others replaced.

        Raises:
            ConfigError: as `fill`.
        """
        before, _, behind = self.fill(**values, **{variable: "\0"}).partition("\0")
        return before, behind


@dataclass(frozen=True)
class PromptFault:
    """Something wrong with a prompt that replaces one of ours.

    Attributes:
        name: Of the prompt; empty for the folder as a whole.
        where: "FILE:LINE", as far as there is a file; empty for a text of the configuration.
        problem: What is wrong.
        expected: What would be right; may be empty.
    """

    name: str
    where: str
    problem: str
    expected: str = ""

    def __str__(self) -> str:
        place = f" ({self.where or 'configuration'})" if self.name else ""
        what = f"The prompt {self.name!r}{place} {self.problem}." if self.name else f"{self.problem}."
        return f"{what} {self.expected}".strip()


def names() -> list[str]:
    """The prompts that there are."""
    return sorted(path.stem for path in _folder().glob("*.md"))


def prompt(name: str, overrides: Overrides = None) -> Prompt:
    """A prompt by name.

    Args:
        name: One of `names()`.
        overrides: See `Overrides`.

    Raises:
        ConfigError: there is none, or an override lacks a variable or has one too many.
    """
    own = _built_in(name)
    for layer in _layers(overrides):
        if (found := _override(name, layer)) is not None:
            return _replaced(own, *found)
    return own


def check(overrides: Overrides) -> None:
    """Check overrides as a whole.

    Raises:
        ConfigError: no such folder or file, an unknown name, or a missing or unused variable; names every fault.
    """
    if found := faults(overrides):
        raise ConfigError(" ".join(map(str, found)))


def faults(overrides: Overrides) -> list[PromptFault]:
    """Everything that is wrong with overrides."""
    return [fault for layer in _layers(overrides) for fault in _faults(layer)]


def located(overrides: str | Mapping[str, str] | None, base: Path) -> str | dict[str, str] | None:
    """Overrides of a configuration file with their paths resolved.

    Args:
        overrides: A folder, or texts and files by name.
        base: Folder that relative paths start from.
    """
    if overrides is None or isinstance(overrides, str):
        return overrides and str(base / Path(overrides).expanduser())
    return {
        name: str(base / Path(value).expanduser()) if _is_file(value) else value for name, value in overrides.items()
    }


def _layers(overrides: Overrides) -> Iterator[str | Mapping[str, str]]:
    if overrides is None or isinstance(overrides, str | Mapping):
        overrides = [overrides]
    yield from (layer for layer in overrides if layer is not None)


def _override(name: str, layer: str | Mapping[str, str]) -> tuple[str, str] | None:
    """Text and origin of a prompt in one layer."""
    if isinstance(layer, str):
        file = Path(layer).expanduser() / f"{name}.md"
        return (_read(file), str(file)) if file.is_file() else None
    if name not in layer:
        return None
    value = layer[name]
    return (_read(Path(value).expanduser()), value) if _is_file(value) else (value, "configuration")


def _is_file(value: str) -> bool:
    """Whether a value names a file rather than being the text."""
    return "\n" not in value.strip() and value.strip().endswith(_FILES) and "{" not in value


def _faults(layer: str | Mapping[str, str]) -> Iterator[PromptFault]:
    if isinstance(layer, str):
        folder = Path(layer).expanduser()
        if not folder.is_dir():
            yield PromptFault("", "", f"There is no folder of prompts {layer!r}")
            return
        given = [path.stem for path in sorted(folder.glob("*.md")) if path.stem.lower() != "readme"]
    else:
        given = list(layer)
    for name in given:
        where = str(Path(layer) / f"{name}.md") if isinstance(layer, str) else ""
        try:
            own = _built_in(name)
        except ConfigError as fault:
            yield PromptFault(name, where, "replaces none of ours", fault.hint)
            continue
        try:
            found = _override(name, layer)
        except ConfigError as fault:
            yield PromptFault(name, where, fault.message.rstrip("."))
            continue
        if found is not None:
            yield from _wrong(own, *found)


def _replaced(own: Prompt, text: str, origin: str) -> Prompt:
    if found := list(_wrong(own, text, origin)):
        raise ConfigError(" ".join(map(str, found)))
    front = _FRONT.match(text)
    body = (text[front.end() :] if front else text).strip() + "\n"
    return Prompt(own.name, own.purpose, own.variables, body, origin)


def _wrong(own: Prompt, text: str, origin: str) -> Iterator[PromptFault]:
    """What is wrong with a text that replaces a prompt, each with its line."""

    def fault(problem: str, at: int, expected: str = "") -> PromptFault:
        line = text.count("\n", 0, max(at, 0)) + 1
        return PromptFault(own.name, "" if origin == "configuration" else f"{origin}:{line}", problem, expected)

    front = _FRONT.match(text)
    if front is None and _OPEN_FRONT.match(text):
        yield fault("has front matter that does not end", 0, "A line --- ends it.")
        return
    start = front.end() if front else 0
    used = {found[1]: start + found.start() for found in reversed(list(_VARIABLE.finditer(text[start:])))}
    known = f"Its variables: {_listed(own.variables)}."
    if missing := [name for name in own.variables if name not in used]:
        yield fault(f"lacks {_listed(missing)}", start, known)
    for name in sorted(set(used) - set(own.variables)):
        yield fault(f"uses {_listed([name])}, which nothing fills in", used[name], known)
    for found in _NEARLY.finditer(text, start):
        if not _VARIABLE.fullmatch(found[0]) and (near := _near(found[1], own.variables)):
            yield fault(f"has {found[0]}, which is not filled in", found.start(), f"Did you mean {{{near}}}?")
    declared = _declared(front["front"]) if front else None
    if front and declared is not None:
        at = text.index("variables")
        if unused := [name for name in declared if name not in used]:
            yield fault(f"declares {_listed(unused)} and does not use it", at)
        if undeclared := [name for name in used if name in own.variables and name not in declared]:
            yield fault(f"uses {_listed(undeclared)} and does not declare it", at)


def _near(name: str, variables: Sequence[str]) -> str:
    plain = re.sub(r"[\W_]+", "_", name.strip().lower())
    return next((variable for variable in variables if variable == plain), "")


def _declared(front: str) -> tuple[str, ...] | None:
    """Variables that front matter names; None when it names none at all."""
    facts = _facts(front)
    return tuple(re.findall(r"[a-z][a-z0-9_]*", facts["variables"])) if "variables" in facts else None


def _facts(front: str) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in front.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


@cache
def _built_in(name: str) -> Prompt:
    file = _folder() / f"{name}.md"
    if not re.fullmatch(r"[a-z-]+", name) or not file.is_file():
        near = get_close_matches(name, names(), n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(names())}."
        raise ConfigError(f"There is no prompt {name!r}.", hint)
    return _parsed(name, _read(file))


def _parsed(name: str, text: str) -> Prompt:
    front = _FRONT.match(text)
    if front is None:
        raise ConfigError(f"The prompt {name!r} has no front matter.")
    variables = _declared(front["front"]) or ()
    body = text[front.end() :].strip() + "\n"
    if set(variables) != set(_VARIABLE.findall(body)):
        raise ConfigError(f"The prompt {name!r} declares {_listed(variables)} and uses others.")
    return Prompt(name, _facts(front["front"]).get("purpose", ""), variables, body)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"cannot be read: {file}: {getattr(fault, 'strerror', None) or fault}.") from fault


def _folder() -> Path:
    return Path(__file__).parent


def _listed(values: object) -> str:
    found = [f"{{{value}}}" for value in values] if values else []  # type: ignore[attr-defined]
    return ", ".join(found) or "no variables"
