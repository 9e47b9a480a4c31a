"""Options that several verbs share."""

import os
from pathlib import Path
from typing import Annotated

import typer

from sensorium.apps._cli.output import printable

DEFAULT_CONFIG = "config.yaml"

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help=f"Configuration (default: {DEFAULT_CONFIG} here, else built-in defaults)."
    ),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Folder of the index; overrides `data:` of the configuration."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Question = Annotated[str | None, typer.Argument(metavar="QUERY", help="A question or words.", show_default=False)]
Image = Annotated[Path | None, typer.Option("--image", metavar="FILE", help="A picture as (part of) the query.")]
Audio = Annotated[Path | None, typer.Option("--audio", metavar="FILE", help="A recording as the query.")]
TopK = Annotated[int | None, typer.Option("--top-k", metavar="K", min=0, help="How many hits.")]
Pipeline = Annotated[str, typer.Option("--pipeline", metavar="NAME", help="A pipeline of the configuration.")]
Filter = Annotated[
    list[str] | None,
    typer.Option(
        "--filter", metavar="KEY=VALUE",
        help="Only hits with this metadata, e.g. kind=table or source=pdf/x.pdf. A key given twice: any of its values.",
    ),
]  # fmt: skip
At = Annotated[
    str | None,
    typer.Option(
        "--at", metavar="TIME", help="Only what is shown or said then in recordings: 75, 1:15, or a span 1:15-1:30."
    ),
]
Batch = Annotated[
    Path | None,
    typer.Option(
        "--batch", metavar="FILE.jsonl",
        help='Many questions: {"id", "question", "image"?, "audio"?} a line; prints one object a line, in order.',
    ),
]  # fmt: skip


def config_file(given: Path | None) -> Path | None:
    """The configuration file to use: the given one, else the default one if it is there."""
    # One that is there but cannot be read is a fault that loading it names, and no reason for the defaults.
    default = Path(DEFAULT_CONFIG)
    return given if given is not None else None if isinstance(look(default), FileNotFoundError) else default


def look(path: Path) -> OSError | None:
    """What keeps a path from being looked at; None for nothing. A broken link can be looked at."""
    try:
        os.lstat(path)
    except OSError as fault:
        return fault
    return None


def check_exists(path: Path) -> None:
    """Check a path that a user named.

    Raises:
        typer.BadParameter: it is not there, or cannot be reached.
    """
    fault = look(path)
    if isinstance(fault, FileNotFoundError):
        raise typer.BadParameter(f"there is no file or folder {printable(str(path))}")
    if fault is not None:
        raise typer.BadParameter(f"{printable(str(path))} cannot be reached: {fault.strerror}")


_NUMBERS = {"page": int, "slide": int, "order": int, "start_s": float, "end_s": float}


def filters(
    given: list[str] | None, at: str | None = None
) -> dict[str, str | int | float | list[str | int | float]] | None:
    """`["kind=table", "page=3", "page=4"]` as `{"kind": "table", "page": [3, 4]}`, and a time as `{"at": "1:15"}`.

    Raises:
        typer.BadParameter: no `=`, or no number where the key wants one.
    """
    values: dict[str, list[str | int | float]] = {}
    for text in [*(given or []), *([f"at={at}"] if at is not None else [])]:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise typer.BadParameter(f"--filter {text!r} is not KEY=VALUE")
        try:
            values.setdefault(key.strip(), []).append(_NUMBERS.get(key.strip(), str)(value))
        except ValueError:
            raise typer.BadParameter(f"--filter {text!r}: {key} is a number") from None
    return {k: v[0] if len(v) == 1 else v for k, v in values.items()} or None
