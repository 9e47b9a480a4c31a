"""`index --dry-run`: what describing pictures would cost."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sensorium.apps._cli import output

if TYPE_CHECKING:
    from sensorium.pipelines._ingest.estimate import Estimate


def show(estimate: "Estimate", as_json: bool) -> int:
    """Print an estimate; the exit code."""
    if as_json:
        output.emit(estimate.public())
        return 0
    for line in _lines(estimate):
        output.say(output.printable(line))
    return 0


def _lines(estimate: "Estimate") -> Iterator[str]:
    expected = estimate.expected
    yield f"{estimate.pictures:>7,} pictures in {len(estimate.by_source):,} new or changed sources"
    yield f"{estimate.known:>7,} of them described already, or the same as another"
    yield f"{expected.requests:>7,} requests to {estimate.model}"
    yield f"{expected.input:>7,} input tokens, and about {expected.output:,} output tokens"
    if expected.cost is None:
        yield "   cost unknown: give the model's price, e.g. price: {input: 0.25, output: 2} per million tokens"
    else:
        yield f"   cost about {expected.cost:.4f}"
    yield from (f"problem: {problem}" for problem in estimate.problems)
    yield "Nothing was stored or sent."
