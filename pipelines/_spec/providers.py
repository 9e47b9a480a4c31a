"""LlamaIndex's embedding integrations by provider name, as components of the configuration."""

from sensorium.errors import ConfigError
from sensorium.pipelines._spec.components import Providers


def embedding_providers() -> Providers:
    """Providers that may stand in for a registered embedder: the known ones, and any other that is installed."""
    from sensorium.models._integrations import MODEL
    from sensorium.models.adapters import provider_names

    return Providers(tuple(provider_names()), MODEL, _missing_package)


def _missing_package(name: str) -> str | None:
    """The package that a provider lacks; empty when it is there, None when there is no such provider."""
    from sensorium.models._integrations import find, installed
    from sensorium.models.adapters import OTHER_NAMES, PROVIDERS, Provider

    try:
        provider = find(name, Provider, PROVIDERS, OTHER_NAMES)
    except ConfigError:
        return None
    if provider.name != name.strip().replace("-", "_").lower():
        return ""  # another name of a provider, resolved when it is made
    return "" if installed(provider.module) else provider.package
