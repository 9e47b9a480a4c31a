"""`${VAR}` and `${VAR:-default}` in string values, and keeping their values out of every message."""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

_REFERENCE = re.compile(r"\$(?P<escaped>\$(?=\{))|\$\{(?P<inner>[^}]*)(?P<closed>\}?)")
_INNER = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)
_SHORTEST_SECRET = 4

# Every value that came from the environment in this process, and what is shown in its place. Only ever grows,
# so that an error raised long after the configuration was read is masked as well.
_SHOWN: dict[str, str] = {}


class BadReferenceError(ValueError):
    """A reference that cannot be resolved.

    Args:
        problem: What is wrong.
        expected: What would be right.
    """

    def __init__(self, problem: str, expected: str) -> None:
        super().__init__(problem)
        self.problem, self.expected = problem, expected


def refers(text: str) -> bool:
    """Whether a string takes anything from the environment."""
    return any(found["inner"] is not None for found in _REFERENCE.finditer(text))


def resolve(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Replace the references of a string; `$${` stands for a literal `${`.

    Raises:
        BadReferenceError: a variable is not set and has no default, or a reference is not well-formed.
    """
    variables = os.environ if environment is None else environment

    def value(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "$"
        return _lookup(found, variables)

    return _REFERENCE.sub(value, text)


def _lookup(found: re.Match[str], variables: Mapping[str, str]) -> str:
    inner = _INNER.fullmatch(found["inner"]) if found["closed"] else None
    if inner is None:
        raise BadReferenceError("a reference to the environment is not well-formed", "${VAR} or ${VAR:-default}")
    name, default = inner["name"], inner["default"]
    value = variables.get(name, "")
    if name not in variables and default is None:
        raise BadReferenceError(
            f"the environment variable {name} is not set", f"it to be set, or a default: ${{{name}:-value}}"
        )
    if value:
        _remember(value, f"${{{name}}}")
    return value or default or ""


def _remember(value: str, shown: str) -> None:
    if len(value) >= _SHORTEST_SECRET:
        for form in (value, repr(value)[1:-1]):
            _SHOWN[form] = shown


def mask(text: str) -> str:
    """Replace values that came from the environment by their `${VAR}`, in a message about to be shown."""
    for value in sorted(_SHOWN, key=len, reverse=True):
        text = text.replace(value, _SHOWN[value])
    return text


def substitute(
    data: Any, refuse: Callable[[tuple[str | int, ...], BadReferenceError], None]
) -> tuple[Any, dict[tuple[str | int, ...], str]]:
    """Resolve every string value of a configuration.

    Args:
        data: Mappings, lists and scalars.
        refuse: Called with the path and the fault of a reference that cannot be resolved.

    Returns:
        The data with values, and for each path with a reference the text as written. A value that cannot be
        resolved stays as written.
    """
    templates: dict[tuple[str | int, ...], str] = {}

    def walk(value: Any, path: tuple[str | int, ...]) -> Any:
        if isinstance(value, Mapping):
            return {str(k): walk(v, (*path, str(k))) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [walk(v, (*path, i)) for i, v in enumerate(value)]
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if not isinstance(value, str) or "$" not in value:
            return value
        if refers(value):
            templates[path] = value
        try:
            return resolve(value)
        except BadReferenceError as fault:
            refuse(path, fault)
            return value

    return walk(data, ()), templates
