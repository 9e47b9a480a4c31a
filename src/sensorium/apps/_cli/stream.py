"""`ask --stream`: words as they come."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from sensorium.apps._cli.output import pour

if TYPE_CHECKING:
    from sensorium.pipelines.results import Answer


def follow(parts: "AsyncGenerator[str | Answer, None]") -> dict[str, Any]:
    """Print the pieces of an answer; an interrupt closes the model's request.

    Returns:
        The whole answer, as `Answer.public()` gives it.
    """

    async def listen() -> dict[str, Any]:
        given: dict[str, Any] = {}
        async with aclosing(parts):
            async for part in parts:
                if isinstance(part, str):
                    pour(part)
                else:
                    given = part.public()
        return given

    try:
        return asyncio.run(listen())
    finally:
        pour("\n")
