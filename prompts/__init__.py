"""Prompts: one Markdown file each, with front matter that names its purpose and variables.

A prompt is overridden by name: by a file of the same name in a folder, or by its text. `{name}` stands for a
variable; other braces are left alone. What is filled in is never read again, so a document cannot bring variables.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from sensorium.errors import ConfigError

_VARIABLE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_FRONT = re.compile(r"\A---[ \t]*\n(?P<front>.*?)\n---[ \t]*\n+", re.DOTALL)

Overrides = str | Mapping[str, str] | None
"""A folder of `*.md` files, or texts by name; both may leave prompts out."""


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
    if overrides is None:
        return own
    if isinstance(overrides, str):
        file = Path(overrides).expanduser() / f"{name}.md"
        return _replaced(own, _read(file), str(file)) if file.is_file() else own
    return _replaced(own, overrides[name], "configuration") if name in overrides else own


def check(overrides: Overrides) -> None:
    """Check overrides as a whole.

    Raises:
        ConfigError: no such folder, an unknown name, or a missing or unused variable; names every fault.
    """
    faults = list(_faults(overrides))
    if faults:
        raise ConfigError(" ".join(faults))


def _faults(overrides: Overrides) -> list[str]:
    if overrides is None:
        return []
    if isinstance(overrides, str):
        folder = Path(overrides).expanduser()
        if not folder.is_dir():
            return [f"There is no folder of prompts {overrides!r}."]
        given = [path.stem for path in sorted(folder.glob("*.md"))]
    else:
        given = list(overrides)
    faults = []
    for name in given:
        try:
            prompt(name, overrides)
        except ConfigError as fault:
            faults.append(str(fault))
    return faults


def _replaced(own: Prompt, text: str, origin: str) -> Prompt:
    front = _FRONT.match(text)
    body = (text[front.end() :] if front else text).strip() + "\n"
    used = set(_VARIABLE.findall(body))
    faults = []
    if missing := sorted(set(own.variables) - used):
        faults.append(f"lacks {_listed(missing)}")
    if unknown := sorted(used - set(own.variables)):
        faults.append(f"uses {_listed(unknown)}, which nothing fills in")
    if faults:
        raise ConfigError(
            f"The prompt {own.name!r} ({origin}) {' and '.join(faults)}.", f"Its variables: {_listed(own.variables)}."
        )
    return Prompt(own.name, own.purpose, own.variables, body, origin)


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
    facts = dict(line.split(":", 1) for line in front["front"].splitlines() if ":" in line)
    variables = tuple(re.findall(r"[a-z][a-z0-9_]*", facts.get("variables", "")))
    body = text[front.end() :].strip() + "\n"
    if set(variables) != set(_VARIABLE.findall(body)):
        raise ConfigError(f"The prompt {name!r} declares {_listed(variables)} and uses others.")
    return Prompt(name, facts.get("purpose", "").strip(), variables, body)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"The prompt {file} cannot be read: {fault}") from fault


def _folder() -> Path:
    return Path(__file__).parent


def _listed(values: object) -> str:
    found = [f"{{{value}}}" for value in values] if values else []  # type: ignore[attr-defined]
    return ", ".join(found) or "no variables"
