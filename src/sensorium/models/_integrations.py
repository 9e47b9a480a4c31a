"""LlamaIndex's integrations by the name of their provider: what embedders and chat LLMs have in common.

A provider is the module `llama_index.GROUP.NAME` of the package `llama-index-GROUP-NAME`, as all are laid out.
"""

import difflib
import importlib
import importlib.util
import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from sensorium.errors import ConfigError, MissingExtraError

MODEL = "model"
"""The option that `{provider: value}` sets, whatever the provider's class calls it."""


@dataclass(frozen=True)
class Integration:
    """How an integration is called.

    Attributes:
        name: Its name in YAML, and of its module.
        class_name: Its class; found by looking at the module when empty.
        model: The argument that takes the model's name; found by looking at the class when empty.
        key: The argument that takes the key, where it cannot work without one.
        key_variable: The environment variable that the key comes from.
        keyless: Arguments that make a key needless, such as the address of one's own server.
    """

    group: ClassVar[str]
    what: ClassVar[str]

    name: str
    class_name: str = ""
    model: str = ""
    key: str = ""
    key_variable: str = ""
    keyless: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """The module that has the class."""
        return f"llama_index.{self.group}.{self.name}"

    @property
    def package(self) -> str:
        """What to install."""
        return f"llama-index-{self.group}-{self.name.replace('_', '-')}"

    def missing(self, why: str = "") -> MissingExtraError:
        """The error for a package that is not installed."""
        return MissingExtraError(f"The {self.what} {self.name!r}{why}", self.package)

    def with_key(self, options: dict[str, Any]) -> dict[str, Any]:
        """Options with the key from the environment where they have none.

        Raises:
            ConfigError: there is no key.
        """
        if not self.key or any(options.get(name) for name in (self.key, *self.keyless)):
            return options
        if key := os.environ.get(self.key_variable):
            return {**options, self.key: key}
        raise ConfigError(
            f"The {self.what} {self.name!r} needs a key.",
            f"Set the environment variable {self.key_variable}, or the option {self.key}.",
        )

    def load(self, base: Callable[[], type]) -> type[Any]:
        """Import the class.

        Args:
            base: Gives what the class derives from.

        Raises:
            MissingExtraError: the package, or one that it needs, is not installed.
            ConfigError: it is not clear which class it is.
        """
        if not installed(self.module):
            raise self.missing()
        try:
            module = importlib.import_module(self.module)
        except ImportError as error:
            raise self.missing(f" ({error})") from error
        if named := getattr(module, self.class_name or "-", None):
            return named  # type: ignore[no-any-return]
        kind = base()
        found = [
            value for value in vars(module).values()
            if inspect.isclass(value) and issubclass(value, kind) and value.__module__.startswith(self.module)
        ]  # fmt: skip
        if len(found) != 1:
            names = ", ".join(cls.__name__ for cls in found) or "none"
            raise ConfigError(f"{self.module} should have one class of a {self.what}; found: {names}.")
        return found[0]

    def named(self, options: Mapping[str, Any], arguments: Iterable[str], known: Iterable[str]) -> dict[str, Any]:
        """Options with the model's name under the argument that the class has for it.

        Args:
            options: With `MODEL`, or without.
            arguments: Names of such arguments, the likeliest first.
            known: Arguments of the class, in order of preference.
        """
        accepted = set(known)
        argument = self.model or next((name for name in arguments if name in accepted), MODEL)
        return {argument if name == MODEL else name: value for name, value in options.items()}

    def check_options(self, options: Iterable[str], accepted: Iterable[str]) -> None:
        """Look for misspelt options.

        Classes swallow what they do not know; some hand it on, so that only a near miss is certainly wrong.

        Raises:
            ConfigError: one looks like another.
        """
        known = set(accepted)
        for name in options:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            if name not in known and near:
                raise ConfigError(
                    f"The {self.what} {self.name!r} has no option {name!r}.", f"Did you mean {near[0]!r}?"
                )


def installed(module: str) -> bool:
    """Whether a module is there, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


Kind = TypeVar("Kind", bound=Integration)


def find(
    name: str, kind: type[Kind], table: Mapping[str, Kind], others: Mapping[str, str], also: Iterable[str] = ()
) -> Kind:
    """A provider by name.

    Args:
        name: As written in YAML.
        kind: Of which kind.
        table: Those that are known, by name.
        others: Other names of theirs.
        also: More names to suggest.

    Raises:
        ConfigError: there is none, and no installed integration of this name.
    """
    plain = name.strip().replace("-", "_").lower()
    plain = others.get(plain, plain)
    if plain in table:
        return table[plain]
    if re.fullmatch(r"[a-z0-9_]+", plain) and installed(f"llama_index.{kind.group}.{plain}"):
        return kind(plain)
    known = [*also, *table, *others]
    near = difflib.get_close_matches(plain, known, n=3) or known[:8]
    raise ConfigError(f"Unknown {kind.what} {name!r}.", f"Known names nearest to it: {', '.join(near)}.")
