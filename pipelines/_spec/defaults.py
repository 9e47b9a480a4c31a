"""What holds where the configuration says nothing, in the short forms that users write."""

from typing import Any

PIPELINE: dict[str, Any] = {
    "route": [],
    "expand": [],
    "retrieve": [{"vector": {"space": "text", "top_k": 30}}, {"keyword": {"top_k": 30}}],
    "fuse": "rrf",
    "rerank": [],
    "synthesize": "extractive",
    "top_k": 10,
}

INDEX: dict[str, Any] = {
    "split": "sentences",
    "spaces": {"text": {"embed": "minilm"}},
    "ocr": "tiny",
    "speech": "whisper",
    "captions": None,
    "limits": {},
    "workers": 0,
}

DEFAULTS: dict[str, Any] = {
    "data": ".sensorium",
    "store": "sqlite",
    "loaders": {},
    "index": INDEX,
    "prompts": None,
    "pipelines": {"default": {}},
}
