"""Imports run one way, so that a reader always knows where to look next."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "sensorium"
LAYERS = (
    ("errors", "analysis", "clock", "languages", "ocr_types", "once", "speech_types"),
    ("nodes", "registry", "pictures"),
    ("loaders", "prompts", "models", "stores"),
    ("pipelines",),
    ("knowledge_base", "testing"),
    ("evaluation",),
    ("apps",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# The store contract speaks of model facts, loaders of nothing but the layer below: the only step sideways.
SIDEWAYS = {("stores", "models")}


def modules() -> list[Path]:
    # `rglob` does not follow the links to the root folders.
    found = (Path(at, name) for at, _, names in os.walk(PACKAGE, followlinks=True) for name in names)
    return sorted(path for path in found if path.suffix == ".py" and path != PACKAGE / "__init__.py")


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            if (node.module or "").startswith("sensorium."):
                yield node.lineno, str(node.module)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.startswith("sensorium."))


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_run_one_way(path: Path) -> None:
    home = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for line, name in imports(path):
        other = room(name)
        allowed = other == home or RANK[other] < RANK[home] or (home, other) in SIDEWAYS
        assert allowed, f"{path.name}:{line}: {home} must not import {other}"


def test_the_check_finds_something() -> None:
    assert len(modules()) > 10
    assert {"loaders", "pipelines", "stores"} <= {path.relative_to(PACKAGE).parts[0] for path in modules()}
    assert any(room(name) == "errors" for path in modules() for _, name in imports(path))
