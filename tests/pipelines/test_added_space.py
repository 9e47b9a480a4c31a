"""A space that is added to the configuration later: indexing again fills it, and only then is it searched."""

from pathlib import Path

import pytest
from llama_index.core.vector_stores.types import VectorStoreQuery
from tests.pipelines.home import Home

from sensorium.errors import SpaceError
from sensorium.stores.base import Space
from sensorium.stores.sqlite import SqliteStore
from sensorium.testing import FakeEmbedding

OLD, NEW = FakeEmbedding(), FakeEmbedding(revision="fake-9")
SPACES = [Space("text", OLD.dimension, OLD.revision), Space("second", NEW.dimension, NEW.revision)]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def query() -> VectorStoreQuery:
    return VectorStoreQuery(
        query_embedding=NEW.get_query_embedding("puffins"), embedding_field="second", similarity_top_k=5
    )


def test_indexing_again_fills_it(home: Home) -> None:
    home.write("a.txt", "Puffins nest here.")
    home.write("more/b.txt", "Terns nest there.")
    home.ingestor().run([home.docs])
    store = SqliteStore(data=home.data, spaces=SPACES)
    both = home.ingestor(store=store, embedders={"text": OLD, "second": NEW}, fingerprint="two")
    with pytest.raises(SpaceError, match=f"sensorium index {home.docs}"):
        store.search(query())
    partly = both.run([home.docs / "a.txt"])
    assert store.incomplete == {"second"}
    assert any("'second'" in note and "Index their sources again" in note for note in partly.notes)
    whole = both.run([home.docs])
    assert not any("'second'" in note for note in whole.notes)
    assert store.incomplete == frozenset()
    assert len(store.search(query())) == store.count() == 2
    assert not any("'second'" in note for note in both.run([home.docs]).notes)
    store.close()
