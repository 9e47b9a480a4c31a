"""What describing pictures may cost in one run, and what it has cost."""

import threading
from dataclasses import dataclass

OUTPUT_TOKENS = 300
"""Tokens of a description, as far as nothing better is known: a paragraph and a small table."""


@dataclass(frozen=True)
class Spent:
    """What requests took.

    Attributes:
        requests: How many.
        input: Tokens sent.
        output: Tokens of the replies.
        cost: In the currency of the prices; None without prices.
    """

    requests: int = 0
    input: int = 0
    output: int = 0
    cost: float | None = None

    def plus(self, other: "Spent") -> "Spent":
        """Both together."""
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Spent(
            self.requests + other.requests, self.input + other.input, self.output + other.output,
            sum(costs) if costs else None,
        )  # fmt: skip

    def words(self) -> str:
        """For a person: "3 requests, 2,400 + 900 tokens, cost 0.0024"."""
        cost = "" if self.cost is None else f", cost {self.cost:.4f}"
        return f"{self.requests:,} requests, {self.input:,} + {self.output:,} tokens{cost}"


class Budget:
    """Counts what is spent and says when it is enough. Safe to use from several threads.

    Args:
        requests: Most requests; None: any number.
        tokens: Most tokens, in both directions.
        cost: Most cost, in the currency of the prices.
    """

    def __init__(self, requests: int | None = None, tokens: int | None = None, cost: float | None = None) -> None:
        self._most = (requests, tokens, cost)
        self._spent = Spent()
        self._reserved = Spent()
        self._lock = threading.Lock()

    @property
    def spent(self) -> Spent:
        """So far."""
        return self._spent

    def reserve(self, expected: Spent) -> str:
        """Set aside what a request is expected to take.

        Returns:
            Empty; or which limit it would break, and then nothing is set aside.
        """
        with self._lock:
            then = self._spent.plus(self._reserved).plus(expected)
            for name, most, value in zip(
                ("max_requests", "max_tokens", "max_cost"), self._most,
                (then.requests, then.input + then.output, then.cost or 0.0), strict=True,
            ):  # fmt: skip
                if most is not None and value > most:
                    return f"index.captions.{name}: {most:,}"
            self._reserved = self._reserved.plus(expected)
            return ""

    def settle(self, expected: Spent, spent: Spent) -> None:
        """Replace what was set aside by what a request took in the end."""
        with self._lock:
            back = Spent(-expected.requests, -expected.input, -expected.output, -(expected.cost or 0.0))
            self._reserved = self._reserved.plus(back)
            self._spent = self._spent.plus(spent)
