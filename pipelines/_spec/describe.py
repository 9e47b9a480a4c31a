"""Descriptions of options, from the docstrings of the components."""

import inspect
import re
from collections.abc import Callable
from typing import Any

_ENTRY = re.compile(r"(?P<name>\w+)(?: \([^)]*\))?:\s*(?P<text>.*)")
_SECTIONS = ("Args:", "Attributes:")


def descriptions(component: Callable[..., Any]) -> dict[str, str]:
    """Option name to the sentence that the Google docstring has on it (the class's own, then `__init__`'s)."""
    found: dict[str, str] = {}
    for documented in (component, getattr(component, "__init__", None)):
        for name, text in _arguments(inspect.getdoc(documented) or "").items():
            found.setdefault(name, text)
    return found


def _arguments(doc: str) -> dict[str, str]:
    found: dict[str, str] = {}
    inside, current = False, ""
    for line in doc.splitlines():
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        if indent == 0 and stripped:
            inside, current = stripped in _SECTIONS, ""
        elif inside and stripped:
            entry = _ENTRY.fullmatch(stripped) if indent == 4 else None
            if entry:
                current = entry["name"]
                found[current] = entry["text"]
            elif current:
                found[current] += " " + stripped
    return {name: text.strip() for name, text in found.items()}
