"""The YAML configuration: read, checked as a whole, and handed on as one immutable `Spec`.

`load_spec` is the entry. A fault names file, line, column and path, says what was expected, and offers the nearest
known name; all faults are reported at once. Options of components come from the components themselves.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import to_jsonable_python

from sensorium.errors import ConfigError
from sensorium.loaders import LOADERS
from sensorium.models import OCR_ENGINES, SPEECH_ENGINES, TEXT_EMBEDDERS
from sensorium.pipelines import FUSERS, LEGS, QUERY_STEPS, RERANKERS, ROUTERS, SPLITTERS, SYNTHESIZERS
from sensorium.pipelines._spec import captions, extends, prompts, yaml
from sensorium.pipelines._spec import readers as readers_
from sensorium.pipelines._spec.components import Reading, replace
from sensorium.pipelines._spec.defaults import DEFAULTS, INDEX
from sensorium.pipelines._spec.env import mask, substitute
from sensorium.pipelines._spec.explain import Explain, show
from sensorium.pipelines._spec.faults import Fault, Faults, Marks, nearest, one_of
from sensorium.pipelines._spec.faults import Path as KeyPath
from sensorium.pipelines._spec.models import (
    Component,
    IndexSpec,
    PipelineSpec,
    SpaceSpec,
    Spec,
    SpecModel,
)
from sensorium.pipelines._spec.providers import embedding_providers
from sensorium.stores import STORES

KEYS = tuple(DEFAULTS)
OCR_CHOICES = (*OCR_ENGINES.names(), "off")
RESERVED_SPACES = ("sentences",)
_SPACE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SECRET_OPTION = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)
_SLOTS = (
    (("store",), STORES),
    (("index", "split"), SPLITTERS),
    (("index", "spaces", "*", "embed"), TEXT_EMBEDDERS),
    (("index", "speech"), SPEECH_ENGINES),
    (("pipelines", "*", "route", "*"), ROUTERS),
    (("pipelines", "*", "expand", "*"), QUERY_STEPS),
    (("pipelines", "*", "retrieve", "*"), LEGS),
    (("pipelines", "*", "fuse"), FUSERS),
    (("pipelines", "*", "rerank", "*"), RERANKERS),
    (("pipelines", "*", "synthesize"), SYNTHESIZERS),
)


def load_spec(source: Path | str | Mapping[str, Any] | None = None) -> Spec:
    """Read and check a configuration.

    Args:
        source: A YAML file, the same as a mapping, or None for the built-in defaults.

    Raises:
        ConfigError: the file cannot be read, or the configuration is not valid; `faults` holds every fault.
    """
    if source is None or isinstance(source, Mapping):
        return _checked(dict(source or {}), Faults(Marks()), Path.cwd())
    path = Path(source)
    raw, faults = yaml.read(_text(path), str(source))
    return _checked(raw, faults, path.absolute().parent)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"There is no configuration file {path}.", "`sensorium init` writes one.") from None
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path} is not UTF-8 text: byte {fault.start} cannot be read.") from None
    except OSError as fault:
        raise ConfigError(f"{path} cannot be read: {fault.strerror or fault}.") from None


def _checked(raw: Any, faults: Faults, folder: Path) -> Spec:
    values, templates = substitute(raw, lambda path, f: faults.add(path, f.problem, f.expected, last=True))
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        faults.add((), f"got {show(values)}", "a mapping with " + one_of(KEYS))
        faults.raise_if_any()
    spec = _Assembly(faults, raw, templates).spec(values, folder)
    faults.raise_if_any()
    assert spec is not None  # without a specification there is a fault
    return spec


class _Assembly:
    """Builds a `Spec` from the values of a configuration, in the order: components, `extends`, the whole."""

    def __init__(self, faults: Faults, written: Any, templates: Mapping[KeyPath, str]) -> None:
        self._faults, self._templates = faults, templates
        self._reading = Reading(faults, written, templates)

    def spec(self, given: Mapping[str, Any], folder: Path) -> Spec | None:
        """The specification, or None when the shape of the whole is wrong."""
        self._unknown(given)
        data = DEFAULTS | {key: value for key, value in given.items() if key in KEYS and value is not None}
        data["prompts"] = prompts.read(data["prompts"], folder, self._faults)
        data = self._with_components(data)
        self._cross_check(data)
        owners: dict[str, dict[str, str]] = {}
        if isinstance(data["pipelines"], Mapping):
            data["pipelines"], owners = self._with_bases(data["pipelines"])
        spec = self._validated(data, owners)
        if spec is None:
            return None
        _show_as_written(spec, self._templates, owners)
        return spec.model_copy(update={"folder": folder})

    def _unknown(self, given: Mapping[str, Any]) -> None:
        for key in given:
            if key not in KEYS:
                close = nearest(key, KEYS)
                self._faults.add((key,), f"unknown key {key!r}", one_of(KEYS), nearest=close, key=True)

    def _with_components(self, data: dict[str, Any]) -> dict[str, Any]:
        data["loaders"], data["readers"] = self._loaders(data["loaders"])
        if isinstance(data["index"], Mapping):
            index: dict[str, Any] = INDEX | {k: v for k, v in data["index"].items() if v is not None or k not in INDEX}
            read = {
                "limits": self._limits(index["limits"]),
                "captions": captions.read(index["captions"], self._reading),
            }
            data["index"] = index | read
        if isinstance(data["pipelines"], Mapping):
            own = DEFAULTS["pipelines"] | {k: {} if v is None else v for k, v in data["pipelines"].items()}
            data["pipelines"] = {
                name: extends.with_defaults(value) if isinstance(value, Mapping) else value
                for name, value in own.items()
            }
        for pattern, registry in _SLOTS:
            providers = embedding_providers() if registry is TEXT_EMBEDDERS else None
            data = replace(
                data, pattern,
                lambda v, path, r=registry, p=providers: self._reading.component(v, path, r, p),  # type: ignore[misc]
            )  # fmt: skip
        return data

    def _loaders(self, given: Any) -> tuple[Any, Any]:
        """Every registered loader with its options, and the readers for other formats."""
        if not isinstance(given, Mapping):
            self._faults.add(("loaders",), f"got {show(given)}", "a mapping of formats to options")
            return {}, {}
        known = [*LOADERS.names(), "readers"]
        for name in given:
            if name not in known:
                where = ("loaders", name)
                self._faults.add(
                    where, f"unknown loader {name!r}", one_of(known), nearest=nearest(name, known), key=True
                )
        loaders = {
            name: self._reading.component({name: given.get(name)}, ("loaders",), LOADERS) for name in LOADERS.names()
        }
        readers = given.get("readers") or {}
        return loaders, readers_.read(readers, self._reading) if isinstance(readers, Mapping) else readers

    def _limits(self, given: Any) -> Any:
        from sensorium.loaders.base import Limits

        path = ("index", "limits")
        if not isinstance(given, Mapping):
            self._faults.add(path, f"got {show(given, self._templates.get(path))}", "a mapping of limits")
            return Limits()
        return Limits(**self._reading.options("limits", given, path, limits_model).options)

    def _with_bases(self, pipelines: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
        whole = {name: value for name, value in pipelines.items() if isinstance(value, Mapping)}
        merged = extends.resolve(whole, self._faults)
        values = {name: merged[name].values if name in merged else pipelines[name] for name in pipelines}
        return values, {name: m.owners for name, m in merged.items()}

    def _validated(self, data: dict[str, Any], owners: Mapping[str, Mapping[str, str]]) -> Spec | None:
        def inherited(path: KeyPath) -> bool:
            if len(path) < 3 or path[0] != "pipelines":
                return False
            name = str(path[1])
            return owners.get(name, {}).get(str(path[2]), name) != name

        def place(loc: KeyPath) -> KeyPath:
            return ("loaders", *loc) if loc[:1] == ("readers",) else loc

        try:
            return Spec.model_validate(data)
        except ValidationError as error:
            Explain(self._faults, self._templates, place, inherited).note(error, Spec, data)
            return None

    def _cross_check(self, data: Mapping[str, Any]) -> None:
        """What no part can see alone: names that refer to other parts. Parts of a wrong shape are skipped."""
        index, pipelines = data["index"], data["pipelines"]
        replace(pipelines, ("*", "route", "*"), lambda router, path: self._targets(path, router, pipelines),
                ("pipelines",))  # fmt: skip
        if not isinstance(index, Mapping):
            return
        ocr = index["ocr"]
        if isinstance(ocr, str) and ocr not in OCR_CHOICES:
            path = ("index", "ocr")
            self._faults.add(path, f"got {show(ocr, self._templates.get(path))}", one_of(OCR_CHOICES),
                             nearest=nearest(ocr, OCR_CHOICES))  # fmt: skip
        spaces = index["spaces"]
        if not isinstance(spaces, Mapping):
            return
        for name in spaces:
            self._space_name(name)
        replace(pipelines, ("*", "retrieve", "*"), lambda leg, path: self._leg_space(path, leg, list(spaces)),
                ("pipelines",))  # fmt: skip

    def _targets(self, path: KeyPath, router: Component, pipelines: Mapping[str, Any]) -> None:
        if router.name not in ROUTERS:
            return
        for inside, name in ROUTERS.entry(router.name).load().named(router.options):  # type: ignore[attr-defined]
            if name not in pipelines:
                self._faults.add((*path, router.name, *inside), f"no pipeline {name!r}", one_of(pipelines),
                                 nearest=nearest(name, pipelines))  # fmt: skip

    def _space_name(self, name: str) -> None:
        path = ("index", "spaces", name)
        if name in RESERVED_SPACES:
            self._faults.add(path, f"the name {name!r} is taken by Sensorium", "another name", key=True)
        elif not _SPACE_NAME.fullmatch(name):
            self._faults.add(path, f"{name!r} is no name of a space", "letters, digits and _, a letter first",
                             key=True)  # fmt: skip

    def _leg_space(self, path: KeyPath, leg: Component, spaces: list[str]) -> None:
        space = leg.options.get("space")
        if space is None or space in spaces or not spaces:
            return
        inside = (*path, leg.name, "space")
        # A leg of the built-in pipeline stands on no line: point at the spaces instead.
        mark = self._faults.marks.find(inside) or self._faults.marks.find(("index", "spaces"), key=True)
        self._faults.add(inside, f"no space {show(space, self._templates.get(inside))} under index.spaces",
                         one_of(spaces), nearest=nearest(space, spaces), mark=mark)  # fmt: skip


def limits_model() -> type[BaseModel]:
    """`Limits` as a model of options, all of them above 0."""
    from sensorium.loaders.base import Limits

    hints = get_type_hints(Limits)
    fields: dict[str, Any] = {
        f.name: (Annotated[hints[f.name], Field(gt=0)], f.default) for f in dataclasses.fields(Limits)
    }
    config = ConfigDict(extra="forbid", validate_default=True)
    return create_model("LimitsOptions", __config__=config, **fields)


def _show_as_written(spec: Spec, templates: Mapping[KeyPath, str], owners: Mapping[str, Mapping[str, str]]) -> None:
    """Let fields outside of components show the environment's values as they were written."""
    for path, text in templates.items():
        target: Any = spec
        for part in path:
            if isinstance(target, Component):
                break
            inner = target.get(part) if isinstance(target, Mapping) else getattr(target, str(part), None)
            if isinstance(target, SpecModel) and not isinstance(inner, SpecModel | Mapping | list):
                target.show(**{str(part): text})
                break
            target = inner
    for name, origin in owners.items():
        for key, owner in origin.items():
            if owner != name and key in spec.pipelines[owner]._shown:
                spec.pipelines[name].show(**{key: spec.pipelines[owner]._shown[key]})


def fingerprint(spec: Spec, loader: str | None = None) -> str:
    """Digest of everything in a configuration that decides which nodes and vectors a source gets.

    The data folder, the store, workers, pipelines and secrets play no part; nor does speech recognition, which only
    recordings depend on (`pipelines._ingest.recordings`).

    Args:
        spec: The configuration.
        loader: Only this loader's options, not those of all of them.

    Returns:
        16 hexadecimal digits.
    """
    names = [loader] if loader else sorted(spec.loaders)
    parts = {
        "loaders": {name: [_version(name), spec.loaders[name].options] for name in names},
        "readers": {suffix: _model(reader) for suffix, reader in spec.readers.items()},
        "split": [spec.index.split.name, spec.index.split.options],
        "spaces": {name: _model(space.embed) for name, space in spec.index.spaces.items()},
        "ocr": spec.index.ocr,
        "limits": spec.index.limits,
    }
    if spec.index.captions is not None:
        parts["captions"] = _captions(spec)
    text = json.dumps(to_jsonable_python(parts, fallback=repr), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _captions(spec: Spec) -> str:
    """Changes with whatever changes the descriptions of pictures: models, prompt, kinds; not with budgets."""
    from sensorium.pipelines.captions import revision

    assert spec.index.captions is not None
    return revision(spec.index.captions.options, spec.prompts)


def _version(name: str) -> int:
    return int(getattr(LOADERS.entry(name).load(), "version", 1))


def _model(component: Component) -> list[Any]:
    return [component.name, {k: v for k, v in component.options.items() if not _SECRET_OPTION.search(k)}]


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the YAML, with every registered component and its options."""
    from sensorium.pipelines._spec.schema import schema

    return schema()


def default_yaml() -> str:
    """A commented configuration that spells out every default; its first line names `config.schema.json`."""
    from sensorium.pipelines._spec.template import template

    return template()


__all__ = [
    "Component", "Fault", "IndexSpec", "PipelineSpec", "SpaceSpec", "Spec", "default_yaml", "fingerprint",
    "json_schema", "load_spec", "mask",
]  # fmt: skip
