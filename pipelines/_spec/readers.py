"""LlamaIndex readers for other formats: `{".epub": package.module.Class}`, with constructor options or without."""

import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from sensorium.pipelines._spec.components import BROKEN, Reading
from sensorium.pipelines._spec.explain import show
from sensorium.pipelines._spec.faults import Path, nearest, one_of
from sensorium.pipelines._spec.models import Component

FORMS = "package.module.Class or {package.module.Class: {option: value}}"


def read(given: Mapping[str, Any], reading: Reading) -> dict[str, Component]:
    """Readers by suffix, as components whose names are full class names; `BROKEN` where one is wrong."""
    return {suffix: _reader(suffix, value, reading) for suffix, value in given.items()}


def _reader(suffix: str, value: Any, reading: Reading) -> Component:
    path: Path = ("loaders", "readers", suffix)
    if not suffix.startswith("."):
        reading.faults.add(path, f"{suffix!r} is no file suffix", 'a suffix with its dot, e.g. ".epub"', key=True)
        return BROKEN
    if isinstance(value, str):
        return _checked(value, {}, path, path, reading)
    if isinstance(value, Mapping) and len(value) == 1:
        name, options = next(iter(value.items()))
        if options is None or isinstance(options, Mapping):
            return _checked(str(name), dict(options or {}), path, (*path, name), reading)
    reading.faults.add(path, f"got {show(value, reading.templates.get(path))}", FORMS)
    return BROKEN


def _checked(name: str, options: dict[str, Any], path: Path, inside: Path, reading: Reading) -> Component:
    found = _class(name)
    if found is None or not _is_reader(found):
        right = "a subclass of LlamaIndex's BaseReader" if found else "package.module.Class of an installed reader"
        reading.faults.add(path, f"got {show(name, reading.templates.get(path))}", right)
        return BROKEN
    for option, problem, known in _misfits(found, options):
        where = (*inside, option) if option in options else inside
        reading.faults.add(where, problem, known, nearest=nearest(option, known.split(", ")), key=True)
    return reading.hidden(Component(name=name, options=options), inside)


def _misfits(found: type, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Options that a reader's constructor does not take, and those that it needs."""
    parameters = inspect.signature(found).parameters.values()
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    known = one_of([p.name for p in named])
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for option in options:
        if not open_ended and option not in {p.name for p in named}:
            yield option, f"{found.__name__} takes no option {option!r}", known
    for parameter in named:
        if parameter.default is parameter.empty and parameter.name not in options:
            yield parameter.name, f"{found.__name__} needs the option {parameter.name!r}", FORMS


def _class(target: str) -> type | None:
    """`package.module.Class`, where it can be imported."""
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None) if module else None
    except ImportError:
        return None
    return found if inspect.isclass(found) else None


def _is_reader(found: type) -> bool:
    from llama_index.core.readers.base import BaseReader

    return issubclass(found, BaseReader)
