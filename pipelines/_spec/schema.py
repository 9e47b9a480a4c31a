"""The JSON Schema of the YAML, for editors: short forms, registered names, and the options of each component."""

from typing import Any

from pydantic import BaseModel

from sensorium.loaders import LOADERS
from sensorium.models import SPEECH_ENGINES, TEXT_EMBEDDERS
from sensorium.pipelines import FUSERS, LEGS, QUERY_STEPS, RERANKERS, ROUTERS, SPLITTERS, SYNTHESIZERS
from sensorium.pipelines._spec.components import Providers
from sensorium.pipelines._spec.defaults import DEFAULTS, INDEX, PIPELINE
from sensorium.pipelines._spec.describe import descriptions
from sensorium.pipelines._spec.models import IndexSpec, PipelineSpec, Spec
from sensorium.pipelines._spec.providers import embedding_providers
from sensorium.registry import Entry, Registry
from sensorium.stores import STORES

Schema = dict[str, Any]
_LONG = 5_000  # characters
_ENVIRONMENT = {"$ref": "#/$defs/environment"}
_ROLES: dict[str, Registry] = {
    "store": STORES, "splitter": SPLITTERS, "embedder": TEXT_EMBEDDERS, "speech": SPEECH_ENGINES, "leg": LEGS,
    "fusion": FUSERS, "router": ROUTERS, "step": QUERY_STEPS, "reranker": RERANKERS, "synthesizer": SYNTHESIZERS,
}  # fmt: skip


def schema() -> Schema:
    """The schema of a whole configuration."""
    hoisted: Schema = {}
    roles = {
        name: _role(registry, hoisted, embedding_providers() if registry is TEXT_EMBEDDERS else None)
        for name, registry in _ROLES.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Sensorium configuration",
        **_mapping({
            "data": _field(Spec, "data", {"type": "string", "minLength": 1}, DEFAULTS["data"]),
            "store": _field(Spec, "store", _ref("store"), DEFAULTS["store"]),
            "loaders": _field(Spec, "loaders", _loaders(hoisted)),
            "index": _field(Spec, "index", _index(hoisted)),
            "prompts": _field(Spec, "prompts", _prompts()),
            "pipelines": _field(
                Spec, "pipelines", {"type": "object", "additionalProperties": _ref("pipeline")}
            ),
        }),
        "$defs": {
            "environment": {
                "description": "${VAR} or ${VAR:-default}: from the environment",
                "type": "string", "pattern": r"\$\{",
            },
            "pipeline": _pipeline(),
            **roles,
            **hoisted,
        },
    }  # fmt: skip


def _mapping(properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _field(model: type[BaseModel], name: str, rest: Schema, default: Any = None) -> Schema:
    described = {"description": model.model_fields[name].description or "", **rest}
    return described if default is None else {**described, "default": default}


def _index(hoisted: Schema) -> Schema:
    from sensorium.pipelines.spec import OCR_CHOICES, limits_model

    space = _mapping({"embed": _ref("embedder")}) | {"required": ["embed"]}
    spaces = {"type": "object", "minProperties": 1, "additionalProperties": space}
    return _mapping({
        "split": _field(IndexSpec, "split", _ref("splitter"), INDEX["split"]),
        "spaces": _field(IndexSpec, "spaces", spaces, INDEX["spaces"]),
        "captions": _field(IndexSpec, "captions", _captions(hoisted)),
        "ocr": _field(IndexSpec, "ocr", _or_environment({"enum": list(OCR_CHOICES)}), INDEX["ocr"]),
        "speech": _field(IndexSpec, "speech", _ref("speech"), INDEX["speech"]),
        "limits": _field(IndexSpec, "limits", _options(limits_model(), _limit_words(), hoisted)),
        "workers": _field(
            IndexSpec, "workers", _or_environment({"type": "integer", "minimum": 0}), INDEX["workers"]
        ),
    })  # fmt: skip


def _captions(hoisted: Schema) -> Schema:
    from sensorium.pipelines._spec import captions
    from sensorium.pipelines.captions import Captions

    return {"anyOf": [{"enum": ["off", False, None]}, _options(captions.options(), descriptions(Captions), hoisted)]}


def _prompts() -> Schema:
    from sensorium.prompts import names

    texts = {"type": "object", "additionalProperties": {"type": "string"}, "propertyNames": {"enum": names()}}
    return {"anyOf": [{"type": "string"}, {"type": "null"}, texts]}


def _limit_words() -> dict[str, str]:
    from sensorium.loaders.base import Limits

    return descriptions(Limits)


def _pipeline() -> Schema:
    stages: Schema = {
        "route": {"type": "array", "items": _ref("router")},
        "expand": {"type": "array", "items": _ref("step")},
        "retrieve": {"type": "array", "minItems": 1, "items": _ref("leg")},
        "fuse": _ref("fusion"),
        "rerank": {"type": "array", "items": _ref("reranker")},
        "synthesize": _ref("synthesizer"),
        "top_k": _or_environment({"type": "integer", "minimum": 1}),
    }
    properties = {"extends": _field(PipelineSpec, "extends", {"type": "string"})}
    properties |= {name: _field(PipelineSpec, name, s, PIPELINE[name]) for name, s in stages.items()}
    return {"description": (PipelineSpec.__doc__ or "").strip(), **_mapping(properties)}


def _loaders(hoisted: Schema) -> Schema:
    properties: Schema = {}
    for entry in LOADERS:
        options = _options(LOADERS.options(entry.name), descriptions(entry.load()), hoisted)
        properties[entry.name] = {"description": entry.summary, **options}
    one = {"minProperties": 1, "maxProperties": 1, "additionalProperties": {"type": ["object", "null"]}}
    either = {"oneOf": [{"type": "string"}, {"type": "object", **one}]}
    readers = {"type": "object", "additionalProperties": either, "propertyNames": {"pattern": r"^\."}}
    return _mapping(properties | {"readers": _field(Spec, "readers", readers)})


def _role(registry: Registry, hoisted: Schema, providers: Providers | None) -> Schema:
    names = [{"const": entry.name, "description": entry.summary} for entry in registry]
    long = _mapping({entry.name: _long_form(registry, entry, hoisted) for entry in registry})
    if providers:
        names += [{"const": name, "description": f"LlamaIndex's {name} embeddings"} for name in providers.names]
        long["properties"] |= {name: {"type": ["string", "object", "null"]} for name in providers.names}
    return {
        "description": f"{registry.role}: name, {{name: value}} or {{name: {{option: value}}}}",
        "anyOf": [*names, _ENVIRONMENT, {**long, "minProperties": 1, "maxProperties": 1}],
    }


def _long_form(registry: Registry, entry: Entry, hoisted: Schema) -> Schema:
    options = _options(registry.options(entry.name), descriptions(entry.load()), hoisted)
    forms = [options, {"type": "null"}]
    if entry.value_option:
        forms.insert(0, options["properties"][entry.value_option])
    return {"description": entry.summary, "anyOf": forms}


def _options(model: type[BaseModel], words: dict[str, str], hoisted: Schema) -> Schema:
    """Schema of a component's options; definitions that it needs are hoisted to the top."""
    made = model.model_json_schema()
    hoisted |= {name: _tidied(inner) for name, inner in made.get("$defs", {}).items()}
    properties = {name: _tidied(inner) for name, inner in made.get("properties", {}).items()}
    for name, inner in properties.items():
        described: Schema = {"description": words[name]} if words.get(name) else {}
        properties[name] = described | _once(name, inner, hoisted)
    result = _mapping(properties)
    return result | {"required": made["required"]} if made.get("required") else result


def _once(name: str, part: Schema, hoisted: Schema) -> Schema:
    """A long option that several components share (the choice of an LLM) stands once, under its name."""
    own: Schema = {key: part[key] for key in ("description", "default") if key in part}
    shared = {key: value for key, value in part.items() if key not in own}
    if len(str(shared)) < _LONG or hoisted.setdefault(name, shared) != shared:
        return part
    return {**_ref(name), **own}


def _tidied(part: Any) -> Any:
    """Without pydantic's titles; numbers, switches and choices may also come from the environment."""
    if isinstance(part, list):
        return [_tidied(item) for item in part]
    if not isinstance(part, dict):
        return part
    tidy = {key: _tidied(value) for key, value in part.items() if key != "title" or isinstance(value, dict)}
    if tidy.get("type") in ("integer", "number", "boolean") or ("enum" in tidy):
        return _or_environment(tidy)
    return tidy


def _or_environment(part: Schema) -> Schema:
    outer: Schema = {key: part[key] for key in ("description", "default") if key in part}
    inner = {key: value for key, value in part.items() if key not in outer}
    return {**outer, "anyOf": [inner, _ENVIRONMENT]}
