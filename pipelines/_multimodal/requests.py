"""What is sent to a model: the messages, what is in them, and what was left out to fit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ContentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
)

from sensorium.models.llm import ChatModel, counter
from sensorium.pipelines._multimodal.pictures import Choice, Chosen, Pictures, Prepared
from sensorium.pipelines._multimodal.sounds import Clip, Heard, Sounds, spoken
from sensorium.pipelines._multimodal.sources import Source, neutral, shown_text
from sensorium.pipelines.results import Hit
from sensorium.prompts import Overrides, prompt

MESSAGE_TOKENS = 8
"""What a message costs besides its words."""
_SHORTEST_TEXT = 40


@dataclass(frozen=True)
class Limits:
    """What a prompt may hold.

    Attributes:
        hits: Sources.
        text_tokens: Of all their texts.
        images: Pictures.
        megapixels: Of one picture, in millions.
        pictures: Which pictures.
        sound_s: Seconds of sound.
    """

    hits: int
    text_tokens: int
    images: int
    megapixels: float
    pictures: Choice
    sound_s: float = 0.0


@dataclass(frozen=True)
class Request:
    """A prompt, ready to be sent.

    Attributes:
        question: As asked.
        system: The system message.
        sources: In order.
        before: What stands before the sources.
        behind: What stands behind them, with the question.
        tokens: Estimated input tokens, pictures with them.
        notes: What was left out, for the answer and its trace.
        sounds: Clips by number of their source.
    """

    question: str
    system: str
    sources: tuple[Source, ...]
    before: str
    behind: str
    tokens: int = 0
    notes: tuple[str, ...] = field(default=())
    sounds: Mapping[int, Clip] = field(default_factory=dict, repr=False)

    def blocks(self) -> list[ContentBlock]:
        """Blocks of the user message, neighbouring texts joined."""
        blocks: list[ContentBlock] = []
        words = self.before
        for source in self.sources:
            words += source.head()
            for picture in source.pictures:
                blocks.append(TextBlock(text=words + source.picture_label(picture)))
                blocks.append(ImageBlock(image=picture.data, image_mimetype=picture.media_type))
                words = ""
            if (clip := self.sounds.get(source.number)) is not None:
                blocks.append(TextBlock(text=words + _sound_label(source.number, clip)))
                blocks.append(AudioBlock(audio=clip.data, format="wav"))
                words = ""
            words += "\n"
        return [*blocks, TextBlock(text=words.lstrip("\n") + self.behind)]

    def messages(self, system_role: MessageRole = MessageRole.SYSTEM) -> list[ChatMessage]:
        """The messages as LlamaIndex takes them."""
        return [
            ChatMessage(role=system_role, content=self.system),
            ChatMessage(role=MessageRole.USER, blocks=self.blocks()),
        ]

    def pictures(self) -> list[Prepared]:
        """All pictures in the order in which they are sent."""
        return [picture for source in self.sources for picture in source.pictures]

    def shown(self, folder: Path | None = None) -> dict[str, Any]:
        """The request for people and programs, pictures as files.

        Args:
            folder: Where the pictures are written; None: they are only described.
        """
        media: Iterator[Prepared | Clip] = (
            medium for source in self.sources for medium in (*source.pictures, self.sounds.get(source.number)) if medium
        )
        messages = []
        for message in self.messages():
            parts = [
                {"text": block.text} if isinstance(block, TextBlock) else _described(next(media), folder)
                for block in message.blocks
            ]
            messages.append({"role": str(message.role.value), "parts": parts})
        return {
            "question": self.question, "messages": messages, "estimated_input_tokens": self.tokens,
            "notes": list(self.notes),
        }  # fmt: skip


def _sound_label(number: int, clip: Clip) -> str:
    return f"Sound of [{number}]: {clip.seconds:.0f} seconds of what is said.\n"


def _described(picture: Prepared | Clip, folder: Path | None) -> dict[str, Any]:
    if isinstance(picture, Clip):
        name = f"{sha256(picture.data).hexdigest()[:16]}.wav"
        if folder is not None:
            (folder / name).write_bytes(picture.data)
        return {
            "file": name if folder is None else str(folder / name), "media_type": picture.media_type,
            "seconds": round(picture.seconds, 2), "bytes": len(picture.data),
        }  # fmt: skip
    name = f"{picture.digest[:16]}.{picture.media_type.rpartition('/')[2]}"
    if folder is not None:
        (folder / name).write_bytes(picture.data)
    return {
        "file": name if folder is None else str(folder / name), "media_type": picture.media_type,
        "width": picture.size[0], "height": picture.size[1], "bytes": len(picture.data),
    }  # fmt: skip


class RequestMaker:
    """Makes requests within a model's room.

    Args:
        pictures: Draws and keeps pictures.
        sounds: Cuts and keeps clips.
        limits: What a prompt may hold.
        overrides: Prompts that replace ours.
    """

    def __init__(
        self, pictures: Pictures, limits: Limits, overrides: Overrides = None, sounds: Sounds | None = None
    ) -> None:
        self._pictures, self.limits, self._sounds = pictures, limits, sounds
        self._prompts = {name: prompt(name, overrides) for name in ("answer-system", "answer", "refine", "combine")}

    def joined(self, question: str, drafts: Sequence[str], model: ChatModel) -> Request:
        """The request that joins answers of several requests into one."""
        listed = "\n\n".join(f"<reader>\n{draft.strip()}\n</reader>" for draft in drafts)
        text = self._prompts["combine"].fill(drafts=listed, question=neutral(question))
        made = Request(question, self._prompts["answer-system"].fill(), (), text, "")
        return replace(made, tokens=_fixed(made, counter(model.model)))

    def make(
        self, question: str, hits: Sequence[Hit], model: ChatModel, shrinks: int = 0, first: int = 1,
        draft: str | None = None,
    ) -> Request:  # fmt: skip
        """The request for a question.

        Args:
            question: As asked.
            hits: Best first; the lowest ranked are dropped when there is no room.
            model: Who is asked; decides the room and whether pictures are sent.
            shrinks: How often the prompt was too long already; each halves the room.
            first: Number of the first source.
            draft: An answer from other sources, to be improved.
        """
        count = counter(model.model)
        values = {"question": neutral(question)} | ({} if draft is None else {"draft": draft})
        before, behind = self._prompts["answer" if draft is None else "refine"].halves("sources", **values)
        empty = Request(question, self._prompts["answer-system"].fill(), (), before, behind)
        room = model.room() // 2**shrinks - _fixed(empty, count)
        heard = self._heard(hits, model, room, shrinks)
        room -= _sound_cost(heard.clips, model, count)
        texts = self._texts(hits, min(self.limits.text_tokens // 2**shrinks, room), count)
        while True:
            # Pictures of dropped sources may have shown others too, so they are chosen again after each drop.
            chosen = self._chosen(hits[: len(texts)], model, shrinks)
            sources, tokens = _fit(_sources(hits, texts, chosen, first), model, room, count)
            if len(sources) == len(texts):
                break
            texts = texts[: len(sources)]
        notes = self._notes(hits, sources, chosen, model, heard)
        clips = {at: clip for at, clip in heard.clips.items() if at < len(sources)}
        tokens += _fixed(empty, count) + _sound_cost(clips, model, count)
        return replace(
            empty, sources=tuple(sources), tokens=tokens, notes=tuple(notes),
            sounds={first + at: clip for at, clip in clips.items()},
        )  # fmt: skip

    def _heard(self, hits: Sequence[Hit], model: ChatModel, room: int, shrinks: int) -> Heard:
        """Sound for a model that hears; at most a quarter of the room, and less of it each time it was too much."""
        if self._sounds is None or not model.hearing:
            return Heard()
        affordable = max(room, 0) / 4 / model.sound_tokens(1.0)
        return self._sounds.choose(hits[: self.limits.hits], min(self.limits.sound_s / 2**shrinks, affordable))

    def _texts(self, hits: Sequence[Hit], budget: int, count: Callable[[str], int]) -> list[str]:
        """Texts of as many hits as the budget holds, at least of the first."""
        texts: list[str] = []
        for hit in hits[: self.limits.hits]:
            text = shown_text(hit)
            tokens = count(text)
            budget -= count(Source(1, hit, "").head())
            if tokens > budget:
                if not texts or budget >= _SHORTEST_TEXT:
                    texts.append(_cut(text, max(budget, _SHORTEST_TEXT), tokens))
                break
            texts.append(text)
            budget -= tokens
        return texts

    def _chosen(self, hits: Sequence[Hit], model: ChatModel, shrinks: int) -> Chosen:
        choice: Choice = self.limits.pictures if model.vision else "off"
        return self._pictures.choose(hits, choice, self.limits.images // 2**shrinks, self.limits.megapixels)

    def _notes(
        self, hits: Sequence[Hit], sources: Sequence[Source], chosen: Chosen, model: ChatModel, heard: Heard
    ) -> list[str]:
        notes = [*chosen.problems, *heard.problems]
        if heard.left_out:
            notes.append(f"the sound of {heard.left_out} sources was left out (max_sound_s)")
        if not model.hearing and self.limits.sound_s > 0 and spoken([source.hit for source in sources]):
            notes.append(f"{model.name} gets no sound; only the words of what is said were sent")
        if len(sources) < len(hits):
            notes.append(f"{len(hits) - len(sources)} of {len(hits)} hits, the lowest ranked, were left out for space")
        if chosen.left_out:
            notes.append(f"{chosen.left_out} pictures more than max_images were left out")
        if not model.vision and self.limits.pictures != "off":
            notes.append(f"{model.name} takes no pictures; only the texts of the sources were sent")
        return notes


def _sources(hits: Sequence[Hit], texts: Sequence[str], chosen: Chosen, first: int) -> list[Source]:
    return [
        Source(
            first + i, hits[i], text, chosen.pictures.get(i, ()),
            first + chosen.shown_with[i] if i in chosen.shown_with else 0,
        )
        for i, text in enumerate(texts)
    ]  # fmt: skip


def _fit(sources: list[Source], model: ChatModel, room: int, count: Callable[[str], int]) -> tuple[list[Source], int]:
    """Sources within the room: the lowest ranked go; before that, pictures that take more than half of it."""
    sources = list(sources)
    costs = [_cost(source, model, count) for source in sources]
    while sources and sum(costs) > room:
        shown = [i for i, source in enumerate(sources) if source.pictures]
        spent = sum(model.picture_tokens(p.size) for source in sources for p in source.pictures)
        if shown and (spent > room // 2 or len(sources) == 1):
            last = shown[-1]
            sources[last] = replace(sources[last], pictures=sources[last].pictures[:-1])
            costs[last] = _cost(sources[last], model, count)
        elif len(sources) > 1:
            sources, costs = sources[:-1], costs[:-1]
        else:
            break
    shown_by = {source.number for source in sources if source.pictures}
    return [s if s.shown_with in shown_by else replace(s, shown_with=0) for s in sources], sum(costs)


def _cost(source: Source, model: ChatModel, count: Callable[[str], int]) -> int:
    pictures = sum(model.picture_tokens(p.size) + count(source.picture_label(p)) for p in source.pictures)
    return count(source.head()) + pictures + 1


def _sound_cost(clips: Mapping[int, Clip], model: ChatModel, count: Callable[[str], int]) -> int:
    return sum(model.sound_tokens(clip.seconds) + count(_sound_label(1, clip)) for clip in clips.values())


def _fixed(request: Request, count: Callable[[str], int]) -> int:
    return count(request.system) + count(request.before + request.behind) + 2 * MESSAGE_TOKENS


def _cut(text: str, budget: int, tokens: int) -> str:
    return text[: max(1, len(text) * budget // max(tokens, 1))].rsplit(" ", 1)[0] + " …"
