"""Pydantic's errors as faults: in words of the configuration, at the line that is wrong."""

from collections.abc import Callable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from sensorium.pipelines._spec.faults import Faults, Path, nearest, one_of

EXPECTED = {
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "float_parsing": "a number", "finite_number": "a finite number",
    "bool_type": "true or false", "bool_parsing": "true or false",
    "string_type": "text", "list_type": "a list", "tuple_type": "a list",
    "dict_type": "a mapping of keys to values", "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values", "is_instance_of": "a component",
    "string_too_short": "some text", "none_required": "nothing",
}  # fmt: skip
_LIMITS = {
    "greater_than": "a number above {gt:g}", "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}", "less_than_equal": "a number of at most {le:g}",
}  # fmt: skip
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


class Explain:
    """Notes the errors of one validation.

    Args:
        faults: Where they go.
        templates: Paths whose values came from the environment, and how they were written.
        place: Turns a location inside the validated data into a path of the configuration.
        skip: Paths that are reported elsewhere.
    """

    def __init__(
        self, faults: Faults, templates: Mapping[Path, str], place: Callable[[Path], Path],
        skip: Callable[[Path], bool] = lambda path: False,
    ) -> None:  # fmt: skip
        self._faults, self._templates, self._place, self._skip = faults, templates, place, skip

    def note(self, error: ValidationError, model: type[BaseModel], data: Any) -> None:
        """Add a fault for each thing that is wrong; alternatives of a union become one fault."""
        groups: dict[Path, list[Any]] = {}
        for item in error.errors(include_url=False):
            loc = item["loc"]
            known = loc if item["type"] == "missing" else _inside(data, loc)
            groups.setdefault(known, []).append(item)
        for loc, items in groups.items():
            if not self._skip(self._place(loc)):
                self._one(loc, items, model, data)

    def _one(self, loc: Path, items: list[Any], model: type[BaseModel], data: Any) -> None:
        path, first = self._place(loc), items[0]
        if first["type"] in _UNKNOWN:
            names = _fields(model, loc[:-1])
            name = str(loc[-1])
            self._faults.add(path, f"unknown key {name!r}", one_of(names), nearest=nearest(name, names), key=True)
        elif first["type"] == "missing":
            self._faults.add(path[:-1], f"{path[-1]!r} is missing")
        else:
            self._value(path, _at(data, loc), items)

    def _value(self, path: Path, value: Any, items: list[Any]) -> None:
        expected, own_words = [], ""
        for item in items:
            if item["type"] in ("value_error", "assertion_error"):
                own_words = str(item["ctx"].get("error", "")) if path not in self._templates else ""
                continue
            text = _expected(item)
            if text not in expected:
                expected.append(text)
        choices = [c for item in items for c in _choices(item)]
        problem = own_words or f"got {show(value, self._templates.get(path))}"
        self._faults.add(path, problem, " or ".join(expected), nearest=nearest(value, choices))


def show(value: Any, template: str | None = None) -> str:
    """A value as it may stand in a message: what came from the environment as it was written."""
    if template is not None:
        return template
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping of keys to values"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _expected(item: Any) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind in ("literal_error", "enum"):
        return f"one of {context['expected']}"
    if kind in _LIMITS:
        return _LIMITS[kind].format(**context)
    if kind == "too_short":
        return f"at least {context['min_length']}"
    text = str(item["msg"])
    return EXPECTED.get(kind) or text[:1].lower() + text[1:]


def _choices(item: Any) -> list[str]:
    expected = str(item.get("ctx", {}).get("expected", ""))
    return [part.strip("'") for part in expected.replace(" or ", ", ").split(", ") if part.startswith("'")]


def _inside(data: Any, loc: Path) -> Path:
    """The part of a location that is in the data: the rest are pydantic's names of union members."""
    for at, part in enumerate(loc):
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return loc[:at]
    return loc


def _at(data: Any, loc: Path) -> Any:
    for part in loc:
        data = data[part]
    return data


def _fields(model: Any, loc: Path) -> list[str]:
    """Names of the fields of the model that sits at a location."""
    for part in loc:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(part))
            model = field.annotation if field else None
        else:
            model = next(iter(get_args(model)[-1:]), None)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
