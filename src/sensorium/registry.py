"""Named components: how a YAML name becomes an object, and how its options are checked.

A component is one class (or function) whose typed, keyword arguments are its options. Registering is one line,
`REGISTRY.add("name", "package.module:Class")`; the module is imported when the name is used, not before, so that
the command line starts fast. The options schema is derived from the constructor, so that a new component brings
its own by existing. Arguments without a default that the pipeline supplies itself are named in `supplied`.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from sensorium.errors import ConfigError


@dataclass(frozen=True)
class Entry:
    """One registered component: where it lives and which option the short form `{name: value}` sets."""

    name: str
    target: str
    value_option: str = ""
    summary: str = ""

    def load(self) -> Callable[..., Any]:
        """Import and return the class or function."""
        module, _, attribute = self.target.partition(":")
        component: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        return component


class Registry:
    """Components of one role, by name.

    Args:
        role: What the components are, for messages ("loader", "text embedder").
        supplied: Constructor arguments that the pipeline supplies; they are no options.
    """

    def __init__(self, role: str, supplied: Iterable[str] = ()) -> None:
        self.role = role
        self.supplied = frozenset(supplied)
        self._entries: dict[str, Entry] = {}

    def add(self, name: str, target: str, value_option: str = "", summary: str = "") -> None:
        """Register `target` ("package.module:attribute") under `name`.

        Args:
            name: The name in YAML.
            target: Where the component lives; imported on first use.
            value_option: The option that `{name: value}` sets, when the value is no mapping.
            summary: One line for listings and the schema.
        """
        self._entries[name] = Entry(name, target, value_option, summary)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def names(self) -> list[str]:
        """Registered names, in order of registration."""
        return list(self._entries)

    def entry(self, name: str) -> Entry:
        """The entry of a name.

        Raises:
            ConfigError: no component of this name.
        """
        if name not in self._entries:
            raise ConfigError(f"Unknown {self.role} {name!r}.", f"Known: {', '.join(self._entries)}.")
        return self._entries[name]

    def options(self, name: str) -> type[BaseModel]:
        """The options of a component as a pydantic model that forbids unknown keys."""
        return options_model(self.entry(name).load(), self.supplied)

    def create(self, name: str, options: dict[str, Any] | None = None, **supplied: Any) -> Any:
        """Build a component from its options and what the pipeline supplies."""
        component = self.entry(name).load()
        accepted = inspect.signature(component).parameters
        return component(**(options or {}), **{k: v for k, v in supplied.items() if k in accepted})


def options_model(component: Callable[..., Any], supplied: Iterable[str] = ()) -> type[BaseModel]:
    """A pydantic model of a constructor's keyword arguments, with the descriptions of its docstring.

    Args:
        component: Class or function with typed arguments.
        supplied: Arguments that are no options.
    """
    target = component.__init__ if inspect.isclass(component) else component
    hints = get_type_hints(target, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(component).parameters.values():
        if parameter.name in supplied or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints.get(parameter.name, Any), default)
    name = getattr(component, "__name__", "Component")
    return create_model(f"{name}Options", __config__=ConfigDict(extra="forbid", validate_default=True), **fields)
