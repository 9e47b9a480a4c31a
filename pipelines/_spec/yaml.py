"""YAML 1.2 as plain data, with the line and column of every key and value.

The document is composed, not constructed: no tag makes an object, duplicate keys are all seen, `off` stays a word.
"""

from collections.abc import Callable
from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sensorium.errors import ConfigError
from sensorium.pipelines._spec.faults import Fault, Faults, Mark, Marks, Path

_TAG = "tag:yaml.org,2002:"
_MOST_NODES = 100_000


def read(text: str, file: str) -> tuple[Any, Faults]:
    """Parse a document.

    Args:
        text: The file's text.
        file: Its name, for messages.

    Returns:
        Mappings, lists and scalars (None for an empty document), and the faults so far (duplicate keys, tags).

    Raises:
        ConfigError: the text is no YAML.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except YAMLError as fault:
        raise ConfigError(f"{file} is not valid: it is no YAML.", faults=[_syntax(fault, text, file)]) from None
    marks = Marks(file, {}, {})
    faults = Faults(marks)
    reader = _Reader(yaml.constructor.construct_object, marks, faults)
    return (reader.plain(root, ()) if root is not None else None), faults


def _syntax(fault: YAMLError, text: str, file: str) -> Fault:
    mark = fault.problem_mark if isinstance(fault, MarkedYAMLError) else None
    problem = (fault.problem if isinstance(fault, MarkedYAMLError) else None) or str(fault).splitlines()[0]
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    lines = text.splitlines()
    here = lines[line - 1] if line and line <= len(lines) else ""
    if "\t" in here[: len(here) - len(here.lstrip())]:
        return Fault(file, line, column, "", "a tab indents this line", "spaces")
    return Fault(file, line, column, "", str(problem), '"${VAR}" in quotes' if "${" in here else "")


class _Reader:
    """Turns composed nodes into plain data and notes where each stands."""

    def __init__(self, scalar: Callable[[Node], Any], marks: Marks, faults: Faults) -> None:
        self._scalar, self._faults = scalar, faults
        self._keys: dict[Path, Mark] = marks.keys  # type: ignore[assignment]
        self._values: dict[Path, Mark] = marks.values  # type: ignore[assignment]
        self._open: list[Node] = []

    def plain(self, node: Node, path: Path) -> Any:
        self._values[path] = _mark(node)
        if any(node is outer for outer in self._open) or len(self._values) > _MOST_NODES:
            self._faults.add(path, "an alias refers to itself or repeats too much", "a plain value")
            return None
        if isinstance(node, ScalarNode):
            return self._plain_scalar(node, path)
        self._open.append(node)
        try:
            if isinstance(node, SequenceNode):
                return [self.plain(child, (*path, at)) for at, child in enumerate(node.value)]
            return self._mapping(cast(MappingNode, node), path)
        finally:
            self._open.pop()

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self._faults.add(path, "a key is no word", "a word", mark=_mark(key))
                continue
            name = str(key.value)
            if name in result:
                first = self._keys[(*path, name)].line
                self._faults.add((*path, name), f"given twice, first on line {first}", mark=_mark(key))
                continue
            self._keys[(*path, name)] = _mark(key)
            result[name] = self.plain(value, (*path, name))
        return result

    def _plain_scalar(self, node: ScalarNode, path: Path) -> Any:
        tag = str(node.tag)
        if tag in (_TAG + "str", _TAG + "timestamp"):
            return str(node.value)
        if tag in (_TAG + "int", _TAG + "float", _TAG + "bool", _TAG + "null"):
            return self._scalar(node)
        self._faults.add(path, f"the tag {tag.replace(_TAG, '!!')} has no meaning here", "a plain value")
        return None


def _mark(node: Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)
