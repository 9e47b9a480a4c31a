"""LlamaIndex's node classes without the rest of LlamaIndex, for processes that only read files.

`import llama_index.core.schema` runs the package's `__init__`, which imports every index, agent and database
driver: four fifths of a worker's start-up. Here the package is entered without running it; the first use of
anything that it would have defined runs it after all, so readers of other packages work as always.
"""

import importlib.util
import sys
from types import ModuleType
from typing import Any

_PACKAGE = "llama_index.core"


def install() -> None:
    """Enter LlamaIndex's core into this process without running it. Harmless when it runs already."""
    if _PACKAGE in sys.modules:
        return
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__getattr__"] = lambda name: _whole(module, name)
    sys.modules[_PACKAGE] = module
    sys.modules["llama_index"].__dict__["core"] = module


def _whole(module: ModuleType, name: str) -> Any:
    """Run the package, then look again: called for a name that the module does not have yet."""
    spec = module.__spec__
    defined = name in ("__all__", "__version__") or not name.startswith("__")
    if not defined or spec is None or spec.loader is None:
        raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")
    module.__dict__.pop("__getattr__", None)
    spec.loader.exec_module(module)
    return getattr(module, name)
