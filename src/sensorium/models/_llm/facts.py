"""What is known of chat models by their names: whether they take pictures, and what a picture costs in tokens."""

import math
import os
import re
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

Size = tuple[int, int]
"""Width and height in pixels."""

_BLIND = {
    "openai": re.compile(
        r"^(ft:)?(gpt-3|gpt-4(-32k)?(-\d{4})?$|gpt-4-(1106|0125|turbo)-preview|o1-(mini|preview)|o3-mini)"
    ),
    "anthropic": re.compile(r"^claude-(2|instant)"),
}
# Ollama serves any open model; those that take pictures say so in their names or are of these families.
_OLLAMA_SEES = re.compile(r"llava|vision|[-.]?vl\b|vl[:-]|gemma-?3|moondream|minicpm-v|mistral-small3|llama-?4|pixtral")
_HEARS = re.compile(r"^gpt-(4o-)?(mini-)?audio|-audio(-|$)")
_OTHER_NAMES = {"azure_openai": "openai", "openai_multi_modal": "openai", "bedrock_converse": "anthropic"}


def takes_pictures(provider: str, model: str) -> bool:
    """Whether a model takes pictures, as far as its name tells; unknown ones are asked with pictures first.

    Args:
        provider: Name of the LlamaIndex integration ("openai").
        model: Name of the model ("gpt-5-mini").
    """
    name = model.lower().rsplit("/", 1)[-1]
    if provider == "ollama":
        return bool(_OLLAMA_SEES.search(name))
    blind = _BLIND.get(_OTHER_NAMES.get(provider, provider))
    name = name.removeprefix("anthropic.").removeprefix("us.anthropic.")
    return blind is None or not blind.search(name)


def takes_sound(provider: str, model: str) -> bool:
    """Whether LlamaIndex's integration and the model take sound, as far as the name tells; unknown ones get none."""
    name = model.lower().rsplit("/", 1)[-1]
    return _OTHER_NAMES.get(provider, provider) == "openai" and bool(_HEARS.search(name))


def sound_tokens(provider: str, model: str, seconds: float) -> int:
    """Input tokens of sound by what the provider publishes.

    OpenAI: "Managing costs" of its audio models, a token each 100 ms. Google: "Audio understanding", 32 a second.
    Others: 25 a second, as Qwen2-Audio reads it.

    Args:
        provider: Name of the LlamaIndex integration.
        model: Name of the model.
        seconds: Length as sent.
    """
    if _OTHER_NAMES.get(provider, provider) == "openai":
        return math.ceil(seconds * 10)
    return math.ceil(seconds * (32 if model.lower().rsplit("/", 1)[-1].startswith("gemini") else 25))


def picture_tokens(provider: str, model: str, size: Size) -> int:
    """Input tokens of one picture by the provider's published formula.

    OpenAI: "Images and vision", calculating costs: patches of 32 x 32 with a factor, or tiles of 512 x 512. Anthropic:
    "Images and vision", resolution and token cost: patches of 28 x 28. Google: "Image understanding", 258 a tile;
    Gemini 3: "Media resolution", 1120 a picture. Endpoints without a published formula are counted as patches of
    28 x 28, as Qwen-VL does.

    Args:
        provider: Name of the LlamaIndex integration.
        model: Name of the model.
        size: Width and height as sent, in pixels.
    """
    name = model.lower().rsplit("/", 1)[-1]
    if _OTHER_NAMES.get(provider, provider) == "openai":
        return _openai(name, size)
    if provider == "anthropic" or "claude" in name:
        return _anthropic(name, size)
    if provider == "google_genai" or name.startswith("gemini"):
        return _GEMINI_3_TOKENS if name.startswith("gemini-3") else _gemini(size)
    return _covering(size, 28) + 2


# Tokens a patch, most patches, longest side. Those with 1536 patches are about to be shut down, and stand no more in
# OpenAI's table of sizes; their limit is that of its former version.
_PATCHED: tuple[tuple[re.Pattern[str], tuple[float, float, int]], ...] = (
    (re.compile(r"^gpt-(5\.[6-9]|[6-9])"), (1.2, math.inf, 65_535)),
    (re.compile(r"^gpt-5\.5"), (1.2, 10_000, 6000)),
    (re.compile(r"^gpt-5\.4"), (1.2, 2500, 2048)),
    (re.compile(r"^gpt-5\.[23]"), (1.2, 6144, 2048)),
    (re.compile(r"^gpt-4\.1-mini"), (1.62, 6144, 2048)),
    (re.compile(r"^gpt-5-mini"), (1.2, 1536, 2048)),
    (re.compile(r"^gpt-5-nano"), (1.5, 1536, 2048)),
    (re.compile(r"^gpt-4\.1-nano"), (2.46, 1536, 2048)),
    (re.compile(r"^o4-mini"), (1.72, 1536, 2048)),
)
# Base tokens, and tokens of a tile.
_TILED = (
    (re.compile(r"^gpt-4o-mini"), (2833, 5667)),
    (re.compile(r"^(o1|o3)"), (75, 150)),
    (re.compile(r"^gpt-5"), (70, 140)),
)
_GEMINI_3_TOKENS = 1120


def _openai(model: str, size: Size) -> int:
    for pattern, (factor, budget, longest) in _PATCHED:
        if pattern.search(model):
            return math.ceil(round(_patches(size, budget, longest) * factor, 6))
    base, tile = next((costs for pattern, costs in _TILED if pattern.search(model)), (85, 170))
    return base + tile * _tiles(size)


def _covering(size: Size, side: int) -> int:
    """Squares of a side that cover a picture."""
    return math.ceil(size[0] / side) * math.ceil(size[1] / side)


def _patches(size: Size, budget: float, longest: int) -> int:
    scale = min(1.0, longest / max(size))
    width, height = (max(1, round(side * scale)) for side in size)
    if _covering((width, height), 32) <= budget:
        return _covering((width, height), 32)
    shrink = math.sqrt(32 * 32 * budget / (width * height))
    wide, high = width * shrink / 32, height * shrink / 32
    shrink *= min(math.floor(wide) / wide, math.floor(high) / high)
    # A whisker more, so that 1599.9999999 counts as the 1600 that it is.
    return _covering((int(width * shrink + 1e-6), int(height * shrink + 1e-6)), 32)


def _tiles(size: Size) -> int:
    """Tiles of 512 pixels, after fitting into 2048 x 2048 and then the shorter side into 768."""
    scale = min(1.0, 2048 / max(size))
    scale = min(scale, 768 / min(size))
    across, down = (math.ceil(int(side * scale + 1e-6) / 512) for side in size)
    return across * down


def _anthropic(model: str, size: Size) -> int:
    """One token a patch of 28 pixels, of the largest size of this shape within the model's two limits."""
    numbers = [int(number) for number in re.findall(r"\d+", model) if len(number) < 4]
    newer = tuple(numbers[:2]) >= (4, 7)
    edge, tokens = (2576, 4784) if newer else (1568, 1568)

    def fits(width: int, height: int) -> bool:
        longest = 28 * math.ceil(max(width, height) / 28)
        return longest <= edge and _covering((width, height), 28) <= tokens

    long, short = max(size), min(size)
    if fits(long, short):
        return _covering(size, 28)
    low, high = 1, long  # the longer side: the first fits, the second does not
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle, max(1, round(middle * short / long))) else (low, middle)
    return _covering((low, max(1, round(low * short / long))), 28)


def _gemini(size: Size) -> int:
    if max(size) <= 384:
        return 258
    unit = min(768, max(256, math.floor(min(size) / 1.5)))
    return 258 * math.ceil(size[0] / unit) * math.ceil(size[1] / unit)


_OLDER = re.compile(r"^(ft:)?(gpt-3|gpt-4(-|$)|text-|davinci|babbage)")
_FILES = "TIKTOKEN_CACHE_DIR"
_LOADING = threading.Lock()


def counter(model: str = "") -> Callable[[str], int]:
    """Counts the tokens of a text, with the vocabularies that come with LlamaIndex (no download).

    OpenAI's models since GPT-4o read o200k, those before cl100k. Other providers' vocabularies are not published, or
    not at hand; o200k stands in for them.

    Args:
        model: Name of the model.
    """
    return _tokenizer("cl100k_base" if _OLDER.match(model.lower().rsplit("/", 1)[-1]) else "o200k_base")


@cache
def _tokenizer(vocabulary: str) -> Callable[[str], int]:
    import llama_index.core
    import tiktoken

    files = Path(llama_index.core.__file__).parent / "_static" / "tiktoken_cache"
    with _LOADING:  # tiktoken asks the environment where its files are, and would fetch them from the network
        before = os.environ.get(_FILES)
        os.environ[_FILES] = before or str(files)
        try:
            encoding = tiktoken.get_encoding(vocabulary)
        finally:
            os.environ.pop(_FILES) if before is None else os.environ.update({_FILES: before})
    # What looks like a control token in a document is counted as the words that it is.
    return lambda text: len(encoding.encode(text, disallowed_special=()))


__all__ = ["Size", "counter", "picture_tokens", "sound_tokens", "takes_pictures", "takes_sound"]
