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

ROUTERS = Registry("router", supplied=("prompts",))
ROUTERS.add("rules", "sensorium.pipelines.route:Rules", summary="by a picture, a recording or words in the question")
ROUTERS.add("choose", "sensorium.pipelines.route:Choose", summary="an LLM chooses by descriptions")

QUERY_STEPS = Registry("query step", supplied=("prompts",))
QUERY_STEPS.add("multi_query", "sensorium.pipelines.query_steps:MultiQuery", summary="the question in other words")
QUERY_STEPS.add("step_back", "sensorium.pipelines.query_steps:StepBack", summary="the more general question behind it")
QUERY_STEPS.add("hyde", "sensorium.pipelines.query_steps:Hyde", summary="passages like an invented answer, by vectors")
QUERY_STEPS.add("rewrite", "sensorium.pipelines.query_steps:Rewrite", summary="follow-up questions of a chat")

RERANKERS = Registry("reranker", supplied=("picture_of", "prompts"))
RERANKERS.add("llm", "sensorium.pipelines.rerank_llm:LlmRerank", summary="an LLM scores hits, their pictures with them")
RERANKERS.add(
    "fastembed", "sensorium.pipelines.rerank_cross:FastembedRerank", value_option="model",
    summary="a cross-encoder of fastembed",
)  # fmt: skip
RERANKERS.add(
    "flashrank", "sensorium.pipelines.rerank_cross:FlashrankRerank", value_option="model",
    summary="a cross-encoder of flashrank",
)  # fmt: skip
RERANKERS.add(
    "postprocessor", "sensorium.pipelines.rerank:Postprocessor", value_option="name",
    summary="a LlamaIndex node postprocessor, by name",
)  # fmt: skip

SYNTHESIZERS = Registry("synthesizer", supplied=("store", "encoder", "picture_of", "shared_prompts"))
SYNTHESIZERS.add("extractive", "sensorium.pipelines.synthesizers:Extractive", summary="quotes; no LLM")
SYNTHESIZERS.add(
    "multimodal", "sensorium.pipelines.multimodal:Multimodal", summary="a chat LLM that sees text and pictures"
)
