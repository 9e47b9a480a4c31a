"""Rerankers: LlamaIndex node postprocessors, by name."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from llama_index.core.postprocessor.types import BaseNodePostprocessor

from sensorium.errors import ConfigError, MissingExtraError


def Postprocessor(name: str, options: dict[str, Any] | None = None) -> BaseNodePostprocessor:  # noqa: N802
    """A LlamaIndex postprocessor.

    Args:
        name: A class of `llama_index.core.postprocessor` ("SimilarityPostprocessor"), or
            "package.module.ClassName" of an installed integration.
        options: Its keyword arguments.

    Raises:
        MissingExtraError: the integration is not installed.
        ConfigError: there is no such class, or it refuses its options.
    """
    module_name, _, class_name = f"llama_index.core.postprocessor.{name}".rpartition(".")
    if "." in name:
        module_name, _, class_name = name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as fault:
        raise MissingExtraError(f"The reranker {name!r}", module_name.replace(".", "-").replace("_", "-")) from fault
    kind = getattr(module, class_name, None)
    if not (isinstance(kind, type) and issubclass(kind, BaseNodePostprocessor)):
        raise ConfigError(f"{name!r} is no LlamaIndex node postprocessor.")
    _check_options(kind, options or {})
    try:
        return kind(**(options or {}))
    except (TypeError, ValueError) as fault:
        raise ConfigError(f"The reranker {name!r} refuses its options: {fault}") from fault


def _check_options(kind: type[BaseNodePostprocessor], options: Mapping[str, Any]) -> None:
    """A misspelt option would be dropped: most of these classes ignore what they do not know."""
    parameters = inspect.signature(kind).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    unknown = [option for option in options if option not in parameters]
    if unknown:
        raise ConfigError(
            f"The reranker {kind.__name__!r} has no option {unknown[0]!r}.", f"It has: {', '.join(parameters)}."
        )
