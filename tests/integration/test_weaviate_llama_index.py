"""The store as a LlamaIndex user meets it: nothing here is Sensorium's but the store."""

import asyncio
from collections.abc import Iterator

import pytest
from llama_index.core import Document, PromptTemplate, StorageContext, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.schema import ImageNode, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.vector_stores.weaviate import WeaviateVectorStore
from tests.integration.weaviate_case import open_store

from sensorium.stores.base import Space, Store
from sensorium.stores.weaviate import WeaviateStore
from sensorium.testing import FakeEmbedding
from sensorium.testing.weaviate import WeaviateServer

EMBEDDER = FakeEmbedding(dimension=32)


@pytest.fixture
def store(weaviate_server: WeaviateServer, collection_name: str) -> Iterator[WeaviateStore]:
    made = open_store(weaviate_server, collection_name, spaces=[Space("text", 32, EMBEDDER.revision)])
    yield made
    made.close()


@pytest.fixture
def index(store: WeaviateStore) -> VectorStoreIndex:
    documents = [
        Document(id_="ducks.pdf", text="Saltwater ducks dive deep.", metadata={"year": 2021, "tags": ["birds"]}),
        Document(id_="goats.pdf", text="Mountain goats climb steep rock.", metadata={"year": 2019, "tags": ["hoofs"]}),
        Document(
            id_="1-ducks.pdf", text="Ducks of the pond eat bread.", metadata={"year": 2024, "tags": ["birds", "x"]}
        ),
    ]
    context = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex.from_documents(documents, storage_context=context, embed_model=EMBEDDER)


def test_it_is_what_code_asks_for(store: WeaviateStore) -> None:
    assert isinstance(store, WeaviateVectorStore)
    assert isinstance(store, BasePydanticVectorStore)
    assert isinstance(store, Store)
    assert store.stores_text
    assert store.client.is_ready()
    assert store.index_name in store.client.collections.list_all()


def test_retriever_with_filters(index: VectorStoreIndex) -> None:
    filters = MetadataFilters(
        filters=[
            MetadataFilter(key="year", value=2020, operator=FilterOperator.GT),
            MetadataFilters(
                filters=[MetadataFilter(key="tags", value="x", operator=FilterOperator.CONTAINS)],
                condition=FilterCondition.NOT,
            ),
        ]
    )
    (hit,) = index.as_retriever(similarity_top_k=5, filters=filters).retrieve("ducks")
    assert hit.node.ref_doc_id == "ducks.pdf"
    assert hit.node.get_content() == "Saltwater ducks dive deep."
    assert hit.node.metadata == {"year": 2021, "tags": ["birds"]}


@pytest.mark.parametrize("mode", ["default", "text_search", "sparse", "hybrid", "mmr"])
def test_query_modes(index: VectorStoreIndex, mode: str) -> None:
    hits = index.as_retriever(similarity_top_k=1, vector_store_query_mode=mode).retrieve("mountain goats climb")
    assert [h.node.ref_doc_id for h in hits] == ["goats.pdf"]


def test_alpha_zero_is_keywords_alone(store: WeaviateStore, index: VectorStoreIndex) -> None:
    """The stock store takes 0 for "not given" and sends 0.5."""
    query = VectorStoreQuery(
        query_embedding=EMBEDDER.embed("mountain goats"), query_str="bread", alpha=0.0, similarity_top_k=5,
        mode=VectorStoreQueryMode.HYBRID,
    )  # fmt: skip
    (node,) = store.query(query).nodes or []
    assert node.ref_doc_id == "1-ducks.pdf"


def test_scores_are_cosines(store: WeaviateStore, index: VectorStoreIndex) -> None:
    """The stock store gives its best hit 1.0, whatever it is."""
    question = "Do goats climb?"
    hits = index.as_retriever(similarity_top_k=3).retrieve(question)
    vectors = store.vectors([h.node_id for h in hits], "text")
    cosines = [float(vectors[h.node_id] @ EMBEDDER.embed(question)) for h in hits]
    assert [h.score for h in hits] == pytest.approx(cosines, abs=1e-5)
    assert cosines[0] < 0.95


def test_query_engine(index: VectorStoreIndex) -> None:
    synthesizer = get_response_synthesizer(
        llm=MockLLM(), text_qa_template=PromptTemplate("{context_str}|{query_str}"), response_mode=ResponseMode.COMPACT
    )
    engine = RetrieverQueryEngine(index.as_retriever(similarity_top_k=1), synthesizer)
    response = engine.query("mountain goats")
    assert "climb steep rock" in str(response)
    assert [n.node.ref_doc_id for n in response.source_nodes] == ["goats.pdf"]


def test_async_query_engine(index: VectorStoreIndex) -> None:
    engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=2, use_async=True)

    async def ask() -> list[str | None]:
        answers = await asyncio.gather(*(engine.aquery(q) for q in ("mountain goats", "saltwater ducks")))
        return [a.source_nodes[0].node.ref_doc_id for a in answers]

    assert asyncio.run(ask()) == ["goats.pdf", "ducks.pdf"]


def test_delete_ref_doc_takes_that_document_only(store: WeaviateStore, index: VectorStoreIndex) -> None:
    """The stock store matches words, so that `ducks.pdf` would take `1-ducks.pdf` along."""
    index.delete_ref_doc("ducks.pdf")
    assert {n.ref_doc_id for n in store.get_nodes()} == {"goats.pdf", "1-ducks.pdf"}
    index.insert(Document(id_="ducks.pdf", text="Ducks are back."))
    assert index.as_retriever(similarity_top_k=1).retrieve("Ducks are back.")[0].node.ref_doc_id == "ducks.pdf"


def test_ingestion_pipeline(store: WeaviateStore) -> None:
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=40, chunk_overlap=0), EMBEDDER], vector_store=store
    )
    text = " ".join(f"Sentence number {i} is about topic{i}." for i in range(40))
    nodes = pipeline.run(documents=[Document(id_="long", text=text)])
    assert store.count() == len(nodes) > 3
    hits = VectorStoreIndex.from_vector_store(store, embed_model=EMBEDDER).as_retriever(
        vector_store_query_mode="text_search", similarity_top_k=2
    ).retrieve("topic17")  # fmt: skip
    assert len(hits) == 1
    assert "topic17" in hits[0].node.get_content()


def test_pictures_and_odd_metadata_come_back(store: WeaviateStore) -> None:
    """The stock store loses pictures, and nodes with keys such as `id`, `text` or `my key`."""
    nodes = [
        ImageNode(id_="picture", image_path="/a.png", text="a duck", metadata={"id": "x", "vector": 1, "text": "t"}),
        TextNode(id_="any id, even ü", text="other", metadata={"my key": 2**60, "a.b": " blanks ", "_id": None}),
    ]
    VectorStoreIndex.from_vector_store(store, embed_model=EMBEDDER).insert_nodes(nodes)
    assert store.get_nodes() == sorted(nodes, key=lambda n: n.node_id)
    found = store.get_nodes(filters=MetadataFilters(filters=[MetadataFilter(key="a.b", value=" blanks ")]))
    assert [n.node_id for n in found] == ["any id, even ü"]
