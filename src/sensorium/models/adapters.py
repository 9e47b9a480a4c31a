"""Text embedders by name: the bundled ones, and LlamaIndex's integrations by the name of their provider.

`{openai: text-embedding-3-large}` needs the package `llama-index-embeddings-openai`, and nothing else here knows of
it: a provider is the module `llama_index.embeddings.NAME`, as all of LlamaIndex's integrations are laid out.
"""

import difflib
import importlib
import importlib.util
import inspect
import os
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.errors import ConfigError, MissingExtraError, ModelError, SensoriumError
from sensorium.models import TEXT_EMBEDDERS
from sensorium.models.base import Matrix

if TYPE_CHECKING:
    from llama_index.core.base.embeddings.base import BaseEmbedding

MODEL = "model"
"""The option that `{provider: value}` sets, whatever the provider's class calls it."""

_MODEL_ARGUMENTS = ("model_name", "model", "model_id", "deployment_name")
_SECRET = re.compile(r"key|token|secret|password|credential|auth", re.IGNORECASE)


@dataclass(frozen=True)
class Provider:
    """How an integration is called.

    Attributes:
        name: Its name in YAML, and of its module in `llama_index.embeddings`.
        class_name: Its class; found by looking at the module when empty.
        model: The argument that takes the model's name; found by looking at the class when empty.
        key: The argument that takes the key, where it cannot work without one.
        key_variable: The environment variable that the key comes from.
        keyless: Arguments that make a key needless, such as the address of one's own server.
    """

    name: str
    class_name: str = ""
    model: str = ""
    key: str = ""
    key_variable: str = ""
    keyless: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """The module that has the class."""
        return f"llama_index.embeddings.{self.name}"

    @property
    def package(self) -> str:
        """What to install."""
        return "llama-index-embeddings-" + self.name.replace("_", "-")


PROVIDERS: dict[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider(
            "azure_openai", "AzureOpenAIEmbedding", "model_name", "api_key", "AZURE_OPENAI_API_KEY", ("use_azure_ad",)
        ),
        Provider("bedrock", "BedrockEmbedding", "model_name"),
        Provider("cohere", "CohereEmbedding", "model_name", "api_key", "COHERE_API_KEY"),
        Provider("fastembed", "FastEmbedEmbedding", "model_name"),
        Provider(
            "google_genai", "GoogleGenAIEmbedding", "model_name", "api_key", "GOOGLE_API_KEY", ("vertexai_config",)
        ),
        Provider("huggingface", "HuggingFaceEmbedding", "model_name"),
        Provider("huggingface_api", "HuggingFaceInferenceAPIEmbedding", "model_name"),
        Provider("jinaai", "JinaEmbedding", "model", "api_key", "JINAAI_API_KEY"),
        Provider("mistralai", "MistralAIEmbedding", "model_name", "api_key", "MISTRAL_API_KEY"),
        Provider("mixedbreadai", "MixedbreadAIEmbedding", "model_name", "api_key", "MXBAI_API_KEY"),
        Provider("nvidia", "NVIDIAEmbedding", "model", "api_key", "NVIDIA_API_KEY", ("nvidia_api_key", "base_url")),
        Provider("ollama", "OllamaEmbedding", "model_name"),
        Provider("openai", "OpenAIEmbedding", "model_name", "api_key", "OPENAI_API_KEY"),
        Provider("openai_like", "OpenAILikeEmbedding", "model_name"),
        Provider("voyageai", "VoyageEmbedding", "model_name", "voyage_api_key", "VOYAGE_API_KEY"),
        *map(
            Provider,
            "alibabacloud_aisearch anyscale azure_inference baseten clarifai cloudflare_workersai dashscope "
            "databricks deepinfra elasticsearch fireworks gaudi gigachat heroku huggingface_optimum_intel ibm "
            "instructor isaacus litellm llamafile modelscope nebius netmind nomic oci_data_science oci_genai opea "
            "openvino openvino_genai oracleai premai sagemaker_endpoint siliconflow text_embeddings_inference "
            "textembed together upstage vertex vertex_endpoint vllm xinference yandexgpt zhipuai".split(),
        ),
    )
}
_OTHER_NAMES = {"gemini": "google_genai", "google": "google_genai", "mistral": "mistralai", "jina": "jinaai"}
_OTHER_NAMES |= {"mixedbread": "mixedbreadai", "voyage": "voyageai", "azure": "azure_openai"}


def provider_names() -> list[str]:
    """Names of LlamaIndex's providers, for suggestions; other installed ones work as well."""
    return [*PROVIDERS, *_OTHER_NAMES]


def text_embedder(spec: tuple[str, Mapping[str, Any] | str | None], threads: int = 0) -> "BaseEmbedding":
    """Make the embedder that YAML names.

    Args:
        spec: A name and options: a mapping, or only the name of a model, or nothing.
        threads: How many texts a bundled model embeds at once; 0 means as many as there are cores.

    Raises:
        ConfigError: the name is unknown, an option is wrong or a key is missing.
        MissingExtraError: the provider's package is not installed.
    """
    name, given = spec
    options = {MODEL: given} if isinstance(given, str) else dict(given or {})
    if name in TEXT_EMBEDDERS:
        return _bundled(name, options, threads)
    provider = _provider(name)
    options = _with_key(provider, options)
    return _create(provider, _embedding_class(provider), options)


def revision(embedder: "BaseEmbedding") -> str:
    """What changes whenever the vectors of an embedder may change; part of cache keys and of an index's settings."""
    from sensorium.models.text import BundledEmbedding

    if isinstance(embedder, BundledEmbedding):
        return embedder.facts().revision
    name = getattr(embedder, "model", None) or embedder.model_name
    parts = [embedder.class_name(), str(name)]
    for option in ("dimensions", "azure_deployment", "query_instruction", "text_instruction"):
        if (value := getattr(embedder, option, None)) is not None:
            parts.append(f"{option}={value}")
    return "/".join(parts)


def dimension(embedder: "BaseEmbedding") -> int:
    """Length of an embedder's vectors: known, set as an option, or else found by embedding one word.

    Raises:
        ModelError: the word could not be embedded.
    """
    from sensorium.models.text import BundledEmbedding

    known = embedder.facts().dimension if isinstance(embedder, BundledEmbedding) else None
    for value in (known, getattr(embedder, "dimensions", None)):
        if isinstance(value, int) and value > 0:
            return value
    return int(embed(embedder, ["dimension"]).shape[1])


def embed(embedder: "BaseEmbedding", texts: Sequence[str]) -> Matrix:
    """Vectors of passages by any embedder, float32 (n, d).

    Raises:
        ModelError: the embedder failed, or did not return one finite vector a text.
    """
    name = type(embedder).__name__
    try:
        vectors = np.array(embedder.get_text_embedding_batch(list(texts)), np.float32)
    except SensoriumError:
        raise
    except Exception as error:  # noqa: BLE001 - each integration raises its own
        # Not chained: the original may repeat a key.
        raise ModelError(f"{name} failed to embed {len(texts)} texts: {redacted(error, vars(embedder))}") from None
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise ModelError(f"{name} did not return one finite vector for each text.")
    return vectors


def redacted(error: BaseException, options: Mapping[str, Any]) -> str:
    """An error in words, without the values of options that are keys, tokens and the like."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):  # its own words repeat the input
        faults = error.errors(include_input=False, include_url=False)
        words = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
    else:
        words = f"{type(error).__name__}: {error}"
    for secret in _secrets(options):
        words = words.replace(secret, "***")
    return words


def _secrets(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secrets(value)
        elif _SECRET.search(name) and isinstance(value, str) and len(value) > 3:
            yield value


def _bundled(name: str, options: dict[str, Any], threads: int) -> "BaseEmbedding":
    from pydantic import ValidationError

    try:
        TEXT_EMBEDDERS.options(name).model_validate(options)
    except ValidationError as error:
        raise ConfigError(f"The text embedder {name!r}: {redacted(error, options)}") from None
    embedder: BaseEmbedding = TEXT_EMBEDDERS.create(name, options, threads=threads)
    return embedder


def _provider(name: str) -> Provider:
    plain = name.strip().replace("-", "_").lower()
    plain = _OTHER_NAMES.get(plain, plain)
    if plain in PROVIDERS:
        return PROVIDERS[plain]
    if re.fullmatch(r"[a-z0-9_]+", plain) and _installed(f"llama_index.embeddings.{plain}"):
        return Provider(plain)
    known = [*TEXT_EMBEDDERS.names(), *provider_names()]
    near = difflib.get_close_matches(plain, known, n=3) or known
    raise ConfigError(f"Unknown text embedder {name!r}.", f"Known names nearest to it: {', '.join(near)}.")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _embedding_class(provider: Provider) -> type[Any]:
    """Import the provider's class.

    Raises:
        MissingExtraError: the package, or one that it needs, is not installed.
    """
    what = f"The text embedder {provider.name!r}"
    if not _installed(provider.module):
        raise MissingExtraError(what, provider.package)
    try:
        module = importlib.import_module(provider.module)
    except ImportError as error:
        raise MissingExtraError(f"{what} ({error})", provider.package) from error
    if named := getattr(module, provider.class_name, None):
        return named  # type: ignore[no-any-return]
    return _only_embedding(module, provider)


def _only_embedding(module: Any, provider: Provider) -> type[Any]:
    from llama_index.core.base.embeddings.base import BaseEmbedding

    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, BaseEmbedding) and value.__module__.startswith(provider.module)
    ]
    if len(found) != 1:
        names = ", ".join(cls.__name__ for cls in found) or "none"
        raise ConfigError(f"{provider.module} should have one embedding class; found: {names}.")
    return found[0]


def _with_key(provider: Provider, options: dict[str, Any]) -> dict[str, Any]:
    """Options with the key from the environment where they have none.

    Raises:
        ConfigError: there is no key.
    """
    if not provider.key or any(options.get(name) for name in (provider.key, *provider.keyless)):
        return options
    if key := os.environ.get(provider.key_variable):
        return {**options, provider.key: key}
    raise ConfigError(
        f"The text embedder {provider.name!r} needs a key.", f"Set the environment variable {provider.key_variable}."
    )


def _model_argument(names: Container[str]) -> str | None:
    return next((name for name in _MODEL_ARGUMENTS if name in names), None)


def _create(provider: Provider, embedding: type[Any], options: dict[str, Any]) -> "BaseEmbedding":
    """Call the class with its own argument names.

    Raises:
        ConfigError: the class refuses the options, or one looks misspelt.
    """
    own = inspect.signature(embedding.__init__).parameters  # the class's own signature lists fields too
    accepted = {*own, *embedding.model_fields}
    if MODEL in options:
        argument = provider.model or _model_argument(own) or _model_argument(accepted) or MODEL
        options = {argument if name == MODEL else name: value for name, value in options.items()}
    for name in options:
        # Classes swallow what they do not know; some hand it on, so that only a near miss is certainly wrong.
        near = difflib.get_close_matches(name, accepted, n=1, cutoff=0.8)
        if name not in accepted and near:
            raise ConfigError(f"{provider.name} has no option {name!r}.", f"Did you mean {near[0]!r}?")
    try:
        embedder: BaseEmbedding = embedding(**options)
    except ImportError as error:
        raise MissingExtraError(f"The text embedder {provider.name!r} ({error})", provider.package) from error
    except Exception as error:  # noqa: BLE001 - each integration raises its own
        # Not chained: the original may repeat the key.
        raise ConfigError(f"The text embedder {provider.name!r} cannot be made: {redacted(error, options)}") from None
    return embedder
