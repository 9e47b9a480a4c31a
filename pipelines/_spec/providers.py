"""LlamaIndex's embedding integrations by provider name, as components of the configuration."""

import importlib.util
import re

from sensorium.pipelines._spec.components import Providers


def embedding_providers() -> Providers:
    """Providers that may stand in for a registered embedder: the known ones, and any other that is installed."""
    from sensorium.models.adapters import MODEL, provider_names

    return Providers(tuple(provider_names()), MODEL, _missing_package)


def _missing_package(name: str) -> str | None:
    """The package that a provider lacks; empty when it is there, None when there is no such provider."""
    from sensorium.models.adapters import PROVIDERS, provider_names

    plain = name.strip().replace("-", "_").lower()
    if plain in provider_names() and plain not in PROVIDERS:
        return ""  # another name of a provider, resolved when it is made
    if re.fullmatch(r"[a-z0-9_]+", plain) and _installed(f"llama_index.embeddings.{plain}"):
        return ""
    return PROVIDERS[plain].package if plain in PROVIDERS else None


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
