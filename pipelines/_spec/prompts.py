"""`prompts`: texts that replace ours, checked with the rest of the configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium import prompts as library
from sensorium.pipelines._spec.faults import Faults


def read(given: Any, base: Path, faults: Faults) -> Any:
    """Prompts with their paths resolved; what is wrong with them is noted, with the prompt's file and line.

    Args:
        given: A folder, or texts and files by name; anything else is left to the check of the whole.
        base: Folder of the configuration file.
        faults: Where faults go.
    """
    texts = isinstance(given, Mapping) and all(isinstance(value, str) for value in given.values())
    if not (isinstance(given, str) or texts):
        return given
    found = library.located(given, base)
    for fault in library.faults(found):
        named = isinstance(given, Mapping) and fault.name in given
        faults.add(("prompts", fault.name) if named else ("prompts",), str(fault).rstrip("."))
    return found
