"""LlamaIndex's chat LLMs by the name of their provider: `llama_index.llms.NAME`."""

import difflib
import importlib
import importlib.util
import inspect
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sensorium.errors import ConfigError, MissingExtraError
from sensorium.models._llm.failures import shown

if TYPE_CHECKING:
    from llama_index.core.llms import LLM

MODEL = "model"
"""The option that `{provider: value}` sets, whatever the provider's class calls it."""
OWN_OPTIONS = ("max_retries", "price", "vision", "context_window")
"""Options that we read ourselves; `context_window` is passed on where the class knows it."""


@dataclass(frozen=True)
class Provider:
    """How an integration is called.

    Attributes:
        name: Its name in YAML, and of its module in `llama_index.llms`.
        class_name: Its class; found by looking at the module when empty.
        model: The argument that takes the model's name; found by looking at the class when empty.
        key: The argument that takes the key, where it cannot work without one.
        key_variable: The environment variable that the key comes from.
        keyless: Arguments that make a key needless.
        extra: Our extra that installs the package; empty when there is none.
        defaults: Options given to the class unless the user gives them.
        address: The argument without which it would ask another provider's server; empty when there is none.
    """

    name: str
    class_name: str = ""
    model: str = ""
    key: str = ""
    key_variable: str = ""
    keyless: tuple[str, ...] = ()
    extra: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    address: str = ""

    @property
    def module(self) -> str:
        """The module that has the class."""
        return f"llama_index.llms.{self.name}"

    @property
    def package(self) -> str:
        """What to install."""
        return "llama-index-llms-" + self.name.replace("_", "-")


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
    plain = name.strip().replace("-", "_").lower()
    plain = OTHER_NAMES.get(plain, plain)
    if plain in PROVIDERS:
        return PROVIDERS[plain]
    if re.fullmatch(r"[a-z0-9_]+", plain) and _installed(f"llama_index.llms.{plain}"):
        return Provider(plain)
    known = llm_provider_names()
    near = difflib.get_close_matches(plain, known, n=3) or known[:8]
    raise ConfigError(f"Unknown LLM provider {name!r}.", f"Known names nearest to it: {', '.join(near)}.")


def require(provider: Provider) -> None:
    """Check that a provider's package is there.

    Raises:
        MissingExtraError: it is not.
    """
    if not _installed(provider.module):
        raise _missing(provider)


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
        raise ConfigError(
            f"The LLM {provider.name!r} needs {provider.address}, the address of its server.",
            f"For example: {{{provider.name}: {{model: NAME, {provider.address}: http://localhost:8000/v1}}}}.",
        )
    kind = _llm_class(provider)
    accepted = _accepted(kind)
    given = {k: v for k, v in options.items() if k not in OWN_OPTIONS or (k == "context_window" and k in accepted)}
    given = {k: v for k, v in provider.defaults.items() if k in accepted} | _with_key(provider, given)
    if "max_retries" in accepted:
        given["max_retries"] = provider.defaults.get("max_retries", 0)
    return _made(provider, kind, _named(provider, accepted, given), accepted)


def _made(provider: Provider, kind: type[Any], options: dict[str, Any], accepted: set[str]) -> "LLM":
    for name in options:
        near = difflib.get_close_matches(name, accepted, n=1, cutoff=0.8)
        if name not in accepted and near:
            raise ConfigError(f"The LLM {provider.name!r} has no option {name!r}.", f"Did you mean {near[0]!r}?")
    try:
        llm: LLM = kind(**options)
        _ = llm.metadata  # unknown models are found out here
    except ImportError as error:
        raise _missing(provider, f" ({error})") from error
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


def _named(provider: Provider, accepted: set[str], options: dict[str, Any]) -> dict[str, Any]:
    if MODEL not in options:
        return options
    name = provider.model or next((name for name in _MODEL_ARGUMENTS if name in accepted), MODEL)
    return {name if key == MODEL else key: value for key, value in options.items()}


def _accepted(kind: type[Any]) -> set[str]:
    return {*inspect.signature(kind.__init__).parameters, *getattr(kind, "model_fields", ())} - {"self", "kwargs"}


def _missing(provider: Provider, why: str = "") -> MissingExtraError:
    return MissingExtraError(f"The LLM {provider.name!r}{why}", provider.package, provider.extra or None)


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _llm_class(provider: Provider) -> type[Any]:
    require(provider)
    try:
        module = importlib.import_module(provider.module)
    except ImportError as error:
        raise _missing(provider, f" ({error})") from error
    if named := getattr(module, provider.class_name or "-", None):
        return named  # type: ignore[no-any-return]
    return _only_llm(module, provider)


def _only_llm(module: Any, provider: Provider) -> type[Any]:
    from llama_index.core.llms import LLM

    found = [
        value for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, LLM) and value.__module__.startswith(provider.module)
    ]  # fmt: skip
    if len(found) != 1:
        names = ", ".join(cls.__name__ for cls in found) or "none"
        raise ConfigError(f"{provider.module} should have one LLM class; found: {names}.")
    return found[0]


def _with_key(provider: Provider, options: dict[str, Any]) -> dict[str, Any]:
    if not provider.key or any(options.get(name) for name in (provider.key, *provider.keyless)):
        return options
    if key := os.environ.get(provider.key_variable):
        return {**options, provider.key: key}
    raise ConfigError(
        f"The LLM {provider.name!r} needs a key.",
        f"Set the environment variable {provider.key_variable}, or the option {provider.key}.",
    )
