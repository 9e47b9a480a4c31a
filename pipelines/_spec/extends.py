"""`extends:` starts a pipeline from another one; each stage that is given replaces the inherited one as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sensorium.pipelines._spec.components import BROKEN
from sensorium.pipelines._spec.defaults import PIPELINE
from sensorium.pipelines._spec.faults import Faults, nearest, one_of


@dataclass(frozen=True)
class Merged:
    """A pipeline with everything it inherits.

    Attributes:
        values: Its stages and settings.
        owners: For each of them the pipeline that it was written in.
    """

    values: dict[str, Any]
    owners: dict[str, str]


_UNKNOWN = Merged({"retrieve": [BROKEN], "fuse": BROKEN, "synthesize": BROKEN, "top_k": 1}, {})
"""Stands for a base that is wrong, so that the rest can still be checked."""


def with_defaults(pipeline: Mapping[str, Any]) -> dict[str, Any]:
    """A pipeline as written, with the built-in stages where it neither gives nor inherits one."""
    return dict(pipeline) if pipeline.get("extends") is not None else {**PIPELINE, **pipeline}


def resolve(pipelines: Mapping[str, Any], faults: Faults) -> dict[str, Merged]:
    """Resolve every pipeline; unknown names and circles are noted."""
    return {name: _merged(name, pipelines, faults, ()) for name in pipelines}


def _merged(name: str, pipelines: Mapping[str, Any], faults: Faults, seen: tuple[str, ...]) -> Merged:
    own = pipelines[name]
    base = own.get("extends")
    start = Merged({}, {}) if base is None else _UNKNOWN
    if isinstance(base, str) and _known(name, base, pipelines, faults, (*seen, name)):
        start = _merged(base, pipelines, faults, (*seen, name))
    # Who names a pipeline that starts from a routing one means that pipeline.
    return Merged({**start.values, "extends": None, "route": [], **own}, start.owners | dict.fromkeys(own, name))


def _known(name: str, base: str, pipelines: Mapping[str, Any], faults: Faults, seen: tuple[str, ...]) -> bool:
    path = ("pipelines", name, "extends")
    if base not in pipelines:
        faults.add(path, f"no pipeline {base!r}", one_of(pipelines), nearest=nearest(base, pipelines))
        return False
    if base in seen:
        circle = " → ".join((*seen[seen.index(base) :], base))
        if name == seen[-1] and base == seen[0]:
            faults.add(path, f"goes in a circle: {circle}")
        return False
    return True
