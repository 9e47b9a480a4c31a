"""Pipelines: the YAML configuration, indexing, and the stages of a query. New parts are registered here."""

from sensorium.registry import Registry

SPLITTERS = Registry("splitter")
SPLITTERS.add("sentences", "sensorium.pipelines.split:SentenceSplit", summary="sentences packed to a token budget")

LEGS = Registry("retrieval leg", supplied=("store", "embedder"))
LEGS.add("vector", "sensorium.pipelines.retrievers:VectorLeg", value_option="space", summary="nearest vectors")
LEGS.add("keyword", "sensorium.pipelines.retrievers:KeywordLeg", value_option="top_k", summary="BM25")

FUSERS = Registry("fusion")
FUSERS.add("rrf", "sensorium.pipelines.fusion:ReciprocalRank", value_option="k", summary="weighted reciprocal rank")
FUSERS.add("relative", "sensorium.pipelines.fusion:RelativeScore", summary="weighted min-max scores")

RERANKERS = Registry("reranker")
RERANKERS.add(
    "postprocessor", "sensorium.pipelines.rerank:Postprocessor", value_option="name",
    summary="a LlamaIndex node postprocessor, by name",
)  # fmt: skip

SYNTHESIZERS = Registry("synthesizer", supplied=("store", "encoder", "picture_of"))
SYNTHESIZERS.add("extractive", "sensorium.pipelines.synthesizers:Extractive", summary="quotes; no LLM")
SYNTHESIZERS.add(
    "multimodal", "sensorium.pipelines.multimodal:Multimodal", summary="a chat LLM that sees text and pictures"
)
