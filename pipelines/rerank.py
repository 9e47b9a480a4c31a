"""Rerankers: what reorders the fused hits. LlamaIndex node postprocessors, by name, and our own with a trace."""

import importlib
import inspect
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from pydantic import AfterValidator, ValidationInfo

from sensorium.errors import ConfigError, MissingExtraError


@dataclass(frozen=True)
class Reranked:
    """Hits in their new order, best first, how it was found, and what a reader should know."""

    nodes: list[NodeWithScore]
    trace: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Reranker(BaseNodePostprocessor):
    """A LlamaIndex postprocessor that also tells what it did. To write: `rank`."""

    @abstractmethod
    def rank(self, nodes: list[NodeWithScore], question: str) -> Reranked:
        """Reorder hits; their scores are replaced by those of the reranker."""

    async def arank(self, nodes: list[NodeWithScore], question: str) -> Reranked:
        """`rank`, without blocking the event loop."""
        import asyncio

        return await asyncio.to_thread(self.rank, nodes, question)

    def close(self) -> None:
        """Free what a model holds in this process."""

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return self.rank(nodes, _question(query_bundle)).nodes

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return (await self.arank(nodes, _question(query_bundle))).nodes


def rerank(postprocessor: BaseNodePostprocessor, nodes: list[NodeWithScore], question: str) -> Reranked:
    """Run a reranker of any kind."""
    if isinstance(postprocessor, Reranker):
        return postprocessor.rank(nodes, question)
    return Reranked(postprocessor.postprocess_nodes(nodes, QueryBundle(question)))


async def arerank(postprocessor: BaseNodePostprocessor, nodes: list[NodeWithScore], question: str) -> Reranked:
    """`rerank`, without blocking the event loop."""
    if isinstance(postprocessor, Reranker):
        return await postprocessor.arank(nodes, question)
    return Reranked(await postprocessor.apostprocess_nodes(nodes, QueryBundle(question)))


def _question(query: QueryBundle | None) -> str:
    if query is None:
        raise ValueError("A reranker needs the question: postprocess_nodes(nodes, query_str=...).")
    return query.query_str


def _checked_name(name: str) -> str:
    """A fault of the configuration when there is no such class: found out before anything runs."""
    try:
        _class(name)
    except (ConfigError, MissingExtraError) as fault:
        raise ValueError(str(fault)) from None
    return name


def _checked_options(options: dict[str, Any] | None, info: ValidationInfo) -> dict[str, Any] | None:
    if "name" in info.data:
        try:
            check_postprocessor(info.data["name"], options or {})
        except ConfigError as fault:
            raise ValueError(str(fault)) from None
    return options


def Postprocessor(  # noqa: N802
    name: Annotated[str, AfterValidator(_checked_name)],
    options: Annotated[dict[str, Any] | None, AfterValidator(_checked_options)] = None,
) -> BaseNodePostprocessor:
    """A LlamaIndex postprocessor.

    Args:
        name: A class of `llama_index.core.postprocessor` ("SimilarityPostprocessor"), or
            "package.module.ClassName" of an installed integration.
        options: Its keyword arguments.

    Raises:
        MissingExtraError: the integration is not installed.
        ConfigError: there is no such class, or it refuses its options.
    """
    kind = _class(name)
    check_postprocessor(name, options or {})
    try:
        return kind(**(options or {}))
    except ImportError as fault:
        raise MissingExtraError(f"The reranker {name!r} ({fault})", _package(kind.__module__)) from fault
    except (TypeError, ValueError) as fault:
        raise ConfigError(f"The reranker {name!r} refuses its options: {fault}") from fault


def check_postprocessor(name: str, options: Mapping[str, Any]) -> None:
    """Look for misspelt options, which would be dropped: most of these classes ignore what they do not know.

    Raises:
        ConfigError: the class has no such option.
    """
    from difflib import get_close_matches

    kind = _class(name)
    parameters = inspect.signature(kind).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for option in options:
        if option not in parameters:
            near = get_close_matches(option, parameters, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(parameters)}."
            raise ConfigError(f"The reranker {kind.__name__!r} has no option {option!r}.", hint)


def _class(name: str) -> type[BaseNodePostprocessor]:
    from difflib import get_close_matches

    module_name, _, class_name = f"llama_index.core.postprocessor.{name}".rpartition(".")
    if "." in name:
        module_name, _, class_name = name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as fault:
        raise MissingExtraError(f"The reranker {name!r} ({fault})", _package(module_name)) from fault
    kind = getattr(module, class_name, None)
    if isinstance(kind, type) and issubclass(kind, BaseNodePostprocessor):
        return kind
    known = [n for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, BaseNodePostprocessor)]
    near = get_close_matches(class_name, known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"{module_name} has: {', '.join(sorted(known)) or 'none'}."
    raise ConfigError(f"{name!r} is no LlamaIndex node postprocessor.", hint)


def _package(module: str) -> str:
    """What to install for a module of LlamaIndex's integrations; else its first name."""
    parts = module.replace("_", "-").split(".")
    return "-".join(parts[:3]) if parts[0] == "llama-index" else parts[0]
