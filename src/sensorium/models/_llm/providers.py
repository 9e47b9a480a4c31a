"""LlamaIndex's chat LLMs by the name of their provider: `llama_index.llms.NAME`."""

import difflib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.errors import ConfigError, MissingExtraError, SensoriumError
from sensorium.models._integrations import MODEL, Integration, find, installed
from sensorium.models._llm.failures import shown

if TYPE_CHECKING:
    from llama_index.core.llms import LLM

OWN_OPTIONS = ("max_retries", "price", "vision", "sound", "context_window")
"""Options that we read ourselves; `context_window` is passed on where the class knows it."""


@dataclass(frozen=True)
class Provider(Integration):
    """How a chat LLM's integration is called; see also `Integration`.

    Attributes:
        extra: Our extra that installs the package; empty when there is none.
        defaults: Options given to the class unless the user gives them.
        address: The argument without which it would ask another provider's server; empty when there is none.
        file: Whether its model is a file of this machine.
        eyes: The argument without which it takes no pictures; empty when that is not how it is known.
        path: Its module, where it is not `llama_index.llms.NAME`.
        distribution: What to install, where it is not named after the module.
        needs: The module of a package that its own module imports late; found missing before anything runs.
    """

    group = "llms"
    what = "LLM"

    extra: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    address: str = ""
    file: bool = False
    eyes: str = ""
    path: str = ""
    distribution: str = ""
    needs: str = ""

    @property
    def module(self) -> str:
        """The module that has the class."""
        return self.path or super().module

    @property
    def package(self) -> str:
        """What to install."""
        return self.distribution or super().package

    def missing(self, why: str = "") -> MissingExtraError:
        """The error for a package that is not installed."""
        return MissingExtraError(f"The LLM {self.name!r}{why}", self.package, self.extra or None)


# Streams tell their token usage only when asked to.
_COUNTED: dict[str, Any] = {"additional_kwargs": {"stream_options": {"include_usage": True}}}
_COMPATIBLE = _COUNTED | {"is_chat_model": True, "context_window": 32_768, "api_key": "none"}
# Asked for neither, its class fetches both from the network when it is made.
_GEMINI = {"max_tokens": 8192, "context_window": 1_048_576}

PROVIDERS: dict[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider("openai", "OpenAI", "model", "api_key", "OPENAI_API_KEY", extra="openai", defaults=_COUNTED),
        Provider("openai_like", "OpenAILike", "model", extra="openai-like", defaults=_COMPATIBLE, address="api_base"),
        Provider("azure_openai", "AzureOpenAI", "model", "api_key", "AZURE_OPENAI_API_KEY",
                 ("use_azure_ad", "azure_ad_token_provider"), "azure-openai", _COUNTED),
        Provider("anthropic", "Anthropic", "model", "api_key", "ANTHROPIC_API_KEY",
                 ("region", "project_id", "aws_region"), "anthropic", {"max_tokens": 4096, "timeout": 60.0}),
        Provider("google_genai", "GoogleGenAI", "model", "api_key", "GOOGLE_API_KEY", ("vertexai_config",),
                 "gemini", _GEMINI),
        Provider("ollama", "Ollama", "model", extra="ollama",
                 defaults={"context_window": 16_384, "request_timeout": 120.0}),
        # Its class counts attempts and takes no 0.
        Provider("bedrock_converse", "BedrockConverse", "model", extra="bedrock",
                 defaults={"max_tokens": 4096, "max_retries": 1}),
        Provider("mistralai", "MistralAI", "model", "api_key", "MISTRAL_API_KEY"),
        # A file of one's own, in this process.
        Provider("local", "LocalLLM", "model", extra="local", address="model", file=True, eyes="mmproj",
                 path="sensorium.models._llm.local", distribution="xllamacpp", needs="xllamacpp"),
        # Deprecated upstream. Its `complete` sends the prompt twice; we only ask it by `chat`, which does not.
        Provider("openai_multi_modal", "OpenAIMultiModal", "model", "api_key", "OPENAI_API_KEY",
                 extra="openai-multi-modal", defaults=_COUNTED, path="llama_index.multi_modal_llms.openai",
                 distribution="llama-index-multi-modal-llms-openai"),
        *map(
            Provider,
            "ai21 alephalpha anyscale cerebras cleanlab clova cloudflare_ai_gateway cohere dashscope databricks "
            "deepinfra deepseek featherlessai fireworks friendli gaudi groq helicone huggingface huggingface_api ibm "
            "ipex_llm konko litellm llama_api llama_cpp llamafile lmstudio maritalk minimax mlx modelscope nebius "
            "netmind nvidia nvidia_tensorrt nvidia_triton oci_data_science oci_genai octoai openrouter openvino "
            "optimum_intel palm perplexity portkey predibase premai qianfan reka replicate sagemaker_endpoint "
            "sambanovasystems siliconflow text_generation_inference together upstage vertex vllm xinference yi "
            "zhipuai".split(),
        ),
    )
}  # fmt: skip
_WITHOUT_ADDRESS = {
    "openai_like": (
        "The LLM 'openai_like' needs api_base, the address of its server.",
        "For example: {openai_like: {model: NAME, api_base: http://localhost:8000/v1}}.",
    ),
    "local": ("The LLM 'local' needs the file of a model.", "For example: {local: MODEL.gguf}."),
}
OTHER_NAMES = {
    "gemini": "google_genai", "google": "google_genai", "bedrock": "bedrock_converse", "azure": "azure_openai",
    "mistral": "mistralai",
}  # fmt: skip


def llm_provider_names() -> list[str]:
    """Names for suggestions and the schema, the common ones first; other installed ones work as well."""
    return [*PROVIDERS, *OTHER_NAMES]


def provider(name: str) -> Provider:
    """A provider by name.

    Raises:
        ConfigError: there is none, and no installed integration of this name.
    """
    return find(name, Provider, PROVIDERS, OTHER_NAMES)


def require(provider: Provider) -> None:
    """Check that a provider's package is there.

    Raises:
        MissingExtraError: it is not.
    """
    if not installed(provider.needs or provider.module):
        raise provider.missing()


def check_file(provider: Provider, options: Mapping[str, Any]) -> None:
    """Check that the files of a model are there, for a provider whose models are files.

    Raises:
        ConfigError: no file is named, or one is not there or of another format.
    """
    if not provider.file:
        return
    from sensorium.models._llm.gguf import check

    if not options.get(MODEL):
        raise ConfigError(*_WITHOUT_ADDRESS[provider.name])
    for name in (MODEL, provider.eyes):
        if options.get(name):
            check(Path(str(options[name])).expanduser())


def create(provider: Provider, options: Mapping[str, Any]) -> "LLM":
    """Make the LLM, with our own retries in place of the provider's.

    Args:
        provider: Whose.
        options: As in YAML, `OWN_OPTIONS` among them.

    Raises:
        ConfigError: no key, an unknown model, or the class refuses an option.
        MissingExtraError: the package is not installed.
    """
    if provider.address and not options.get(provider.address):
        raise ConfigError(*_WITHOUT_ADDRESS[provider.name])
    require(provider)
    kind = provider.load(_base)
    accepted = _accepted(kind)
    given = {k: v for k, v in options.items() if k not in OWN_OPTIONS or (k == "context_window" and k in accepted)}
    given = {k: v for k, v in provider.defaults.items() if k in accepted} | provider.with_key(given)
    if "max_retries" in accepted:
        given["max_retries"] = provider.defaults.get("max_retries", 0)
    if MODEL in given:
        given = provider.named(given, _MODEL_ARGUMENTS, accepted)
    return _made(provider, kind, given, accepted)


def _made(provider: Provider, kind: type[Any], options: dict[str, Any], accepted: set[str]) -> "LLM":
    provider.check_options(options, accepted)
    try:
        llm: LLM = kind(**options)
        _ = llm.metadata  # unknown models are found out here
    except SensoriumError:
        raise
    except ImportError as error:
        raise provider.missing(f" ({error})") from error
    except Exception as error:  # noqa: BLE001 - each integration raises its own; not chained: it may repeat the key
        raise ConfigError(*_refused(provider, error, options)) from None
    return llm


def _refused(provider: Provider, error: Exception, options: Mapping[str, Any]) -> tuple[str, str]:
    model = str(next((options[name] for name in _MODEL_ARGUMENTS if name in options), ""))
    listed = re.search(r"nknown model .*?\bin:?\s*(.+)", str(error), re.DOTALL)
    if listed:
        near = difflib.get_close_matches(model, re.findall(r"[\w.:-]+", listed[1]), n=3, cutoff=0.5)
        hint = f"Names nearest to it: {', '.join(near)}." if near else ""
        return f"{provider.name} has no model {model!r} that its LlamaIndex package knows.", (
            hint + " For other endpoints, or models newer than the package, use openai_like with api_base."
        ).strip()
    return f"The LLM {provider.name!r} cannot be made: {shown(error, options)}", ""


_MODEL_ARGUMENTS = ("model", "model_name", "model_id", "deployment_name", "engine")


def _accepted(kind: type[Any]) -> set[str]:
    return {*inspect.signature(kind.__init__).parameters, *getattr(kind, "model_fields", ())} - {"self", "kwargs"}


def _base() -> type:
    from llama_index.core.llms import LLM

    return LLM
