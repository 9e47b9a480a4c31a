"""Keeps pictures and keys out of logs: the providers' clients log whole requests at level DEBUG."""

import logging
import re

_LOGGERS = (
    "openai._base_client", "anthropic._base_client", "httpx", "httpcore", "httpcore.http11", "httpcore.http2",
    "google_genai", "ollama", "botocore", "botocore.endpoint", "botocore.parsers",
)  # fmt: skip
_PICTURE = re.compile(r"[A-Za-z0-9+/_-]{200,}={0,2}")
_KEY = re.compile(r"(?i)((?:api[_-]?key|authorization|x-goog-api-key)\W{1,6}(?:b'|bearer )*)[^\s'\",)}]{6,}")


class WithoutMedia(logging.Filter):
    """Replaces base64 data and keys in a record by "…"."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through, with its text cleaned."""
        text = record.getMessage()
        clean = _KEY.sub(r"\1…", _PICTURE.sub("…", text))
        if clean != text:
            record.msg, record.args = clean, None
        return True


_FILTER = WithoutMedia()


def quiet() -> None:
    """Clean what the clients log; calling it again changes nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)
