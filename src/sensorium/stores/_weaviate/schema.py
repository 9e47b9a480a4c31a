"""Making, opening and checking the two collections of an index, and what it was made with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from weaviate.classes.config import Configure, DataType, Property, StopwordsPreset, Tokenization
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter
from weaviate.exceptions import UnexpectedStatusCodeError

from sensorium.errors import DataVersionError, MissingIndexError, SpaceError, StoreError
from sensorium.stores._sqlite.schema import facts
from sensorium.stores._weaviate.connection import Connection, said
from sensorium.stores._weaviate.engine import Engine
from sensorium.stores._weaviate.fields import Fields, field_properties
from sensorium.stores._weaviate.manifest import of_generations, read_manifest
from sensorium.stores._weaviate.names import (
    BODY,
    DOC,
    FORMAT,
    GENERATION,
    KEY,
    KIND,
    METADATA,
    NODE_ID,
    ORDERED,
    ROW,
    ROW_DOC,
    STATE,
    STATUS,
    TAGS,
    TERMS,
    VALUE,
    kept_property,
    ledger_name,
    row_uuid,
)
from sensorium.stores._weaviate.spaces import changed_config, vector_config
from sensorium.stores.base import Space

_HINT = "Index again into another collection, or empty this one with: sensorium delete --all"


@dataclass(frozen=True)
class Settings:
    """What an index was made with.

    Attributes:
        spaces: Its spaces, in the order in which they were configured.
        complete: Names of spaces in which every node could have a vector.
        fields: Metadata keys with a typed property that all nodes fill.
    """

    spaces: tuple[Space, ...]
    complete: frozenset[str]
    fields: Fields

    def row(self) -> DataObject[Any, Any]:
        """As a ledger row."""
        spaces = [{**asdict(s), "options": dict(s.options), "complete": s.name in self.complete} for s in self.spaces]
        value = json.dumps({"format": FORMAT, "spaces": spaces, "fields": dict(self.fields)})
        return DataObject(uuid=row_uuid("settings"), properties={ROW: "settings", VALUE: value})

    @classmethod
    def parse(cls, text: str, name: str) -> "Settings":
        """From a ledger row.

        Raises:
            DataVersionError: a newer version wrote it.
        """
        values = json.loads(text)
        if values["format"] > FORMAT:
            raise DataVersionError(
                f"The collection {name} has format {values['format']}; this version of Sensorium reads up to {FORMAT}.",
                "Update Sensorium, or choose another collection.",
            )
        complete = {s["name"] for s in values["spaces"] if s.pop("complete")}
        return cls(tuple(Space(**s) for s in values["spaces"]), frozenset(complete), values["fields"])


@dataclass(frozen=True)
class Plan:
    """What the configuration wants.

    Attributes:
        collection: Name of the collection of nodes.
        tenant: Of this index, or None for a collection without tenants.
        spaces: The configured spaces; None takes those of the index.
        fields: Metadata keys with a typed property.
        replication: Copies of each object.
        create: Whether to make the index where there is none.
    """

    collection: str
    tenant: str | None
    spaces: tuple[Space, ...] | None
    fields: Fields
    replication: int
    create: bool = True


def read_settings(engine: Engine, name: str) -> Settings | None:
    """What the index was made with, as the ledger has it now.

    Args:
        engine: Its collections.
        name: Of the collection, for messages.
    """
    rows = engine.rows(Filter.by_id().equal(row_uuid("settings")), [VALUE])
    return Settings.parse(str(rows[0].properties[VALUE]), name) if rows else None


def open_index(connection: Connection, engine: Engine, plan: Plan) -> Settings:
    """Make what is missing, and check that the index and the configuration fit.

    Raises:
        MissingIndexError: there is no index, and none is to be made.
        StoreError: the collection is not one of ours, or Weaviate refuses it.
        SpaceError: its nodes were embedded otherwise.
        DataVersionError: a newer version made it.
    """
    with connection.translated():
        settings = _look(connection, engine, plan)
        if settings is None and not plan.create:
            raise _missing(f"Weaviate has no index {plan.collection}.")
        if settings is None:
            return _create(connection, engine, plan)
        if plan.spaces is None or _same(settings, plan.spaces):
            return _with_fields(engine, settings, plan)
        if _stored(engine):
            return _with_fields(engine, _checked(engine, settings, plan.spaces), plan)
        if not plan.create:
            raise _missing(f"Nothing is stored in the index {plan.collection}, which was made for other spaces.")
    return recreate(connection, engine, plan, ledger=False)


def recreate(connection: Connection, engine: Engine, plan: Plan, ledger: bool = True) -> Settings:
    """Drop all nodes (of the tenant, where there are tenants), and the ledger's rows if wanted, and make it anew."""
    with connection.translated():
        for handle in (engine.data, engine.ledger) if ledger else (engine.data,):
            if plan.tenant is not None:
                handle.tenants.remove([plan.tenant])
            else:
                connection.client.collections.delete(handle.name)
        return _create(connection, engine, plan)


def _look(connection: Connection, engine: Engine, plan: Plan) -> Settings | None:
    """The settings of an index that is there."""
    data, ledger = plan.collection, ledger_name(plan.collection)
    there = {name: connection.client.collections.exists(name) for name in (data, ledger)}
    if there[data]:
        _check_shape(engine, plan, there[ledger])
    if not all(there.values()):
        return None
    if plan.tenant is not None:
        if plan.create:
            _make_tenant(engine, plan.tenant)
        elif not all(handle.tenants.exists(plan.tenant) for handle in (engine.data, engine.ledger)):
            raise _missing(f"The index {data} has no tenant {plan.tenant!r}.")
    return read_settings(engine, data)


def _missing(what: str) -> MissingIndexError:
    hint = "Check url, collection and tenant of store: weaviate, or make one: sensorium index FOLDER"
    return MissingIndexError(what, hint)


def _check_shape(engine: Engine, plan: Plan, has_ledger: bool) -> None:
    config = engine.data.config.get(simple=True)
    properties = {p.name for p in config.properties}
    if not has_ledger or not {NODE_ID, GENERATION, TAGS, BODY} <= properties:
        raise StoreError(
            f"Weaviate has a collection {plan.collection} that Sensorium did not make.",
            "Choose another name: store: {weaviate: {collection: NAME}}",
        )
    tenants = engine.data.config.get().multi_tenancy_config.enabled
    if tenants and plan.tenant is None:
        raise StoreError(
            f"The collection {plan.collection} has tenants.", "Name one: store: {weaviate: {tenant: NAME}}"
        )
    if plan.tenant is not None and not tenants:
        raise StoreError(
            f"The collection {plan.collection} was made without tenants, so there is no tenant {plan.tenant!r}.",
            "Leave out tenant, or choose another collection.",
        )


def _create(connection: Connection, engine: Engine, plan: Plan) -> Settings:
    spaces = plan.spaces or ()
    searchable = [vector_config(space) for space in spaces if space.searchable]
    common: dict[str, Any] = {"replication_config": Configure.replication(factor=plan.replication)}
    if plan.tenant is not None:
        common["multi_tenancy_config"] = Configure.multi_tenancy(
            enabled=True, auto_tenant_creation=True, auto_tenant_activation=True
        )
    # The ledger first: a collection without one is somebody else's.
    _make(connection, ledger_name(plan.collection), properties=_ledger_properties(), **common)
    _make(
        connection,
        plan.collection,
        description="Nodes of a Sensorium index; what is known about them is in its ledger.",
        properties=[*_node_properties(), *field_properties(plan.fields), *_kept(spaces)],
        vector_config=searchable or Configure.Vectors.self_provided(),
        inverted_index_config=Configure.inverted_index(stopwords_preset=StopwordsPreset.NONE, bm25_k1=1.2, bm25_b=0.75),
        **common,
    )
    if plan.tenant is not None:
        _make_tenant(engine, plan.tenant)
    _complete(engine, spaces, plan.fields)
    settings = Settings(tuple(spaces), frozenset(s.name for s in spaces), plan.fields)
    engine.write_rows([settings.row()])
    return settings


def _make(connection: Connection, name: str, **config: Any) -> None:
    """Create a collection, unless another process was faster."""
    if connection.client.collections.exists(name):
        return
    try:
        connection.client.collections.create(name, **config)
    except UnexpectedStatusCodeError as error:
        if not connection.client.collections.exists(name):
            raise StoreError(f"Weaviate refuses the collection {name}: {said(error)}.") from error


def _make_tenant(engine: Engine, tenant: str) -> None:
    for handle in (engine.data, engine.ledger):
        if not handle.tenants.exists(tenant):
            handle.tenants.create([tenant])


def _complete(engine: Engine, spaces: Sequence[Space], fields: Fields) -> None:
    """Named vectors and properties that a collection of several tenants lacks so far."""
    config = engine.data.config.get()
    have = {p.name for p in config.properties}
    for prop in (*_kept(spaces), *field_properties(fields)):
        if prop.name not in have:
            engine.data.config.add_property(prop)
    for space in spaces:
        made = vector_config(space) if space.searchable else None
        if made is not None and made.name not in (config.vector_config or {}):
            engine.data.config.add_vector(vector_config=made)


def _same(settings: Settings, wanted: Sequence[Space]) -> bool:
    return (
        [facts(s) for s in wanted] == [facts(s) for s in settings.spaces]
        and settings.complete == {s.name for s in wanted}
        and all(dict(a.options) == dict(b.options) for a, b in zip(wanted, settings.spaces, strict=True))
    )


def _stored(engine: Engine) -> bool:
    hidden = of_generations(read_manifest(engine).hidden)
    return engine.count(True) > engine.count(hidden)


def _checked(engine: Engine, settings: Settings, wanted: Sequence[Space]) -> Settings:
    """Compare the wanted spaces with those that nodes are stored in; add new ones, bring index options up to date.

    Nodes lack vectors in what is added; it is not complete until they have been indexed again.

    Raises:
        SpaceError: nodes were indexed with other facts.
    """
    recorded = {space.name: space for space in settings.spaces}
    new = [space for space in wanted if space.name not in recorded]
    for space in wanted:
        if space not in new:
            _check_space(space, recorded[space.name])
    _complete(engine, new, {})
    recorded |= {space.name: space for space in new}
    for space in wanted:
        change = changed_config(space, recorded[space.name].options)
        if change is not None:
            engine.data.config.update(vector_config=change)
            recorded[space.name] = space
    updated = replace(settings, spaces=tuple(recorded.values()))
    if updated != settings:
        engine.write_rows([updated.row()])
    return updated


def _check_space(space: Space, old: Space) -> None:
    before, now = facts(old), facts(space)
    changes = [f"{key} {before[key]!r} is now {now[key]!r}" for key in now if before[key] != now[key]]
    if changes:
        raise SpaceError(f"The space {space.name!r} was indexed otherwise: {', '.join(changes)}.", _HINT)


def _with_fields(engine: Engine, settings: Settings, plan: Plan) -> Settings:
    """Add typed properties of newly declared keys. Nodes that are stored already lack them (`migration` fills them).

    While there are some, filters on these keys take the slow way (`where`), as if they were not declared.
    """
    new = {key: kind for key, kind in plan.fields.items() if settings.fields.get(key) != kind}
    if not new:
        return settings
    changed = {key for key in new if key in settings.fields}
    if changed:
        raise StoreError(
            f"filter_fields: {', '.join(sorted(changed))} was declared with another type when the index was made.",
            "Keep the old type, or index again into another collection.",
        )
    have = {p.name for p in engine.data.config.get(simple=True).properties}
    for prop in field_properties(new):
        if prop.name not in have:
            engine.data.config.add_property(prop)
    if _stored(engine):
        return settings
    updated = replace(settings, fields={**settings.fields, **new})
    engine.write_rows([updated.row()])
    return updated


def _node_properties() -> list[Property]:
    plain: Mapping[str, Any] = {"index_filterable": False, "index_searchable": False}
    return [
        Property(name=NODE_ID, data_type=DataType.TEXT, **plain),
        *(_field(name) for name in (KEY, DOC, GENERATION, KIND)),
        _field(TAGS, DataType.TEXT_ARRAY),
        Property(name=METADATA, data_type=DataType.TEXT, **plain),
        Property(name=BODY, data_type=DataType.TEXT, **plain),
        # Filters on it go through the index of BM25, which is enough to count terms.
        Property(
            name=TERMS,
            data_type=DataType.TEXT,
            tokenization=Tokenization.WHITESPACE,
            index_filterable=False,
            index_searchable=True,
        ),
    ]


def _ledger_properties() -> list[Property]:
    plain: Mapping[str, Any] = {"index_filterable": False, "index_searchable": False}
    return [
        *(_field(name) for name in (ROW, ROW_DOC, STATE, STATUS, GENERATION)),
        Property(name=ORDERED, data_type=DataType.TEXT, **plain),
        Property(name=VALUE, data_type=DataType.TEXT, **plain),
    ]


def _kept(spaces: Sequence[Space]) -> list[Property]:
    return [
        Property(name=kept_property(s.name), data_type=DataType.BLOB, description=f"int8 vectors of {s.name}")
        for s in spaces
        if not s.searchable
    ]


def _field(name: str, data_type: DataType = DataType.TEXT) -> Property:
    """Text that is matched as a whole."""
    return Property(name=name, data_type=data_type, tokenization=Tokenization.FIELD, index_searchable=False)
