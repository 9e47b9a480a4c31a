"""`index.captions`: options of `pipelines.captions.Captions`, or off."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from sensorium.pipelines._spec.components import Reading
from sensorium.pipelines._spec.explain import show
from sensorium.pipelines._spec.models import Component

OFF = ("off", "none", False, None)
SUPPLIED = ("prompts", "kept")
_PATH = ("index", "captions")


def options() -> type[BaseModel]:
    """The options as a model."""
    from sensorium.pipelines.captions import Captions
    from sensorium.registry import options_model

    return options_model(Captions, SUPPLIED)


def read(given: Any, reading: Reading) -> Component | None:
    """What stands under `index.captions`; None for off, or when it is wrong (faults are noted).

    Args:
        given: As written.
        reading: Where faults go.
    """
    if given in OFF:
        return None
    if not isinstance(given, Mapping):
        shown = show(given, reading.templates.get(_PATH))
        reading.faults.add(_PATH, f"got {shown}", "off, or {llm: {openai: gpt-5-mini}} with more options")
        return None
    component = reading.options("captions", given, _PATH, options)
    if not component.name:
        return None
    if component.options["max_cost"] is not None and not _priced(component.options["llm"]):
        reading.faults.add((*_PATH, "max_cost"), "the model has no price", "llm: {PROVIDER: {model: NAME, price: "
                           "{input: 0.25, output: 2}}}, per million tokens")  # fmt: skip
    return component


def _priced(llm: Any) -> bool:
    from sensorium.models.llm import chat_models

    return all(model.price is not None for model in chat_models(llm).models)
