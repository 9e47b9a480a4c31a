"""Multimodal RAG on LlamaIndex and Weaviate.

```python
import sensorium

kb = sensorium.open(data="kb")
kb.index("documents/")
print(kb.ask("How many ducks were counted in 2021?"))
```

Names are imported when they are used, so that `import sensorium` and the command line start fast.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# onnxruntime sends telemetry by default and only listens to this variable, before its first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sensorium.errors import (
        ConfigError,
        EvidenceError,
        LoadError,
        MissingExtraError,
        QueryError,
        SensoriumError,
        StoreError,
    )
    from sensorium.knowledge_base import KnowledgeBase, open
    from sensorium.nodes import Evidence
    from sensorium.pipelines.results import Answer, Citation, Hit

_ERRORS = (
    "ConfigError",
    "EvidenceError",
    "LoadError",
    "MissingExtraError",
    "QueryError",
    "SensoriumError",
    "StoreError",
)
_HOMES = {
    "open": "knowledge_base", "KnowledgeBase": "knowledge_base", "Evidence": "nodes",
    "Answer": "pipelines.results", "Citation": "pipelines.results", "Hit": "pipelines.results",
    **dict.fromkeys(_ERRORS, "errors"),
}  # fmt: skip

__all__ = [
    "Answer", "Citation", "ConfigError", "Evidence", "EvidenceError", "Hit", "KnowledgeBase", "LoadError",
    "MissingExtraError", "QueryError", "SensoriumError", "StoreError", "open",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sensorium' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sensorium.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
