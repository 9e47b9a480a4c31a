"""What the head of a GGUF file says: enough to tell whether a model fits before its weights are read.

Format: "GGUF" in the documentation of ggml; little-endian, strings and arrays with 64-bit lengths.
"""

import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sensorium.errors import ConfigError

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_ENTRIES, _LONGEST_KEPT = 100_000, 4096
_CACHE_BYTES = 2
"""Of one number of the key and value cache (float16)."""


def check(path: Path) -> None:
    """Look at the first bytes of a file only.

    Raises:
        ConfigError: there is no such file, or it is no GGUF.
    """
    _read(path, lambda file: {})


def read_head(path: Path) -> Mapping[str, Any]:
    """The metadata of a model; long arrays, such as its vocabulary, are left out.

    Args:
        path: A GGUF file.

    Raises:
        ConfigError: there is no such file, it is no GGUF, or it is damaged.
    """
    return _read(path, _entries)


def _read(path: Path, read: Callable[[BinaryIO], dict[str, Any]]) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ConfigError(f"{path} is no GGUF file.", "Give the file of a model for llama.cpp (*.gguf).")
            return read(file)
    except FileNotFoundError:
        raise ConfigError(f"There is no model file {path}.", "The path is relative to the working folder.") from None
    except (OSError, struct.error, UnicodeDecodeError, KeyError, MemoryError, OverflowError) as fault:
        raise ConfigError(f"The model file {path} cannot be read: {fault or type(fault).__name__}.") from None


def needed_bytes(path: Path, head: Mapping[str, Any], window: int) -> int:
    """Memory of the weights and of the cache of keys and values of `window` tokens, in bytes; a lower bound."""
    kind = head.get("general.architecture", "")

    def fact(name: str, otherwise: int) -> int:
        value = head.get(f"{kind}.{name}", otherwise)
        return int(max(value)) if isinstance(value, list) and value else int(value or otherwise)

    layers, heads = fact("block_count", 0), fact("attention.head_count", 1)
    width = fact("embedding_length", 0) // max(heads, 1)
    each = fact("attention.key_length", width) + fact("attention.value_length", width)
    cache = layers * fact("attention.head_count_kv", heads) * each * _CACHE_BYTES * window
    return path.stat().st_size + cache


def trained_window(head: Mapping[str, Any]) -> int:
    """Tokens that the model was trained on at once; 0 when it does not tell."""
    return int(head.get(f"{head.get('general.architecture', '')}.context_length", 0))


def free_bytes() -> int | None:
    """Memory that can be taken without swapping, within a container's limit; None where the system does not tell."""
    limits = [limit for limit in (_free_of_machine(), _free_of_container()) if limit is not None]
    return min(limits) if limits else None


def _free_of_container() -> int | None:
    """What the control group (version 2, then 1) leaves."""
    for folder, most, used in (
        ("", "memory.max", "memory.current"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        group = Path("/sys/fs/cgroup") / folder
        try:
            return max(0, int((group / most).read_text()) - int((group / used).read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return None


def _free_of_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _entries(file: BinaryIO) -> dict[str, Any]:
    _version, _tensors, count = _unpack(file, "IQQ")
    if count > _MOST_ENTRIES:
        raise KeyError(f"{count} entries")
    found = {}
    for _ in range(count):
        name = _string(file)
        found[name] = _value(file, _unpack(file, "I")[0])
    return found


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(file)
    if kind != _ARRAY:
        return _unpack(file, _NUMBERS[kind])[0]
    inner, count = _unpack(file, "IQ")
    if inner == _STRING:
        for _ in range(count):
            _skip(file, _unpack(file, "Q")[0])
        return None
    size = struct.calcsize("<" + _NUMBERS[inner])
    if count > _LONGEST_KEPT:
        return _skip(file, count * size)
    return list(_unpack(file, _NUMBERS[inner] * count))


def _string(file: BinaryIO) -> str:
    (length,) = _unpack(file, "Q")
    if length > _LONGEST_KEPT * 64:
        _skip(file, length)
        return ""
    return file.read(length).decode("utf-8", "replace")


def _skip(file: BinaryIO, count: int) -> None:
    file.seek(count, os.SEEK_CUR)


def _unpack(file: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack("<" + form, file.read(struct.calcsize("<" + form)))
