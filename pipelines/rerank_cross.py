"""Cross-encoders that read question and passage together, on this machine: by fastembed or flashrank."""

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from llama_index.core.schema import NodeWithScore
from pydantic import AfterValidator, Field, PrivateAttr

from sensorium.errors import ConfigError, MissingExtraError, ModelError, SensoriumError
from sensorium.nodes import embedding_text
from sensorium.pipelines.rerank import Reranked, Reranker

Scorer = Callable[[str, Sequence[str]], Sequence[float]]
"""Scores of passages for a question, higher is better."""


def _folder(path: str | None) -> str | None:
    if path is not None and not Path(path).expanduser().is_dir():
        raise ValueError(f"there is no folder {path!r}")
    return path


Folder = Annotated[str | None, AfterValidator(_folder)]
Hits = Annotated[int, Field(ge=2, le=200)]


class CrossEncoder(Reranker):
    """Base: scores the best hits; those behind keep their places."""

    _hits: int = PrivateAttr()
    _name: str = PrivateAttr()
    _scorer: Scorer | None = PrivateAttr(default=None)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    def __init__(self, name: str, hits: int) -> None:
        super().__init__()
        self._name, self._hits = name, hits

    @abstractmethod
    def load(self) -> Scorer:
        """Load the weights.

        Raises:
            MissingExtraError: the package is not installed.
            ModelError: the weights are not there.
        """

    def rank(self, nodes: list[NodeWithScore], question: str) -> Reranked:
        """See `Reranker.rank`.

        Raises:
            MissingExtraError, ModelError: it cannot be loaded or run. Unlike a provider that is down this does not
                pass by itself, so it is no reason to go on without.
        """
        started = time.perf_counter()
        if not nodes:
            return Reranked(nodes)
        shown, rest = nodes[: self._hits], nodes[self._hits :]
        with self._lock:  # loading is not safe from several threads
            self._scorer = self._scorer or self.load()
        try:
            scores = [float(s) for s in self._scorer(question, [embedding_text(n.node) or " " for n in shown])]
        except Exception as error:  # each package raises its own
            raise ModelError(f"The reranker {self._name} failed: {type(error).__name__}: {error}") from error
        order = sorted(range(len(shown)), key=lambda at: (-scores[at], at))
        lowest = min(scores)
        # What was not read stands behind all that was.
        best = [NodeWithScore(node=shown[at].node, score=scores[at]) for at in order]
        behind = [NodeWithScore(node=n.node, score=lowest) for n in rest]
        return Reranked([*best, *behind], {"reranker": self._name, "seconds": time.perf_counter() - started})


class FastembedRerank(CrossEncoder):
    """A cross-encoder of fastembed (`pip install fastembed`); its weights are fetched once unless `path` has them.

    Args:
        model: One of `fastembed.rerank.cross_encoder.TextCrossEncoder.list_supported_models()`.
        path: Folder with the model's files, so that nothing is fetched.
        cache: Folder that fetched models are kept in.
        hits: How many of the best hits are read.
        threads: Of one run; 0: as many as there are cores.
    """

    _options: dict[str, Any] = PrivateAttr()

    def __init__(
        self, model: str = "Xenova/ms-marco-MiniLM-L-6-v2", path: Folder = None, cache: str | None = None,
        hits: Hits = 30, threads: Annotated[int, Field(ge=0)] = 0,
    ) -> None:  # fmt: skip
        super().__init__("fastembed", hits)
        self._options = {
            "model_name": model, "cache_dir": cache, "threads": threads or None,
            "specific_model_path": path and str(Path(path).expanduser()),
        }  # fmt: skip

    @classmethod
    def class_name(cls) -> str:
        """For LlamaIndex's serialisers."""
        return "FastembedRerank"

    def load(self) -> Scorer:
        """See `CrossEncoder.load`."""
        try:
            from fastembed.rerank.cross_encoder import TextCrossEncoder
        except ImportError as fault:
            raise MissingExtraError("The reranker 'fastembed'", "fastembed") from fault
        model = _loaded("fastembed", lambda: TextCrossEncoder(**self._options))
        return lambda question, texts: list(model.rerank(question, list(texts)))


class FlashrankRerank(CrossEncoder):
    """A cross-encoder of flashrank (`pip install flashrank`); its weights are fetched once unless `path` has them.

    Args:
        model: Its name in flashrank.
        path: Folder that has a folder of the model's name with its files, or gets one.
        hits: How many of the best hits are read.
        max_length: Tokens of question and passage together; the rest is cut.
    """

    _options: dict[str, Any] = PrivateAttr()

    def __init__(
        self, model: str = "ms-marco-TinyBERT-L-2-v2", path: str | None = None, hits: Hits = 30,
        max_length: Annotated[int, Field(ge=16, le=8192)] = 512,
    ) -> None:  # fmt: skip
        super().__init__("flashrank", hits)
        folder = str(Path(path).expanduser()) if path else str(Path.home() / ".cache" / "flashrank")
        self._options = {"model_name": model, "cache_dir": folder, "max_length": max_length}

    @classmethod
    def class_name(cls) -> str:
        """For LlamaIndex's serialisers."""
        return "FlashrankRerank"

    def load(self) -> Scorer:
        """See `CrossEncoder.load`."""
        try:
            from flashrank import Ranker, RerankRequest
            from flashrank.Config import model_file_map
        except ImportError as fault:
            raise MissingExtraError("The reranker 'flashrank'", "flashrank") from fault
        if self._options["model_name"] not in model_file_map:
            known = ", ".join(model_file_map)
            raise ConfigError(f"flashrank has no model {self._options['model_name']!r}.", f"Known: {known}.")
        model = _loaded("flashrank", lambda: Ranker(**self._options, log_level="WARNING"))

        def scores(question: str, texts: Sequence[str]) -> list[float]:
            passages = [{"id": at, "text": text} for at, text in enumerate(texts)]
            found = {one["id"]: float(one["score"]) for one in model.rerank(RerankRequest(question, passages))}
            return [found[at] for at in range(len(texts))]

        return scores


def _loaded(name: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except SensoriumError:
        raise
    except Exception as error:  # a download that fails, a folder without the files: each its own
        why = f"{type(error).__name__}: {str(error)[:300]}"
        raise ModelError(
            f"The reranker {name} cannot be loaded: {why}",
            "Without a connection, name the folder that has the model's files: `path:`.",
        ) from error


__all__ = ["CrossEncoder", "FastembedRerank", "FlashrankRerank"]
