"""A reranker that shows hits, with their pictures, to an LLM and takes its scores."""

import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from llama_index.core.base.llms.types import ChatMessage, ContentBlock, ImageBlock, MessageRole, TextBlock
from llama_index.core.schema import NodeWithScore
from pydantic import Field, PrivateAttr

from sensorium.errors import SensoriumError
from sensorium.models.llm import ChatModel, ChatModels, Compose, LlmOption, Reply, chat_models, counter
from sensorium.pipelines._multimodal.pictures import Choice, Chosen, Pictures
from sensorium.pipelines._multimodal.protocol import without_thoughts
from sensorium.pipelines._multimodal.sources import Source, neutral, shown_text
from sensorium.pipelines.rerank import Reranked, Reranker
from sensorium.pipelines.results import Hit, PictureOf
from sensorium.prompts import Overrides, Prompt, prompt

LOG = logging.getLogger("sensorium.query")
_MOST_SCORE = 3.0
_PAIR = re.compile(r"[\"'\[]?\b(\d{1,3})\b[\"'\]]?\s*[:=]\s*[\"']?(\d+(?:\.\d+)?)")
_ORDER = re.compile(r"\[?\d{1,3}\]?(?:\s*[>,;]\s*\[?\d{1,3}\]?)+")


class LlmRerank(Reranker):
    """Sends the best hits, with their pictures, to an LLM, which scores each; nonsense keeps the order as it was.

    Args:
        llm: The model, {provider: model} or {provider: {option: value}}; a list names others to fall back on.
        picture_of: Supplied by the pipeline: draws evidence.
        hits: How many of the best hits are shown; those behind keep their places.
        max_images: Most pictures in the request.
        max_pixels: Most pixels of one picture, in millions.
        passage_tokens: Most tokens of a passage.
        prompts: Supplied by the pipeline.
    """

    _models: ChatModels = PrivateAttr()
    _pictures: Pictures = PrivateAttr()
    _prompt: Prompt = PrivateAttr()
    _limits: tuple[int, int, float, int] = PrivateAttr()

    def __init__(
        self, llm: LlmOption, picture_of: PictureOf,
        hits: Annotated[int, Field(ge=2, le=50)] = 12,
        max_images: Annotated[int, Field(ge=0, le=50)] = 6,
        max_pixels: Annotated[float, Field(gt=0, le=20)] = 0.5,
        passage_tokens: Annotated[int, Field(ge=20)] = 200,
        prompts: Overrides = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._models, self._pictures = chat_models(llm), Pictures(picture_of)
        self._prompt = prompt("rerank", prompts)
        self._limits = (hits, max_images, max_pixels, passage_tokens)

    @classmethod
    def class_name(cls) -> str:
        """For LlamaIndex's serialisers."""
        return "LlmRerank"

    def close(self) -> None:
        """See `Reranker.close`."""
        self._models.close()

    def rank(self, nodes: list[NodeWithScore], question: str) -> Reranked:
        """See `Reranker.rank`."""
        if len(nodes) < 2:
            return Reranked(nodes)
        turn = _Turn(self, nodes, question)
        try:
            return turn.done(self._models.chat(turn.compose))
        except SensoriumError as fault:
            return turn.undone(str(fault), {})

    async def arank(self, nodes: list[NodeWithScore], question: str) -> Reranked:
        """`rank`, without blocking the event loop; cancelling closes the request."""
        if len(nodes) < 2:
            return Reranked(nodes)
        turn = _Turn(self, nodes, question)
        try:
            return turn.done(await self._models.achat(turn.compose))
        except SensoriumError as fault:
            return turn.undone(str(fault), {})


class _Turn:
    """One question: what is shown, and what becomes of the reply."""

    def __init__(self, owner: LlmRerank, nodes: list[NodeWithScore], question: str) -> None:
        self._owner, self._nodes, self._question = owner, nodes, question
        self._hits = [Hit(rank, n.score or 0.0, n.node) for rank, n in enumerate(nodes[: owner._limits[0]], 1)]
        self._started = time.perf_counter()
        self._shown = 0
        self.compose: Compose = self._compose

    def _compose(self, model: ChatModel, shrinks: int) -> Sequence[ChatMessage]:
        _, images, megapixels, tokens = self._owner._limits
        hits = self._hits[: max(2, len(self._hits) // 2**shrinks)]
        choice: Choice = "auto" if model.vision and images else "off"
        chosen = self._owner._pictures.choose(hits, choice, images // 2**shrinks, megapixels)
        before, behind = self._owner._prompt.halves("passages", question=neutral(self._question))
        self._shown = len(hits)
        blocks = [*_blocks(_sources(hits, chosen, tokens), before), TextBlock(text=behind)]
        return [ChatMessage(role=MessageRole.USER, blocks=blocks)]

    def done(self, reply: Reply) -> Reranked:
        """The hits in the order of the reply."""
        scores = scores_in(reply.text, self._shown)
        if not scores:
            return self.undone(f"{reply.model} gave no scores: {reply.text[:80]!r}", reply.public())
        # The fused order decides between equals; hits without a score stand between "a part" and "nothing".
        shown = sorted(range(self._shown), key=lambda at: (-scores.get(at + 1, 0.5), at))
        highest = max(_MOST_SCORE, *scores.values())
        best = [NodeWithScore(node=self._nodes[at].node, score=scores.get(at + 1, 0.5) / highest) for at in shown]
        behind = [NodeWithScore(node=n.node, score=0.0) for n in self._nodes[self._shown :]]
        nodes = [*best, *behind]
        return Reranked(nodes, self._trace(reply.public(), scores), reply.notes)

    def undone(self, why: str, reply: Mapping[str, Any]) -> Reranked:
        """The hits as they were."""
        note = f"The reranker llm was left out: {why}"
        LOG.warning(note)
        return Reranked(self._nodes, self._trace(reply, {}) | {"problem": why}, (note,))

    def _trace(self, reply: Mapping[str, Any], scores: Mapping[int, float]) -> dict[str, Any]:
        seconds = time.perf_counter() - self._started
        return {"reranker": "llm", "seconds": seconds, "scores": dict(scores), "llm": dict(reply) or None}


def _sources(hits: Sequence[Hit], chosen: Chosen, tokens: int) -> list[Source]:
    count = counter()
    made = []
    for at, hit in enumerate(hits):
        text = shown_text(hit)
        if (used := count(text)) > tokens:
            text = text[: len(text) * tokens // used].rsplit(" ", 1)[0] + " …"
        shown_with = chosen.shown_with.get(at, -1) + 1
        made.append(replace(Source(at + 1, hit, text, chosen.pictures.get(at, ())), shown_with=shown_with))
    return made


def _blocks(sources: Sequence[Source], before: str) -> list[ContentBlock]:
    blocks: list[ContentBlock] = []
    words = before
    for source in sources:
        words += source.head()
        for picture in source.pictures:
            blocks.append(TextBlock(text=words + source.picture_label(picture)))
            blocks.append(ImageBlock(image=picture.data, image_mimetype=picture.media_type))
            words = ""
        words += "\n"
    return [*blocks, TextBlock(text=words)]


def scores_in(reply: str, most: int) -> dict[int, float]:
    """Scores by number out of a reply: a JSON object, lines of "number: score", or an order "[2] > [1]".

    Args:
        reply: What a model wrote.
        most: Highest number that was shown; others do not count.

    Returns:
        Empty when the reply scores fewer than two passages and shows more, or makes no sense.
    """
    text = without_thoughts(reply)
    found = _json_scores(text) or {int(n): float(score) for n, score in _PAIR.findall(text)} or _order(text)
    kept = {n: score for n, score in found.items() if 1 <= n <= most and 0 <= score <= 100}
    return kept if len(kept) >= min(2, most) else {}


def _json_scores(text: str) -> dict[int, float]:
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return {}
    try:
        values = json.loads(text[start : end + 1])
    except ValueError:
        return {}
    return {int(n): float(score) for n, score in values.items() if n.isdigit() and type(score) in (int, float)}


def _order(text: str) -> dict[int, float]:
    """Scores that stand for a ranking, from the highest downwards to 0."""
    found = _ORDER.search(text)
    if found is None:
        return {}
    numbers = list(dict.fromkeys(int(n) for n in re.findall(r"\d+", found[0])))
    return {n: _MOST_SCORE * (len(numbers) - at) / len(numbers) for at, n in enumerate(numbers)}
