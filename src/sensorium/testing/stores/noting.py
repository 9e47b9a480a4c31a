"""Small notes of pipelines."""

from sensorium.testing.stores.case import StoreCase, plain, publish


class NoteTests(StoreCase):
    """Small notes of pipelines."""

    def test_notes_come_back_by_group(self) -> None:
        """Whatever the names are; None removes one."""
        store = self.store()
        assert store.notes("links") == {}
        store.keep_note("links", "a", {"score": 0.5, "spans": [[0.0, 1.5]]})
        store.keep_note("links", "a/b \u00e9 \ud800", [1, "two", None])
        store.keep_note("Links", "a", "another group")
        store.keep_note("links", "gone", 1)
        store.keep_note("links", "gone", None)
        store.keep_note("links", "never there", None)
        assert store.notes("links") == {
            "a": {"score": 0.5, "spans": [[0.0, 1.5]]}, "a/b \u00e9 \ud800": [1, "two", None],
        }  # fmt: skip
        assert store.notes("Links") == {"a": "another group"}
        store.keep_note("links", "a", "new")
        assert store.notes("links")["a"] == "new"

    def test_notes_outlive_sources(self) -> None:
        """They survive updates, removals and closing; clearing removes them, and no source comes of them."""
        store = self.store()
        store.keep_note("links", "a", 1)
        publish(store, "doc", [plain("n1")])
        publish(store, "doc", [plain("n2")])
        store.remove_source("doc")
        store = self.reopen(store)
        assert store.notes("links") == {"a": 1}
        assert list(store.sources()) == []
        assert store.count() == 0
        store.clear()
        assert store.notes("links") == {}
