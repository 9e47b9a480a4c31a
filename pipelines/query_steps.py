"""The query steps that come with Sensorium."""

import re
from typing import Annotated

from pydantic import Field

from sensorium.models.llm import LlmOption
from sensorium.pipelines._multimodal.protocol import without_thoughts
from sensorium.pipelines._multimodal.sources import neutral
from sensorium.pipelines.expand import QueryStep, StepWeight, Variant
from sensorium.prompts import Overrides, prompt

LONGEST_QUESTION = 1000
_LONGEST_PASSAGE = 4000
_BULLET = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.):])\s*")


class MultiQuery(QueryStep):
    """Searches for the question in other words, too.

    Args:
        llm: The model, {provider: model} or {provider: {option: value}}; a list names others to fall back on.
        n: How many rephrasings.
        weight: The say of each in the fusion; the question's own is 1.
        prompts: Supplied by the pipeline.
    """

    name = "multi_query"

    def __init__(
        self, llm: LlmOption, n: Annotated[int, Field(ge=1, le=10)] = 3, weight: StepWeight = 0.5,
        prompts: Overrides = None,
    ) -> None:  # fmt: skip
        super().__init__(llm)
        self.n, self.weight, self._prompt = n, weight, prompt("multi-query", prompts)

    def prompt(self, question: str) -> str:
        """See `QueryStep.prompt`."""
        return self._prompt.fill(number=str(self.n), question=neutral(question))

    def variants(self, reply: str, question: str) -> list[Variant]:
        """See `QueryStep.variants`; lines that are no question, or the question itself, do not count."""
        lines = [line for line in questions(reply) if line.casefold() != question.casefold()]
        return [Variant(line, self.name, self.weight) for line in lines[: self.n]]


class StepBack(QueryStep):
    """Searches for the more general question behind the question, too (Zheng et al., arXiv 2310.06117).

    Args:
        llm: The model, {provider: model} or {provider: {option: value}}; a list names others to fall back on.
        weight: Its say in the fusion; the question's own is 1.
        prompts: Supplied by the pipeline.
    """

    name = "step_back"

    def __init__(self, llm: LlmOption, weight: StepWeight = 0.5, prompts: Overrides = None) -> None:
        super().__init__(llm)
        self.weight, self._prompt = weight, prompt("step-back", prompts)

    def prompt(self, question: str) -> str:
        """See `QueryStep.prompt`."""
        return self._prompt.fill(question=neutral(question))

    def variants(self, reply: str, question: str) -> list[Variant]:
        """See `QueryStep.variants`."""
        lines = [line for line in questions(reply) if line.casefold() != question.casefold()]
        return [Variant(line, self.name, self.weight) for line in lines[:1]]


class Hyde(QueryStep):
    """Searches for passages like an invented answer, by vectors only (HyDE: Gao et al., arXiv 2212.10496).

    Args:
        llm: The model, {provider: model} or {provider: {option: value}}; a list names others to fall back on.
        weight: Its say in the fusion; the question's own is 1.
        prompts: Supplied by the pipeline.
    """

    name = "hyde"

    def __init__(self, llm: LlmOption, weight: StepWeight = 0.5, prompts: Overrides = None) -> None:
        super().__init__(llm)
        self.weight, self._prompt = weight, prompt("hyde", prompts)

    def prompt(self, question: str) -> str:
        """See `QueryStep.prompt`."""
        return self._prompt.fill(question=neutral(question))

    def variants(self, reply: str, question: str) -> list[Variant]:
        """See `QueryStep.variants`."""
        passage = " ".join(without_thoughts(reply).split())[:_LONGEST_PASSAGE]
        return [Variant(passage, self.name, self.weight, "vector")] if _is_words(passage) else []


class Rewrite(QueryStep):
    """Makes follow-up questions of `kb.chat()` stand alone; without a conversation it does nothing.

    A pipeline that answers with an LLM does so by itself, with that LLM.

    Args:
        llm: The model, {provider: model} or {provider: {option: value}}; a list names others to fall back on.
    """

    name = "rewrite"

    def __init__(self, llm: LlmOption) -> None:
        super().__init__(llm)

    def prompt(self, question: str) -> None:
        """Nothing: the chat asks, which knows what was said before."""

    def variants(self, reply: str, question: str) -> list[Variant]:
        """None: the rewritten question takes the place of the one asked."""
        return []


def questions(reply: str) -> list[str]:
    """The lines of a reply that can be searched for, each once, without bullets and quotation marks."""
    lines = [_BULLET.sub("", line).strip().strip("\"'“”*").strip() for line in without_thoughts(reply).splitlines()]
    kept = [line for line in lines if _is_words(line) and len(line) <= LONGEST_QUESTION and not line.endswith(":")]
    return list({line.casefold(): line for line in kept}.values())


def _is_words(text: str) -> bool:
    return sum(character.isalpha() for character in text) >= 3 and not text.startswith(("{", "<", "```"))
