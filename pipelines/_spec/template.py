"""The commented configuration that `sensorium init` writes: every option with its default."""

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from sensorium.loaders import LOADERS
from sensorium.loaders.base import Limits
from sensorium.models import OCR_ENGINES, SPEECH_ENGINES, TEXT_EMBEDDERS
from sensorium.pipelines import FUSERS, LEGS, QUERY_STEPS, RERANKERS, ROUTERS, SPLITTERS, SYNTHESIZERS
from sensorium.pipelines._spec.describe import descriptions
from sensorium.pipelines._spec.models import Component, IndexSpec, PipelineSpec, Spec
from sensorium.registry import Registry
from sensorium.stores import STORES

_WIDTH = 108
_HEAD = (
    "Sensorium's configuration: every option with its default. Leave out what you do not change. A component is "
    "written as name, {name: value} or {name: {option: value}}. ${VAR} and ${VAR:-default} come from the environment; "
    "`sensorium validate` checks the file."
)
_MORE_PIPELINES = (
    "More pipelines stand beside this one; `extends:` starts from another, and stages that are given replace its: "
    "tables: {extends: default, retrieve: [{keyword: {filters: {kind: table}}}]}"
)


def template() -> str:
    """The text of the file."""
    from sensorium.pipelines.spec import load_spec

    lines = ["# yaml-language-server: $schema=./config.schema.json", *_comment(_HEAD, 0), ""]
    return "\n".join([*lines, *_whole(load_spec({}))]) + "\n"


def _whole(spec: Spec) -> Iterator[str]:
    yield from _entry("data", spec.data, _words(Spec, "data"), 0)
    yield ""
    yield from _role("store", spec.store, STORES, _words(Spec, "store"), 0)
    yield ""
    yield from _comment(_words(Spec, "loaders"), 0)
    yield "loaders:"
    for name, component in spec.loaders.items():
        yield from _comment(LOADERS.entry(name).summary, 2)
        yield from _options(name, component, LOADERS, 2)
    yield from _entry("readers", spec.readers, _words(Spec, "readers"), 2)
    yield ""
    yield from _comment(_words(Spec, "index"), 0)
    yield "index:"
    yield from _index(spec.index)
    yield ""
    yield from _entry("prompts", spec.prompts, _words(Spec, "prompts"), 0)
    yield ""
    yield from _comment(_words(Spec, "pipelines"), 0)
    yield "pipelines:"
    yield from _comment(_MORE_PIPELINES, 2)
    yield "  default:"
    yield from _pipeline(spec.pipelines["default"])


def _index(index: IndexSpec) -> Iterator[str]:
    yield from _role("split", index.split, SPLITTERS, _words(IndexSpec, "split"), 2)
    yield from _comment(_words(IndexSpec, "spaces"), 2)
    yield "  spaces:"
    for name, space in index.spaces.items():
        yield f"    {name}:"
        yield from _role("embed", space.embed, TEXT_EMBEDDERS, "", 6)
    yield from _entry("ocr", index.ocr, _choices(OCR_ENGINES, _words(IndexSpec, "ocr"))[:-1] + "; off.", 2)
    yield from _role("speech", index.speech, SPEECH_ENGINES, _words(IndexSpec, "speech"), 2)
    yield from _captions()
    yield from _comment(_words(IndexSpec, "limits"), 2)
    yield "  limits:"
    words = descriptions(Limits)
    for name, value in asdict(index.limits).items():
        yield from _entry(name, value, words.get(name, ""), 4)
    yield from _entry("workers", index.workers, _words(IndexSpec, "workers"), 2)


def _captions() -> Iterator[str]:
    """Off by default; its options stand in comments."""
    from sensorium.pipelines._spec import captions
    from sensorium.pipelines.captions import Captions

    words = descriptions(Captions)
    yield from _comment(_words(IndexSpec, "captions"), 2)
    yield "  captions: off"
    yield "  # captions:"
    for name, field in captions.options().model_fields.items():
        value = {"openai": "gpt-5-mini"} if field.is_required() else field.default
        yield from (f"  # {line}" for line in _entry(name, value, words.get(name, ""), 2))


def _pipeline(pipeline: PipelineSpec) -> Iterator[str]:
    yield from _list("route", pipeline.route, ROUTERS, 4)
    yield from _list("expand", pipeline.expand, QUERY_STEPS, 4)
    yield from _list("retrieve", pipeline.retrieve, LEGS, 4)
    yield from _role("fuse", pipeline.fuse, FUSERS, _words(PipelineSpec, "fuse"), 4)
    yield from _list("rerank", pipeline.rerank, RERANKERS, 4)
    yield from _role("synthesize", pipeline.synthesize, SYNTHESIZERS, _words(PipelineSpec, "synthesize"), 4)
    yield from _entry("top_k", pipeline.top_k, _words(PipelineSpec, "top_k"), 4)


def _words(model: type[BaseModel], field: str) -> str:
    return model.model_fields[field].description or ""


def _choices(registry: Registry, words: str) -> str:
    listed = "; ".join(f"{entry.name} ({entry.summary})" for entry in registry)
    return f"{words} Known: {listed}.".strip()


def _role(key: str, component: Component, registry: Registry, words: str, indent: int) -> Iterator[str]:
    """A key whose value is one component."""
    yield from _comment(_choices(registry, words), indent)
    if not component.options:
        yield f"{' ' * indent}{key}: {component.name}"
        return
    yield f"{' ' * indent}{key}:"
    yield from _options(component.name, component, registry, indent + 2)


def _list(key: str, components: list[Component], registry: Registry, indent: int) -> Iterator[str]:
    """A key whose value is a list of components, each on lines of its own."""
    yield from _comment(_choices(registry, _words(PipelineSpec, key)), indent)
    if not components:
        yield f"{' ' * indent}{key}: []"
        return
    yield f"{' ' * indent}{key}:"
    for component in components:
        first, *rest = _options(component.name, component, registry, 0)
        yield f"{' ' * (indent + 2)}- {first}"
        yield from (f"{' ' * (indent + 4)}{line}" for line in rest)


def _options(name: str, component: Component, registry: Registry, indent: int) -> Iterator[str]:
    words = descriptions(registry.entry(name).load())
    yield f"{' ' * indent}{name}:" if component.options else f"{' ' * indent}{name}: {{}}"
    for option, value in component.options.items():
        yield from _entry(option, value, words.get(option, ""), indent + 2)


def _entry(key: str, value: Any, words: str, indent: int) -> Iterable[str]:
    line = f"{' ' * indent}{key}: {_value(value)}"
    if words and len(line) + len(words) + 4 <= _WIDTH:
        return [f"{line}  # {words}"]
    return [*_comment(words, indent), line]


def _value(value: Any) -> str:
    plain = to_jsonable_python(value, fallback=str)
    if isinstance(plain, str) and plain and plain.replace("-", "").replace("_", "").isalpha():
        return plain if plain not in ("true", "false", "null") else json.dumps(plain)
    if isinstance(plain, float) and plain.is_integer():
        return str(int(plain))
    if isinstance(plain, Mapping | list) or plain is None or isinstance(plain, bool | int | float):
        return json.dumps(plain, ensure_ascii=False)
    return plain if plain[:1] in (".", "/") and " " not in plain else json.dumps(plain, ensure_ascii=False)


def _comment(words: str, indent: int) -> list[str]:
    if not words:
        return []
    lead = f"{' ' * indent}# "
    return textwrap.wrap(words, _WIDTH, initial_indent=lead, subsequent_indent=lead, break_long_words=False,
                         break_on_hyphens=False)  # fmt: skip
