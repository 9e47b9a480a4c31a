"""Search: exact, ordered, in all modes and spaces."""

import numpy as np
from llama_index.core.vector_stores.types import FilterOperator, VectorStoreQuery, VectorStoreQueryMode

from sensorium.errors import QueryError, SpaceError
from sensorium.stores.base import Space, Store, Vector
from sensorium.testing.stores.case import (
    MODE,
    TEXT,
    StoreCase,
    add,
    dense,
    ids,
    keyword,
    node,
    only,
    plain,
    raises,
    random_vectors,
    unit,
)


class SearchTests(StoreCase):
    """Search: exact, ordered, in all modes and spaces."""

    def test_dense_is_cosine_best_first(self) -> None:
        """Compared with the formula over 300 nodes."""
        store = self.store()
        vectors = add(store, [plain(f"n{i:03d}") for i in range(300)])
        query = random_vectors(1, 9)[0]
        cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
        best = np.argsort(-cosines)[:20]
        found = dense(store, query.tolist(), 20)
        assert [i for i, _ in found] == [f"n{i:03d}" for i in best]
        assert np.allclose([s for _, s in found], cosines[best], atol=1e-5)

    def test_dot_product_space(self) -> None:
        """Lengths count where the distance is "dot"."""
        store = self.store(Space("text", 2, "r", distance="dot"))
        store.add([plain("short"), plain("long")], vectors={"text": [[1.0, 0.0], [2.0, 2.0]]})
        assert dense(store, [3.0, 0.0]) == [("long", 6.0), ("short", 3.0)]

    def test_ties_are_in_order_of_id(self) -> None:
        """Also where the list is cut, in every mode."""
        store = self.store()
        names = [f"n{i:02d}" for i in np.random.default_rng(1).permutation(40)]
        store.add([plain(n, "same words") for n in names], vectors={"text": [unit(1, 2, 3)] * 40})
        expected = sorted(names)[:7]
        assert [i for i, _ in dense(store, unit(1, 1), 7)] == expected
        assert keyword(store, "words", 7) == expected
        hybrid = VectorStoreQuery(query_embedding=unit(1), query_str="words", similarity_top_k=7, mode=MODE.HYBRID)
        assert [s.node_id for s in store.search(hybrid)] == expected

    def test_extremes_of_top_k(self) -> None:
        """0 finds nothing, a million everything."""
        store = self.store()
        add(store, [plain(f"n{i}", "word") for i in range(5)])
        for mode in (MODE.DEFAULT, MODE.TEXT_SEARCH, MODE.SPARSE, MODE.HYBRID, MODE.MMR):
            for top_k, expected in ((0, 0), (1, 1), (1_000_000, 5)):
                query = VectorStoreQuery(query_embedding=unit(1), query_str="word", similarity_top_k=top_k, mode=mode)
                assert len(store.search(query)) == expected, (mode, top_k)

    def test_empty_store(self) -> None:
        """Every mode finds nothing, and nothing breaks."""
        store = self.store()
        for mode in (MODE.DEFAULT, MODE.TEXT_SEARCH, MODE.HYBRID, MODE.MMR):
            query = VectorStoreQuery(query_embedding=unit(1), query_str="word", similarity_top_k=3, mode=mode)
            assert store.search(query) == []
        assert store.query(VectorStoreQuery(query_embedding=unit(1))).nodes == []

    def test_query_gives_nodes_scores_and_ids(self) -> None:
        """LlamaIndex's result, best first."""
        store = self.store()
        nodes = [node("one", 0), node("two", 1)]
        store.add(nodes, vectors={"text": [unit(1), unit(1, 1)]})
        result = store.query(VectorStoreQuery(query_embedding=unit(1), similarity_top_k=2))
        assert result.nodes == nodes
        assert result.ids == ids(nodes)
        assert np.allclose(result.similarities or [], [1.0, 0.5**0.5])

    def test_keyword_search_covers_title_section_caption_and_text(self) -> None:
        """Words are folded and stemmed."""
        store = self.store()
        nodes = [
            node("plain body", 0, title="Häuser"),
            node("plain body", 1, section="A > Running costs"),
            node("plain body", 2, caption="Table of ducks"),
            node("a body about Geese", 3),
        ]
        add(store, nodes)
        for words, index in (("hauser", 0), ("run", 1), ("DUCK", 2), ("goose geese", 3)):
            assert keyword(store, words) == [nodes[index].node_id], words

    def test_numbers_are_one_term(self) -> None:
        """6,883 is 6883; dates, decimals and currencies are kept; part of a number is no hit."""
        store = self.store()
        add(store, [plain("a", "paid 6,883 on 1/2018"), plain("b", "a rate of 1234.50 % at 10:30"), plain("c", "2018")])
        for words, expected in (
            ("6883", ["a"]), ("1/2018", ["a"]), ("1234.50", ["b"]), ("10:30", ["b"]), ("883", []), ("50", []),
            ("%", ["b"]),
        ):  # fmt: skip
            assert keyword(store, words) == expected, words

    def test_scripts_without_blanks(self) -> None:
        """Chinese and Japanese are found by parts of a phrase."""
        store = self.store()
        add(store, [plain("a", "東京都の人口は増加"), plain("b", "大阪の人口")])
        assert keyword(store, "東京") == ["a"]
        assert set(keyword(store, "人口")) == {"a", "b"}

    def test_rare_words_count_more(self) -> None:
        """BM25: raw scores above 0, best first; stop words alone decide nothing beside others."""
        store = self.store()
        nodes = [plain(f"n{i}", "the common word of the day") for i in range(20)]
        add(store, [*nodes, plain("rare", "the common word and a saltwater duck")])
        query = VectorStoreQuery(query_str="the common saltwater", similarity_top_k=5, mode=MODE.TEXT_SEARCH)
        found = store.search(query)
        assert found[0].node_id == "rare"
        assert all(s.score > 0 for s in found)
        assert [s.score for s in found] == sorted((s.score for s in found), reverse=True)
        assert keyword(store, "what is the saltwater") == ["rare"]

    def test_query_text_is_only_data(self) -> None:
        """Syntax of any engine, no words at all, and very long queries do no harm."""
        store = self.store()
        add(store, [plain("a", "near body text"), plain("b", "other")])
        for text in (
            '"',
            "' OR 1=1 --",
            "text:near*",
            "NEAR(body text)",
            "a AND (",
            "^",
            "{text} : x",
            "",
            "   ",
            "???",
        ):
            assert set(keyword(store, text)) <= {"a", "b"}, text
        assert keyword(store, "") == []
        assert keyword(store, "near " * 20_000) == ["a"]
        assert keyword(store, " ".join(f"w{i}" for i in range(15_000)) + " other") in (["b"], [])

    def test_hybrid_weighs_both_sides(self) -> None:
        """`alpha` 0 is pure text, 1 pure dense; scores lie in 0..1."""
        store = self.store()
        store.add(
            [plain("dense", "nothing"), plain("text", "saltwater ducks"), plain("both", "ducks")],
            vectors={"text": [unit(1), unit(0, 0, 1), unit(1, 0.2)]},
        )

        def order(alpha: float | None) -> list[str]:
            query = VectorStoreQuery(
                query_embedding=unit(1), query_str="saltwater ducks", mode=MODE.HYBRID, alpha=alpha, similarity_top_k=3
            )
            found = store.search(query)
            assert all(0 <= s.score <= 1 for s in found)
            return [s.node_id for s in found]

        assert order(0.0) == ["text", "both"]
        assert order(1.0) == ["dense", "both", "text"]
        assert set(order(0.5)) == {"dense", "text", "both"}
        assert order(None) == order(0.5)

    def test_mmr_trades_relevance_for_difference(self) -> None:
        """A threshold of 1 is the dense search; a low one takes another direction second."""
        store = self.store()
        store.add(
            [plain("a"), plain("a-again"), plain("b")],
            vectors={"text": [unit(1, 0.1), unit(1, 0.11), unit(0.7, -0.7)]},
        )

        def order(threshold: float) -> list[tuple[str, float]]:
            return dense(store, unit(1), 3, mode=MODE.MMR, mmr_threshold=threshold)

        assert [i for i, _ in order(1.0)] == [i for i, _ in dense(store, unit(1), 3)]
        assert np.allclose([s for _, s in order(1.0)], [s for _, s in dense(store, unit(1), 3)], atol=1e-5)
        assert [i for i, _ in order(0.4)] == ["a", "b", "a-again"]

    def test_spaces_are_apart(self) -> None:
        """Nodes are found in the spaces where they have a vector, and only there."""
        store = self.store(TEXT, Space("visual", 3, "r"))
        store.add(
            [plain("both"), plain("text"), plain("picture")],
            vectors={"text": [unit(1), unit(1, 1), None], "visual": [[1, 0, 0], None, [0, 1, 0]]},
        )
        assert [i for i, _ in dense(store, unit(1))] == ["both", "text"]
        assert [i for i, _ in dense(store, [0, 1, 0], embedding_field="visual")] == ["picture", "both"]
        assert [i for i, _ in dense(store, unit(1), embedding_field="text")] == ["both", "text"]

    def test_late_interaction_is_mean_of_best_cosines(self) -> None:
        """Compared with the formula, with and without filters."""
        store = self.store(Space("late", 6, "r", multi=True))
        documents = [random_vectors(3 + i % 4, 50 + i, 6) for i in range(40)]
        nodes = [plain(f"n{i:02d}", even=i % 2) for i in range(40)]
        store.add(nodes, vectors={"late": documents})
        query = random_vectors(4, 7, 6)
        scores = {n.node_id: late_score(query, d) for n, d in zip(nodes, documents, strict=True)}
        best = sorted(scores, key=lambda i: -scores[i])
        found = store.search(VectorStoreQuery(embedding_field="late", similarity_top_k=5), matrix=query)
        assert [s.node_id for s in found] == best[:5]
        assert np.allclose([s.score for s in found], [scores[i] for i in best[:5]], atol=1e-5)
        odd = VectorStoreQuery(embedding_field="late", similarity_top_k=5, filters=only("even", 1))
        assert [s.node_id for s in store.search(odd, matrix=query)] == [i for i in best if int(i[1:]) % 2][:5]
        assert store.query(odd, matrix=query).ids == [i for i in best if int(i[1:]) % 2][:5]

    def test_restrictions_are_joined_by_and(self) -> None:
        """`doc_ids`, `node_ids` and filters narrow each other in every mode.

        Empty `doc_ids` let nothing pass; empty `node_ids` restrict nothing: core sends them with every query.
        """
        store = self.store()
        nodes = [plain(f"{doc}{i}", "word", doc=doc, even=i % 2 == 0) for doc in "xy" for i in range(4)]
        add(store, nodes)
        even = only("even", 1)
        cases: list[tuple[dict[str, object], set[str]]] = [
            ({}, {n.node_id for n in nodes}),
            ({"doc_ids": ["x"]}, {"x0", "x1", "x2", "x3"}),
            ({"doc_ids": ["x"], "node_ids": ["x0", "x1", "y0"]}, {"x0", "x1"}),
            ({"doc_ids": ["x"], "node_ids": ["x0", "x1", "y0"], "filters": even}, {"x0"}),
            ({"doc_ids": ["x", "y"], "filters": even}, {"x0", "x2", "y0", "y2"}),
            ({"doc_ids": []}, set()),
            ({"node_ids": []}, {n.node_id for n in nodes}),
            ({"node_ids": [], "doc_ids": ["x"]}, {"x0", "x1", "x2", "x3"}),
            ({"node_ids": ["nosuch"]}, set()),
        ]
        for restrictions, expected in cases:
            for mode in (MODE.DEFAULT, MODE.TEXT_SEARCH, MODE.HYBRID, MODE.MMR):
                assert found_by(store, mode, **restrictions) == expected, (mode, restrictions)

    def test_filters_in_every_mode(self) -> None:
        """A filter that drops the best hits brings up the next ones."""
        store = self.store()
        nodes = [plain(f"n{i:02d}", "word", rank=i) for i in range(30)]
        store.add(nodes, vectors={"text": [unit(1, i / 10) for i in range(30)]})
        late = only("rank", 20, FilterOperator.GTE)
        assert [i for i, _ in dense(store, unit(1), 3, filters=late)] == ["n20", "n21", "n22"]
        assert keyword(store, "word", 3, filters=late) == ["n20", "n21", "n22"]

    def test_impossible_queries(self) -> None:
        """Each says what is missing."""
        store = self.store(TEXT, Space("kept", 4, "r", searchable=False))
        add(store, [plain("a", "x")])
        broken = [float("nan"), *unit(1)[1:]]
        cases: list[tuple[type[Exception], str, VectorStoreQuery]] = [
            (SpaceError, "nosuch", VectorStoreQuery(query_embedding=unit(1), embedding_field="nosuch")),
            (SpaceError, "dimension", VectorStoreQuery(query_embedding=[1.0, 0.0])),
            (SpaceError, "searched", VectorStoreQuery(query_embedding=[1.0] * 4, embedding_field="kept")),
            (QueryError, "vector", VectorStoreQuery(query_str="x")),
            (QueryError, "finite", VectorStoreQuery(query_embedding=broken)),
            (QueryError, "text", VectorStoreQuery(query_embedding=unit(1), mode=MODE.TEXT_SEARCH)),
            (QueryError, "svm", VectorStoreQuery(query_embedding=unit(1), mode=MODE.SVM)),
            (QueryError, "alpha", VectorStoreQuery(query_embedding=unit(1), query_str="x", mode=MODE.HYBRID, alpha=2)),
        ]
        for kind, word, query in cases:
            with raises(kind, word):
                store.search(query)


def late_score(query: Vector, document: Vector) -> float:
    """Mean over the query's vectors of the best cosine."""
    left = query / np.linalg.norm(query, axis=1, keepdims=True)
    right = document / np.linalg.norm(document, axis=1, keepdims=True)
    return float((left @ right.T).max(axis=1).mean())


def found_by(store: Store, mode: VectorStoreQueryMode, **restrictions: object) -> set[str]:
    """Ids that a search in some mode finds."""
    query = VectorStoreQuery(query_embedding=unit(1), query_str="word", similarity_top_k=50, mode=mode)
    for name, value in restrictions.items():
        setattr(query, name, value)
    return {s.node_id for s in store.search(query)}
