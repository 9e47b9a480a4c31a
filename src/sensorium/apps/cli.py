"""The command line: `sensorium init index search ask show status delete copy validate schema`.

Heavy modules are imported inside the verbs, so that `--help` is quick.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sensorium.apps._cli import options, output
from sensorium.apps._cli.guard import SOME_FAILED, USAGE, guarded

if TYPE_CHECKING:
    from sensorium.knowledge_base import KnowledgeBase

SCHEMA_FILE = "config.schema.json"

app = typer.Typer(
    name="sensorium", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Multimodal RAG: index a folder, ask, and open the evidence behind every answer.",
    epilog="Exit codes: 0 done; 1 unexpected error; 2 wrong usage or invalid configuration; 3 some sources failed, or "
           "`status --verify` found something.",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


def main() -> None:
    """Entry of the `sensorium` command."""
    app(prog_name="sensorium")


def _version(wanted: bool) -> None:
    if wanted:
        from sensorium import __version__

        output.say(f"sensorium {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
@guarded
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write it.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a configuration that is there.")] = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> int:
    """Write a commented config.yaml with every default, and its schema for editors."""
    import json

    from sensorium.pipelines.spec import default_yaml, json_schema

    config, schema_file = folder / options.DEFAULT_CONFIG, folder / SCHEMA_FILE
    there = [str(file) for file in (config, schema_file) if file.exists()]
    if there and not force:
        output.note(f"error: {' and '.join(there)} would be overwritten")
        output.note("hint: --force overwrites")
        return USAGE
    folder.mkdir(parents=True, exist_ok=True)
    schema_file.write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    config.write_text(default_yaml(), encoding="utf-8")
    if as_json:
        output.emit({"written": [str(config), str(schema_file)]})
    else:
        output.say(f"Wrote {config} and {schema_file}. Next: sensorium index FOLDER")
    return 0


@app.command()
@guarded
def index(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders.", show_default=False)],
    prune: Annotated[bool, typer.Option("--prune", help="Remove sources that vanished from these folders.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what index.captions would cost; store and send nothing.")
    ] = False,
    config: options.Config = None,
    data: options.Data = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> int:
    """Index files and folders; what did not change costs nothing."""
    from sensorium.apps._cli.progress import Meter

    for path in paths:
        options.check_exists(path)
    if dry_run:
        from sensorium.apps._cli.estimate import show as show_estimate

        with _open(config, data) as kb:
            return show_estimate(kb.estimate(*paths), as_json)
    with _open(config, data) as kb, Meter() as meter:
        report = kb.index(*paths, prune=prune, progress=meter)
    public = report.public()
    if as_json:
        output.emit(public)
    else:
        _lines(output.report_text(public))
    return SOME_FAILED if report.failed else 0


@app.command()
@guarded
def search(
    query: options.Question = None,
    image: options.Image = None,
    audio: options.Audio = None,
    top_k: options.TopK = None,
    pipeline: options.Pipeline = "default",
    filter_: options.Filter = None,
    at: options.At = None,
    batch: options.Batch = None,
    config: options.Config = None,
    data: options.Data = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> int:
    """Find passages, tables and pictures."""
    _check_question(query, image, audio, batch)
    more: dict[str, Any] = {"top_k": top_k, "pipeline": pipeline, "filters": options.filters(filter_, at)}
    with _reading(config, data) as kb:

        def find(text: str, image: Path | None, audio: Path | None) -> dict[str, Any]:
            started = time.perf_counter()
            hits = kb.search(_clean(text), image=image, audio=audio, **more)
            seconds = round(time.perf_counter() - started, 4)
            return {"query": text, "hits": [hit.public() for hit in hits], "seconds": seconds}

        if batch is not None:
            from sensorium.apps._cli.batch import run

            return run(batch, lambda asked: find(asked.question, asked.image, asked.audio))
        found = find(query or "", image, audio)
    if as_json:
        output.emit(found)
    else:
        _lines(output.hits_text(found["hits"], _again(config, data), more["filters"]))
    return 0


@app.command()
@guarded
def ask(
    query: options.Question = None,
    image: options.Image = None,
    audio: options.Audio = None,
    top_k: options.TopK = None,
    pipeline: options.Pipeline = "default",
    filter_: options.Filter = None,
    at: options.At = None,
    batch: options.Batch = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print the words as the model writes them.")] = False,
    show_prompt: Annotated[
        bool, typer.Option("--show-prompt", help="Print what would be sent (pictures as files), and send nothing.")
    ] = False,
    locate: Annotated[
        bool, typer.Option("--locate", help="With --json: where in its page each quote stands (quote_box).")
    ] = False,
    config: options.Config = None,
    data: options.Data = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> int:
    """Answer a question with citations that open."""
    _check_question(query, image, audio, batch)
    if batch is not None and (stream or show_prompt):
        raise typer.BadParameter("--batch goes without --stream and --show-prompt")
    more: dict[str, Any] = {"top_k": top_k, "pipeline": pipeline, "filters": options.filters(filter_, at)}
    with _reading(config, data) as kb:

        def answer(text: str, image: Path | None, audio: Path | None) -> dict[str, Any]:
            given = kb.ask(_clean(text), image=image, audio=audio, **more)
            return given.located() if locate else given.public()

        if batch is not None:
            from sensorium.apps._cli.batch import run

            return run(batch, lambda asked: answer(asked.question, asked.image, asked.audio))
        if show_prompt:
            from sensorium.apps._cli.prompt import show as show_request

            show_request(kb.request(_clean(query or ""), image=image, audio=audio, **more), as_json)
            return 0
        if stream and not as_json:
            from sensorium.apps._cli.stream import follow

            given = follow(kb.astream(_clean(query or ""), image=image, audio=audio, **more))
            _lines(output.citations_text(given, _again(config, data)))
            return 0
        given = answer(query or "", image, audio)
    if as_json:
        output.emit(given)
    else:
        _lines(output.answer_text(given, _again(config, data)))
    return 0


@app.command()
@guarded
def show(
    node_id: Annotated[str, typer.Argument(metavar="NODE_ID", help="From `search --json` or a citation.")],
    file: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help='Where to write it; "-" is stdout.')
    ] = None,
    quote: Annotated[
        str | None, typer.Option("--quote", metavar="TEXT", help="Mark these words in the picture.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIMES", help="Other seconds of the recording: 1:15-1:30.")
    ] = None,
    config: options.Config = None,
    data: options.Data = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> int:
    """Write the crop, slide picture, frame or clip behind a node; the suffix of FILE says which (.png, .mp4, .m4a)."""
    from sensorium.apps._cli.pictures import form_of, to_stdout, write
    from sensorium.pipelines.moments import span_of

    if file == Path("-") and as_json:
        raise typer.BadParameter("-o - and --json both want stdout")
    if at is not None and quote is not None:
        raise typer.BadParameter("--at goes without --quote")
    times = None if at is None else span_of(at, "--at")
    with _reading(config, data) as kb:
        form = form_of(file)
        if form == "clip" and kb.evidence(node_id).start_s is None:
            form = None  # no recording; `write` says which names fit
        picture = kb.asset(node_id, form, times) if quote is None else kb.highlighted(node_id, quote)
    if file == Path("-"):
        to_stdout(picture)
        return 0
    written = write(picture, file or Path(node_id[:8]))
    if as_json:
        output.emit({"node_id": node_id, "file": str(written), "media_type": picture.media_type, "note": picture.note})
    else:
        output.say(f"Wrote {written}" + (f" ({picture.note})" if picture.note else ""))
    return 0


@app.command()
@guarded
def status(
    verify: Annotated[
        bool, typer.Option("--verify", help="Look for every node through every search, and compare the counts.")
    ] = False,
    repair: Annotated[bool, typer.Option("--repair", help="As --verify, and mend what is found.")] = False,
    config: options.Config = None,
    data: options.Data = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> int:
    """What is stored where: engine, folders, sources, nodes, spaces, and everything that did not make it."""
    with _reading(config, data) as kb:
        outcome = kb.verify(repair) if verify or repair else None
        facts = kb.status()
    if as_json:
        output.emit(facts | ({"verification": outcome.public()} if outcome else {}))
    else:
        problems = facts.pop("problems", [])
        _lines(output.tree_text(facts))
        _lines(output.problems_text(problems))
        _lines(output.verification_text(outcome.public()) if outcome else ())
    return 0 if outcome is None or outcome.sound else SOME_FAILED


@app.command()
@guarded
def delete(
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="SOURCE...", help='Sources, or patterns such as "pdf/*.pdf".')
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All sources.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: options.Config = None,
    data: options.Data = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> int:
    """Remove sources from the index; the files stay."""
    if bool(sources) == everything:
        raise typer.BadParameter("give sources, or --all")
    patterns = ["*"] if everything else sources or []
    with _reading(config, data) as kb:
        found = _matching(kb, patterns)
        if not (yes or as_json) and sys.stdin.isatty() and not _confirmed(found):
            output.note("nothing was removed")
            return 0
        removed = [source for pattern in patterns for source in kb.delete(pattern)]
    if as_json:
        output.emit({"deleted": removed})
    else:
        _lines(f"removed {output.printable(source)}" for source in removed)
        output.say(f"{len(removed)} sources removed from the index.")
    return 0


@app.command()
@guarded
def copy(
    origin: Annotated[
        str, typer.Option("--from", metavar="STORE", help='As under `store:`, e.g. "sqlite", or a .yaml file.')
    ],
    target: Annotated[
        str,
        typer.Option("--to", metavar="STORE", help="As --from, e.g. '{weaviate: {url: \"http://localhost:8080\"}}'."),
    ],
    config: options.Config = None,
    data: options.Data = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> int:
    """Copy an index to another engine, without embedding again; an interrupted copy goes on where it stopped."""
    from sensorium.pipelines.copy import copy as run

    report = run(origin, target, options.config_file(config), data)
    if as_json:
        output.emit(report.public())
    else:
        output.say(str(report))
    return 0


@app.command()
@guarded
def validate(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="The configuration.", show_default=False)] = None,
    config: options.Config = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> int:
    """Check a configuration as a whole, without running anything."""
    from sensorium.errors import ConfigError
    from sensorium.pipelines.spec import load_spec

    chosen = options.config_file(file or config)
    try:
        spec = load_spec(chosen)
    except ConfigError as error:
        if not as_json or not error.faults:
            raise
        faults = [fault.public() for fault in error.faults if hasattr(fault, "public")]
        output.emit({"file": str(chosen), "valid": False, "faults": faults})
        return USAGE
    if as_json:
        output.emit({"file": str(chosen) if chosen else None, "valid": True, "faults": []})
    else:
        name = f"{chosen} is" if chosen else f"There is no {options.DEFAULT_CONFIG} here; the built-in defaults are"
        output.say(f"{name} valid. Pipelines: {', '.join(spec.pipelines)}. Spaces: {', '.join(spec.index.spaces)}.")
    return 0


@app.command()
@guarded
def schema(as_json: options.Json = False, debug: options.Debug = False) -> int:
    """Print the JSON Schema of the configuration, for editors."""
    from sensorium.pipelines.spec import json_schema

    output.emit(json_schema(), indent=None if as_json else 2)
    return 0


def _open(config: Path | None, data: Path | None, create: bool = True) -> "KnowledgeBase":
    import sensorium

    return sensorium.open(options.config_file(config), data, create=create)


@contextmanager
def _reading(config: Path | None, data: Path | None) -> Iterator["KnowledgeBase"]:
    """Open an index that is there.

    Raises:
        MissingIndexError: it is not; none is made.
    """
    from sensorium.errors import MissingIndexError

    try:
        with _open(config, data, create=False) as kb:
            yield kb
    except MissingIndexError as fault:
        raise MissingIndexError(fault.message, f"{fault.hint}{_again(config, data)}") from fault


def _check_question(query: str | None, image: Path | None, audio: Path | None, batch: Path | None) -> None:
    if batch is not None and (query is not None or image is not None or audio is not None):
        raise typer.BadParameter("--batch brings its own questions; leave QUERY, --image and --audio out")
    if batch is None and query is None and image is None and audio is None:
        raise typer.BadParameter("give a QUERY, --image, --audio or --batch")


def _clean(text: str) -> str:
    """A question without half characters (invalid UTF-8 on the command line), which no model reads."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _again(config: Path | None, data: Path | None) -> str:
    """The options of this run that a following command needs too."""
    import shlex

    given = [("--config", config), ("--data", data)]
    return "".join(f" {name} {shlex.quote(str(value))}" for name, value in given if value is not None)


def _lines(lines: Any) -> None:
    for line in lines:
        output.say(line)


def _matching(kb: "KnowledgeBase", patterns: list[str]) -> list[str]:
    """Sources that patterns name.

    Raises:
        QueryError: a pattern names none.
    """
    import fnmatch
    from difflib import get_close_matches

    from sensorium.errors import QueryError

    known = [record.source for record in kb.sources()]
    found: list[str] = []
    for pattern in patterns:
        names = [name for name in known if name == pattern or fnmatch.fnmatchcase(name, pattern)]
        if not names and pattern != "*":
            close = get_close_matches(pattern, known, n=1)
            raise QueryError(f"No source matches {pattern!r}.", f"Did you mean {close[0]!r}?" if close else
                             "`sensorium status` names the folders; patterns are like pdf/*.pdf.")  # fmt: skip
        found += names
    return list(dict.fromkeys(found))


def _confirmed(found: list[str]) -> bool:
    for source in found[:10]:
        output.note(f"  {output.printable(source)}")
    if len(found) > 10:
        output.note(f"  and {len(found) - 10} more")
    return typer.confirm(f"Remove {len(found)} sources from the index?", err=True)


if __name__ == "__main__":
    main()
