"""Text embedders by name: the bundled ones, and LlamaIndex's integrations by the name of their provider.

`{openai: text-embedding-3-large}` needs the package `llama-index-embeddings-openai`, and nothing else here knows of
it: a provider is the module `llama_index.embeddings.NAME`, as all of LlamaIndex's integrations are laid out.
"""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.errors import ConfigError, ModelError, SensoriumError
from sensorium.models import TEXT_EMBEDDERS
from sensorium.models._integrations import MODEL, Integration, find
from sensorium.models.base import Matrix

if TYPE_CHECKING:
    from llama_index.core.base.embeddings.base import BaseEmbedding

_MODEL_ARGUMENTS = ("model_name", "model", "model_id", "deployment_name")
_SECRET = re.compile(r"key|token|secret|password|credential|auth", re.IGNORECASE)


class Provider(Integration):
    """How an embedding integration is called."""

    group = "embeddings"
    what = "text embedder"


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
OTHER_NAMES = {"gemini": "google_genai", "google": "google_genai", "mistral": "mistralai", "jina": "jinaai"}
OTHER_NAMES |= {"mixedbread": "mixedbreadai", "voyage": "voyageai", "azure": "azure_openai"}


def provider_names() -> list[str]:
    """Names of LlamaIndex's providers, for suggestions; other installed ones work as well."""
    return [*PROVIDERS, *OTHER_NAMES]


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
    provider = find(name, Provider, PROVIDERS, OTHER_NAMES, TEXT_EMBEDDERS.names())
    return _create(provider, provider.load(_base), provider.with_key(options))


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


def _base() -> type:
    from llama_index.core.base.embeddings.base import BaseEmbedding

    return BaseEmbedding


def _create(provider: Provider, embedding: type[Any], options: dict[str, Any]) -> "BaseEmbedding":
    """Call the class with its own argument names.

    Raises:
        ConfigError: the class refuses the options, or one looks misspelt.
    """
    own = inspect.signature(embedding.__init__).parameters  # the class's own signature lists fields too
    accepted = {*own, *embedding.model_fields}
    if MODEL in options:
        preferred = own if any(name in own for name in _MODEL_ARGUMENTS) else accepted
        options = provider.named(options, _MODEL_ARGUMENTS, preferred)
    provider.check_options(options, accepted)
    try:
        embedder: BaseEmbedding = embedding(**options)
    except ImportError as error:
        raise provider.missing(f" ({error})") from error
    except Exception as error:  # noqa: BLE001 - each integration raises its own
        # Not chained: the original may repeat the key.
        raise ConfigError(f"The text embedder {provider.name!r} cannot be made: {redacted(error, options)}") from None
    return embedder
