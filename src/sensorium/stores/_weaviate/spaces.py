"""Vector indexes of the spaces, made from `Space.options`.

| option | values | default |
|---|---|---|
| index | hnsw, flat, dynamic (needs ASYNC_INDEXING on the server) | hnsw |
| quantisation | none, rq, bq, sq, pq (flat: none, rq, bq) | none |
| bits | 8 or 1, for rq | 8 |
| rescore_limit | candidates that are compared with the full vectors, for rq, bq and sq | the server's |
| ef | candidates of hnsw | 5 for each hit asked for, 100 to 500 |
| ef_construction, max_connections | of hnsw | the server's |
| flat_search_cutoff | matches of a filter below which hnsw compares one by one | 40000 |
| encoding | muvera or none, for multi-vector spaces | muvera |
"""

from collections.abc import Callable, Mapping
from typing import Any

from weaviate.classes.config import Configure, Reconfigure, VectorDistances

from sensorium.errors import SpaceError
from sensorium.stores._weaviate.names import vector_name
from sensorium.stores.base import Space

_HNSW = ("ef", "ef_construction", "max_connections", "flat_search_cutoff")
_EF_FACTOR = 5
"""The server's own 8 takes a third longer for twenty hits and finds no more (recall 1.000 both, 30,000 vectors)."""
_CHANGEABLE = ("ef", "flat_search_cutoff")
_QUANTISERS: Mapping[str, Callable[..., Any]] = {
    "rq": Configure.VectorIndex.Quantizer.rq,
    "bq": Configure.VectorIndex.Quantizer.bq,
    "sq": Configure.VectorIndex.Quantizer.sq,
    "pq": Configure.VectorIndex.Quantizer.pq,
}
_INDEXES: Mapping[str, Callable[..., Any]] = {
    "hnsw": Configure.VectorIndex.hnsw,
    "flat": Configure.VectorIndex.flat,
    "dynamic": Configure.VectorIndex.dynamic,
}
_OF_INDEX = {"hnsw": ("none", *_QUANTISERS), "flat": ("none", "rq", "bq"), "dynamic": ("none", "rq", "bq")}
_WHOLE = (*_HNSW, "bits", "rescore_limit")
_KNOWN = ("index", "quantisation", "encoding", *_WHOLE)


def check_options(space: Space) -> None:
    """Refuse options that Weaviate would refuse or leave out silently.

    Raises:
        SpaceError: names the space, the option and what it may be.
    """
    for name, value in space.options.items():
        if name not in _KNOWN:
            raise _refused(space, f"the option {name!r}", f"Options: {', '.join(_KNOWN)}.")
        if name in _WHOLE and (not isinstance(value, int) or isinstance(value, bool) or value <= 0):
            raise _refused(space, f"the option {name}: {value!r}", "It must be a whole number above 0.")
    index = _option(space, "index", "hnsw", tuple(_INDEXES))
    quantisation = _option(space, "quantisation", "none", _OF_INDEX[index])
    _option(space, "encoding", "muvera", ("muvera", "none"))
    if not space.searchable and space.options:
        raise _refused(space, "options", "Its vectors are only kept; there is no index.")
    if space.options.get("bits", 8) not in (1, 8) or ("bits" in space.options and quantisation != "rq"):
        raise _refused(space, f"bits: {space.options['bits']}", "8 or 1, with quantisation: rq.")
    if index != "hnsw" and (hnsw := [name for name in _HNSW if name in space.options]):
        raise _refused(space, f"the option {hnsw[0]}", "It belongs to index: hnsw.")
    if space.multi and index != "hnsw":
        raise _refused(space, f"index: {index}", "Spaces with several vectors a node need hnsw.")
    if "encoding" in space.options and not space.multi:
        raise _refused(space, "the option encoding", "It belongs to spaces with several vectors a node.")


def vector_config(space: Space) -> Any:
    """The named vector of a searchable space."""
    options = space.options
    distance = VectorDistances.DOT if space.distance == "dot" else VectorDistances.COSINE
    index = options.get("index", "hnsw")
    settings = {name: options[name] for name in _HNSW if name in options}
    if index == "hnsw":
        settings["dynamic_ef_factor"] = _EF_FACTOR
    made = _INDEXES[index](distance_metric=distance, **settings)
    if not space.multi:
        return Configure.Vectors.self_provided(
            name=vector_name(space.name), quantizer=_quantiser(options), vector_index_config=made
        )
    encoding = Configure.VectorIndex.MultiVector.Encoding.muvera()
    return Configure.MultiVectors.self_provided(
        name=vector_name(space.name),
        quantizer=_quantiser(options),
        vector_index_config=made,
        encoding=encoding if options.get("encoding", "muvera") == "muvera" else None,
    )


def changed_config(space: Space, before: Mapping[str, Any]) -> Any | None:
    """How an index that was made with other options is brought to the wanted ones; None when they are the same.

    Raises:
        SpaceError: that takes a new index.
    """
    names = {name for name in _KNOWN if before.get(name) != space.options.get(name)}
    if not names:
        return None
    adds_quantiser = "quantisation" in names and before.get("quantisation", "none") == "none"
    free = {*_CHANGEABLE, *(("quantisation", "bits", "rescore_limit") if adds_quantiser else ())}
    if names - free or any(name not in space.options for name in names):
        raise SpaceError(
            f"The index of the space {space.name!r} was made with {dict(before) or 'the default options'}; "
            f"{', '.join(sorted(names))} cannot be changed to {dict(space.options)}.",
            "Keep the old options, or index again into another collection.",
        )
    quantiser = getattr(Reconfigure.VectorIndex.Quantizer, str(space.options.get("quantisation")), None)
    settings = {name: space.options[name] for name in _CHANGEABLE if name in names}
    if adds_quantiser and quantiser is not None:
        settings["quantizer"] = quantiser()
    return Reconfigure.Vectors.update(
        name=vector_name(space.name), vector_index_config=Reconfigure.VectorIndex.hnsw(**settings)
    )


def _quantiser(options: Mapping[str, Any]) -> Any:
    name = options.get("quantisation", "none")
    if name == "none":
        return Configure.VectorIndex.Quantizer.none()
    settings = {key: options[key] for key in ("bits", "rescore_limit") if key in options}
    if name == "pq":
        settings.pop("rescore_limit", None)
    return _QUANTISERS[name](**settings)


def _option(space: Space, name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = space.options.get(name, default)
    if value not in allowed:
        raise _refused(space, f"{name}: {value!r}", f"Possible: {', '.join(allowed)}.")
    return str(value)


def _refused(space: Space, what: str, hint: str) -> SpaceError:
    return SpaceError(f"The weaviate store cannot use {what} for the space {space.name!r}.", hint)
