"""Answers from a multimodal LLM: passages, tables and pictures go in, and what comes back is checked against them."""

import time
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from llama_index.core.base.llms.types import ChatMessage
from pydantic import AfterValidator, Field

from sensorium import prompts as library
from sensorium.errors import ConfigError, ModelError
from sensorium.models.llm import ChatModel, ChatModels, Compose, LlmOption, Reply, chat_models
from sensorium.pipelines._multimodal.pictures import Choice, Pictures
from sensorium.pipelines._multimodal.protocol import Gate, Parsed, parse, split_header
from sensorium.pipelines._multimodal.requests import Limits, Request, RequestMaker
from sensorium.pipelines._multimodal.sounds import Sounds
from sensorium.pipelines._multimodal.sources import Source
from sensorium.pipelines._multimodal.verify import Claim, Encoder, Quotable, Verifier, claims
from sensorium.pipelines.described import described, picture_citation
from sensorium.pipelines.moments import evidence_of
from sensorium.pipelines.results import Answer, Citation, Hit, Outcome, PictureOf, Verdict
from sensorium.pipelines.synthesis import Synthesizer
from sensorium.stores.base import Store

NOTHING = "No information on this was found in the sources."
UNCONFIRMED = "The sources do not state an answer to this."
DECLINED = "The model declined to answer this."
Mode = Literal["one", "refine", "map"]
CLOSEST = 3
"""Hits that an answer names when the model declined and cited none."""
_WEIGHT: Mapping[Verdict | None, float] = {"supported": 1.0, "from picture": 0.5, "unsupported": 0.0, None: 0.0}
_ORDER: Sequence[Verdict] = ("unsupported", "from picture", "supported")


def _checked_prompts(given: library.Overrides) -> library.Overrides:
    try:
        library.check(given)
    except ConfigError as fault:
        raise ValueError(str(fault)) from None
    return given


class Multimodal(Synthesizer):
    """Asks a chat LLM with numbered sources, their pictures among them, and checks each statement that it cites.

    Args:
        store: Supplied by the pipeline: term statistics.
        encoder: Supplied by the pipeline: compares statements with sources.
        picture_of: Supplied by the pipeline: draws evidence.
        llm: The model, {provider: model} or {provider: {option: value}}; a list names others to fall back on.
        max_images: Most pictures in a request.
        max_pixels: Most pixels of one picture, in millions.
        pictures: "auto" sends tables, figures, slides, scans and photographs, "all" the pages of texts too.
        max_sound_s: Most seconds of sound in a request, of what is said in recordings, for models that take sound; 0
            sends none.
        text_tokens: Most tokens of the texts of all sources.
        hits: Most sources in a request.
        mode: "one" request with the best hits; "refine" and "map" read all hits, in requests of `hits` sources each:
            one after the other, each improving the answer so far, or all at once, joined by a last request.
        min_support: An answer of which a smaller share is confirmed by its sources counts as unconfirmed.
        prompts: Folder, relative to the working folder, with prompts that replace ours (answer-system.md, answer.md,
            refine.md, combine.md), or their texts by name; they go before those of the whole configuration.
        shared_prompts: Supplied by the pipeline: `prompts:` of the whole configuration.
    """

    def __init__(
        self, store: Store, encoder: Encoder, picture_of: PictureOf, llm: LlmOption,
        max_images: Annotated[int, Field(ge=0, le=50)] = 6,
        max_pixels: Annotated[float, Field(gt=0, le=20)] = 1.5,
        pictures: Choice = "auto",
        max_sound_s: Annotated[float, Field(ge=0, le=600)] = 120,
        text_tokens: Annotated[int, Field(ge=100)] = 6000,
        hits: Annotated[int, Field(ge=1, le=100)] = 12,
        mode: Mode = "one",
        min_support: Annotated[float, Field(ge=0, le=1)] = 0.0,
        prompts: Annotated[str | dict[str, str] | None, AfterValidator(_checked_prompts)] = None,
        shared_prompts: library.Layer = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.models: ChatModels = chat_models(llm)
        self.store, self.mode, self.min_support = store, mode, min_support
        limits = Limits(hits, text_tokens, max_images, max_pixels, pictures, max_sound_s)
        self._maker = RequestMaker(Pictures(picture_of), limits, (prompts, shared_prompts), Sounds(picture_of))
        self._verifier = Verifier(self._frequencies, encoder)

    def close(self) -> None:
        """See `Synthesizer.close`."""
        self.models.close()

    def request(self, question: str, hits: Sequence[Hit]) -> Request:
        """What would be sent to the first model first, without sending it."""
        return self._maker.make(question, hits, self.models.first)

    def answer(self, question: str, hits: Sequence[Hit]) -> Answer:
        """See `Synthesizer.answer`.

        Raises:
            ModelError: no model answered; names each and why.
        """
        turn = _Turn(self, question, hits)
        if not hits:
            return turn.nothing()
        steps = turn.steps()
        group = next(steps)
        while not turn.last:
            group = steps.send([self.models.chat(compose) for compose in group])
        return turn.finished(self.models.chat(group[0]))

    async def aanswer(self, question: str, hits: Sequence[Hit]) -> Answer:
        """`answer`, without blocking the event loop; cancelling closes the request."""
        import asyncio

        turn = _Turn(self, question, hits)
        if not hits:
            return turn.nothing()
        reply = await self.models.achat(await self._aprepared(turn))
        return await asyncio.to_thread(turn.finished, reply)

    def stream(self, question: str, hits: Sequence[Hit]) -> Iterator[str | Answer]:
        """The words as they come, then the `Answer`, checked; closing the iterator closes the request."""
        turn = _Turn(self, question, hits)
        if not hits:
            yield from _whole(turn.nothing())
            return
        steps = turn.steps()
        group = next(steps)
        while not turn.last:
            group = steps.send([self.models.chat(compose) for compose in group])
        for piece in self.models.stream(group[0]):
            if isinstance(piece, Reply):
                yield from filter(None, [turn.rest()])
                yield turn.finished(piece)
            elif words := turn.heard(piece):
                yield words

    async def astream(self, question: str, hits: Sequence[Hit]) -> AsyncGenerator[str | Answer, None]:
        """`stream`, without blocking the event loop."""
        import asyncio
        from contextlib import aclosing

        turn = _Turn(self, question, hits)
        if not hits:
            for part in _whole(turn.nothing()):
                yield part
            return
        async with aclosing(self.models.astream(await self._aprepared(turn))) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    if rest := turn.rest():
                        yield rest
                    yield await asyncio.to_thread(turn.finished, piece)
                elif words := turn.heard(piece):
                    yield words

    async def _aprepared(self, turn: "_Turn") -> Compose:
        """Make all requests but the last, those that do not wait for each other at once."""
        import asyncio

        steps = turn.steps()
        group = next(steps)
        while not turn.last:
            group = steps.send(await asyncio.gather(*(self.models.achat(compose) for compose in group)))
        return group[0]

    def _frequencies(self, words: Sequence[str]) -> tuple[Mapping[str, int], int]:
        return self.store.document_frequency(words), self.store.count()


@dataclass
class _Turn:
    """One question on its way: what was sent, what has been heard, and what becomes of it."""

    owner: Multimodal
    question: str
    hits: Sequence[Hit]
    started: float = field(default_factory=time.perf_counter)
    compose_s: float = 0.0
    last: bool = False
    replies: list[Reply] = field(default_factory=list)
    requests: dict[int, Request] = field(default_factory=dict)
    _gate: Gate | None = None

    def steps(self) -> Generator[list[Compose], Sequence[Reply], None]:
        """Requests to make, group by group; `last` is set with the one whose reply is the answer."""
        size = self.owner._maker.limits.hits
        starts = range(0, len(self.hits), size) if self.owner.mode != "one" else [0]
        if self.owner.mode == "map" and len(starts) > 1:
            replies = yield [self._asking(start, size) for start in starts]
            self.replies += replies
            self.last = True
            yield [self._joining([split_header(reply.text)[1] for reply in replies if _tells(reply)])]
            return
        draft = None
        for start in starts[:-1]:
            replies = yield [self._asking(start, size, draft)]
            self.replies += replies
            draft = split_header(replies[0].text)[1] if _tells(replies[0]) else draft
        self.last = True
        yield [self._asking(starts[-1], size, draft)]

    def _asking(self, start: int, size: int, draft: str | None = None) -> Compose:
        def compose(model: ChatModel, shrinks: int) -> Sequence[ChatMessage]:
            # With one request all hits are given, so that those without room are counted as left out.
            hits = self.hits if self.owner.mode == "one" else self.hits[start : start + size]
            started = time.perf_counter()
            request = self.owner._maker.make(self.question, hits, model, shrinks, start + 1, draft)
            return self._sent(start, request, model, started)

        return compose

    def _joining(self, drafts: Sequence[str]) -> Compose:
        def compose(model: ChatModel, shrinks: int) -> Sequence[ChatMessage]:
            started = time.perf_counter()
            request = self.owner._maker.joined(self.question, drafts or ["(no answer)"], model)
            return self._sent(len(self.hits), request, model, started)

        return compose

    def _sent(self, key: int, request: Request, model: ChatModel, started: float) -> Sequence[ChatMessage]:
        self.requests[key] = request
        self._gate = Gate(self.sources)
        messages = request.messages(model.system_role())
        self.compose_s += time.perf_counter() - started
        return messages

    @property
    def sources(self) -> dict[int, Source]:
        """All that were sent, by number."""
        return {s.number: s for _, request in sorted(self.requests.items()) for s in request.sources}

    def heard(self, piece: str) -> str:
        """Words of a stream that can be shown."""
        assert self._gate is not None, "compose comes first"
        return self._gate.push(piece)

    def rest(self) -> str:
        assert self._gate is not None, "compose comes first"
        return self._gate.end()

    def nothing(self) -> Answer:
        return Answer(self.question, NOTHING, "nothing", 0.0, seconds=time.perf_counter() - self.started)

    def finished(self, reply: Reply) -> Answer:
        """The answer in a reply.

        Raises:
            ModelError: nothing stands in it but the first line.
        """
        started = time.perf_counter()
        sources = self.sources
        parsed = parse(reply.text, sources)
        if not parsed.text and parsed.answerable is not False and not reply.refused:
            raise ModelError(f"{reply.model} gave no answer: {reply.text[:200]!r}", "Ask again, or ask another model.")
        checked = [self.owner._verifier.check(claim, sources, self.question) for claim in claims(parsed.text)]
        support = sum(_WEIGHT[claim.verdict] for claim in checked) / len(checked) if checked else 0.0
        outcome = self._outcome(reply, parsed, support)
        citations = self._citations(parsed, checked, sources, outcome)
        trace = self._trace(reply, checked, time.perf_counter() - started)
        return Answer(
            self.question, _text(reply, parsed), outcome, support, citations, tuple(self.hits),
            time.perf_counter() - self.started, trace, tuple(_notes(reply, parsed, checked)),
        )  # fmt: skip

    def _outcome(self, reply: Reply, parsed: Parsed, support: float) -> Outcome:
        confirmed = parsed.answerable is not False and not reply.refused and support >= self.owner.min_support
        return "answered" if confirmed else "unconfirmed"

    def _citations(
        self, parsed: Parsed, checked: Sequence[Claim], sources: Mapping[int, Source], outcome: Outcome
    ) -> tuple[Citation, ...]:
        markers = sorted(parsed.markers)
        if not markers and outcome != "answered":
            return tuple(_citation(source, []) for source in list(sources.values())[:CLOSEST])
        return tuple(_citation(sources[n], [claim for claim in checked if n in claim.markers]) for n in markers)

    def _trace(self, reply: Reply, checked: Sequence[Claim], verify_s: float) -> dict[str, Any]:
        requests = list(self.requests.values())
        pictures = [
            {"source": source.number, "role": p.role, "size": list(p.size), "media_type": p.media_type,
             "bytes": len(p.data)}
            for source in self.sources.values() for p in source.pictures
        ]  # fmt: skip
        sounds = [
            {"source": number, "seconds": round(clip.seconds, 2), "media_type": clip.media_type,
             "bytes": len(clip.data)}
            for request in requests for number, clip in request.sounds.items()
        ]  # fmt: skip
        notes = list(dict.fromkeys(note for request in requests for note in request.notes))
        return {
            "llm": reply.public() | {"estimated_input_tokens": sum(request.tokens for request in requests)},
            "earlier": [earlier.public() for earlier in self.replies],
            "prompt": {"sources": len(self.sources), "pictures": pictures, "sounds": sounds, "notes": notes},
            "claims": [asdict(claim) for claim in checked],
            "compose_s": self.compose_s, "verify_s": verify_s,
        }  # fmt: skip


def _tells(reply: Reply) -> bool:
    """Whether a reader found something."""
    answerable, words = split_header(reply.text)
    return answerable is not False and not reply.refused and bool(words.strip())


def _citation(source: Source, said: Sequence[Claim]) -> Citation:
    hit = source.hit
    verdicts = [claim.verdict for claim in said if claim.verdict]
    verdict = min(verdicts, key=_ORDER.index) if verdicts else None
    score = max((claim.score for claim in said), default=0.0)
    if described(hit):
        return picture_citation(source.number, hit, score, verdict)
    quote = Quotable(source).quote([claim.text for claim in said])
    evidence = evidence_of(hit.node, quote)
    return Citation(source.number, quote, score, evidence, hit.node.node_id, hit.node.metadata, verdict=verdict)


def _text(reply: Reply, parsed: Parsed) -> str:
    if reply.refused:
        return f"{DECLINED} {parsed.text}".strip()
    return parsed.text or UNCONFIRMED


def _notes(reply: Reply, parsed: Parsed, checked: Sequence[Claim]) -> Iterator[str]:
    if reply.partial:
        yield f"The answer breaks off: {reply.partial}."
    if parsed.unknown:
        yield f"Markers of no source were removed: {', '.join(map(str, parsed.unknown))}."
    for claim in checked:
        if claim.verdict == "unsupported" and parsed.answerable is not False:
            why = f" ({', '.join(claim.missing)} not found there)" if claim.missing and claim.markers else ""
            where = "its source does not confirm it" if claim.markers else "no source is cited"
            yield f'Not confirmed, {where}{why}: "{claim.text}"'


def _whole(answer: Answer) -> Iterator[str | Answer]:
    yield answer.text
    yield answer
