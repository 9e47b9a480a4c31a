"""What is known of chat models by their names: whether they take pictures, and what a picture costs in tokens."""

import math
import re
from collections.abc import Callable

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
_OTHER_NAMES = {"azure_openai": "openai", "bedrock_converse": "anthropic"}


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


def picture_tokens(provider: str, model: str, size: Size) -> int:
    """Input tokens of one picture by the provider's published formula.

    OpenAI: "Images and vision", calculating costs (patches of 32 x 32 with a factor, or tiles of 512 x 512).
    Anthropic: "Vision", width x height / 750 after scaling to 1568 pixels. Google: "Image understanding",
    258 a tile. Endpoints without a published formula are counted as patches of 28 x 28, as Qwen-VL does.

    Args:
        provider: Name of the LlamaIndex integration.
        model: Name of the model.
        size: Width and height as sent, in pixels.
    """
    name = model.lower().rsplit("/", 1)[-1]
    if provider in ("openai", "azure_openai"):
        return _openai(name, size)
    if provider == "anthropic" or "claude" in name:
        return _anthropic(size)
    if provider == "google_genai" or name.startswith("gemini"):
        return _gemini(size)
    return math.ceil(size[0] / 28) * math.ceil(size[1] / 28) + 2


_PATCHED = (
    (re.compile(r"^(gpt-4\.1-mini|gpt-5(\.\d)?-mini)"), 1.62),
    (re.compile(r"^(gpt-4\.1-nano|gpt-5(\.\d)?-nano)"), 2.46),
    (re.compile(r"^o4-mini"), 1.72),
)
_TILED = (
    (re.compile(r"^gpt-4o-mini"), (2833, 5667)),
    (re.compile(r"^(o1|o3)"), (75, 150)),
    (re.compile(r"^gpt-5"), (70, 140)),
)
_MOST_PATCHES = 1536


def _openai(model: str, size: Size) -> int:
    for pattern, factor in _PATCHED:
        if pattern.search(model):
            return math.ceil(_patches(size) * factor)
    base, tile = next((costs for pattern, costs in _TILED if pattern.search(model)), (85, 170))
    return base + tile * _tiles(size)


def _patches(size: Size) -> int:
    width, height = size
    across, down = math.ceil(width / 32), math.ceil(height / 32)
    if across * down <= _MOST_PATCHES:
        return across * down
    shrink = math.sqrt(32 * 32 * _MOST_PATCHES / (width * height))
    wide, high = width * shrink / 32, height * shrink / 32
    shrink *= min(math.floor(wide) / wide, math.floor(high) / high)
    return min(math.ceil(width * shrink / 32 - 1e-6) * math.ceil(height * shrink / 32 - 1e-6), _MOST_PATCHES)


def _tiles(size: Size) -> int:
    """Tiles of 512 pixels, after fitting into 2048 x 2048 and then the shorter side into 768."""
    scale = min(1.0, 2048 / max(size))
    scale = min(scale, 768 / min(size))
    across, down = (math.ceil(round(side * scale, 3) / 512) for side in size)
    return across * down


def _anthropic(size: Size) -> int:
    scale = min(1.0, 1568 / max(size))
    return math.ceil(size[0] * scale * size[1] * scale / 750)


def _gemini(size: Size) -> int:
    if max(size) <= 384:
        return 258
    unit = min(768, max(256, math.floor(min(size) / 1.5)))
    return 258 * math.ceil(size[0] / unit) * math.ceil(size[1] / unit)


def counter() -> Callable[[str], int]:
    """Counts the tokens of a text, with the vocabulary that comes with LlamaIndex (cl100k; needs no download)."""
    from llama_index.core.utils import get_tokenizer

    tokenizer = get_tokenizer()
    return lambda text: len(tokenizer(text))


__all__ = ["Size", "counter", "picture_tokens", "takes_pictures"]
