"""`ask --show-prompt`: exactly what would be sent, with its pictures as files."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sensorium.apps._cli import output

if TYPE_CHECKING:
    from sensorium.pipelines._multimodal.requests import Request


def show(request: "Request", as_json: bool) -> None:
    """Print a request; its pictures go to a new temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="sensorium-prompt-")) if request.pictures() else None
    shown = request.shown(folder)
    if as_json:
        output.emit(shown)
        return
    for message in shown["messages"]:
        output.say(f"--- {message['role']}")
        for part in message["parts"]:
            words = part.get("text") or _picture(part)
            output.say(output.printable(words.rstrip("\n"), lines=True))
    output.note(f"about {shown['estimated_input_tokens']:,} input tokens; nothing was sent")
    for remark in shown["notes"]:
        output.note(f"note: {output.printable(remark)}")


def _picture(part: dict[str, object]) -> str:
    size = f"{part['seconds']} s" if "seconds" in part else f"{part['width']} x {part['height']}"
    return f"<{part['file']}: {part['media_type']}, {size}, {part['bytes']:,} bytes>"
