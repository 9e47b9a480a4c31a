"""Components as they stand in YAML, checked against the options of the component itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from sensorium.errors import ConfigError, SensoriumError
from sensorium.pipelines._spec.explain import Explain, show
from sensorium.pipelines._spec.faults import Faults, Path, nearest, one_of
from sensorium.pipelines._spec.models import Component
from sensorium.registry import Registry

FORMS = "a name, {name: value} or {name: {option: value}}"
BROKEN = Component(name="")
"""Stands for a component that is wrong, so that the rest can still be checked."""

ModelOf = Callable[[], type[BaseModel]]


@dataclass(frozen=True)
class Providers:
    """Names that are not registered but may be used: models of LlamaIndex by provider.

    Attributes:
        names: Known providers, for suggestions.
        value_option: The option that `{provider: value}` sets.
        missing: The package that a provider lacks: empty for none, None when there is no such provider.
    """

    names: tuple[str, ...]
    value_option: str
    missing: Callable[[str], str | None]


@dataclass
class Reading:
    """What is needed to read components: the configuration as written and where faults go.

    Attributes:
        faults: Where faults go.
        written: The configuration before the environment was filled in.
        templates: For each path with a value of the environment, how it was written.
    """

    faults: Faults
    written: Any = None
    templates: Mapping[Path, str] = field(default_factory=dict)

    def component(self, value: Any, path: Path, registry: Registry, providers: Providers | None = None) -> Component:
        """Read one component; `BROKEN` when it is wrong."""
        if isinstance(value, str):
            name, given, inside = value, None, path
        elif isinstance(value, Mapping) and len(value) == 1:
            name, given = next(iter(value.items()))
            inside = (*path, name)
        else:
            return self._malformed(value, path, registry)
        if name in registry:
            return self._registered(name, given, inside, registry)
        package = providers.missing(name) if providers else None
        if providers is not None and package is not None:
            return self._provided(name, given, inside, providers, package)
        self._unknown(name, inside, registry, providers, isinstance(value, Mapping))
        return BROKEN

    def _malformed(self, value: Any, path: Path, registry: Registry) -> Component:
        if isinstance(value, Mapping) and len(value) > 1:
            names = ", ".join(str(k) for k in value)
            self.faults.add(path, f"several names in one {registry.role}: {names}", FORMS)
        else:
            self.faults.add(path, f"got {show(value or None, self.templates.get(path))}", FORMS)
        return BROKEN

    def _unknown(self, name: str, path: Path, registry: Registry, providers: Providers | None, key: bool) -> None:
        known = [*registry.names(), *(providers.names if providers else ())]
        expected = one_of(registry.names()) + (", or a LlamaIndex provider" if providers else "")
        shown = show(name, self.templates.get(path))
        self.faults.add(path, f"unknown {registry.role} {shown}", expected, nearest=nearest(name, known), key=key)

    def _registered(self, name: str, given: Any, path: Path, registry: Registry) -> Component:
        entry = registry.entry(name)
        if given is not None and not isinstance(given, Mapping) and not entry.value_option:
            self.faults.add(
                path, f"got {show(given, self.templates.get(path))}", f"options: {{{name}: {{option: value}}}}"
            )
            return BROKEN
        made = self.options(name, given, path, lambda: registry.options(name), entry.value_option)
        return made if registry.supplied or made is BROKEN else self._tried(made, path, registry)

    def _tried(self, component: Component, path: Path, registry: Registry) -> Component:
        """A component that needs nothing of the pipeline is made once: it may refuse its options as a whole."""
        try:
            registry.create(component.name, component.options)
        except ConfigError as fault:
            self.faults.add(path, fault.message, fault.hint or FORMS)
            return BROKEN
        return component

    def options(self, name: str, given: Any, path: Path, model_of: ModelOf, short: str = "") -> Component:
        """Read options (or the value of the option `short`) against a model of them.

        Args:
            name: The component's name.
            given: A mapping, a single value, or None.
            path: Where `given` stands.
            model_of: Imports the component and derives the model.
            short: The option that a single value sets.
        """
        single = given is not None and not isinstance(given, Mapping)
        data = {short: given} if single else dict(given or {})
        try:
            model = model_of()
        except (ImportError, SensoriumError) as fault:
            self.faults.add(
                path, f"{name!r} cannot be used: {fault}", "its package to be installed", key=given is not None
            )
            return BROKEN
        place: Callable[[Path], Path] = lambda loc: path if single else (*path, *loc)  # noqa: E731
        try:
            valid = model.model_validate(data)
        except ValidationError as error:
            Explain(self.faults, self.templates, place).note(error, model, data)
            return BROKEN
        values = {option: getattr(valid, option) for option in model.model_fields}
        return self.hidden(Component(name=name, options=values), path, single, short)

    def _provided(self, name: str, given: Any, path: Path, providers: Providers, package: str) -> Component:
        if package:
            self.faults.add(path, f"{name!r} needs the package {package}", f"pip install {package}", key=True)
        single = given is not None and not isinstance(given, Mapping)
        options = {providers.value_option: given} if single else dict(given or {})
        return self.hidden(Component(name=name, options=options), path, single, providers.value_option)

    def hidden(self, component: Component, path: Path, single: bool = False, short: str = "") -> Component:
        """The component, showing options that came from the environment as they were written.

        Args:
            component: With its options.
            path: Where they stand.
            single: One value stands there, of the option `short`.
            short: See `single`.
        """
        shown = dict(component.options)
        for option in component.options:
            inside = path if single and option == short else (*path, option)
            if any(known[: len(inside)] == inside for known in self.templates):
                shown[option] = _get(self.written, inside)
        return component.show(options=shown) if shown != component.options else component


def _get(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def replace(data: Any, pattern: Path, change: Callable[[Any, Path], Any], path: Path = ()) -> Any:
    """Data with the values at a pattern changed; `"*"` stands for every key or list position.

    Values that are not there, or stand in something of another shape, are left to the check of the whole.
    """
    if not pattern:
        return change(data, path)
    first, rest = pattern[0], pattern[1:]
    if isinstance(data, Mapping):
        return {k: replace(v, rest, change, (*path, k)) if first in ("*", k) else v for k, v in data.items()}
    if isinstance(data, list) and first == "*":
        return [replace(v, rest, change, (*path, at)) for at, v in enumerate(data)]
    return data
