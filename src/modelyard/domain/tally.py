"""What the gateway counted of one version's predictions in some span of time."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

BOUNDS_MS: tuple[float, ...] = tuple(round(2 ** (step / 4), 3) for step in range(-4, 69))
"""Upper bounds of the latency buckets, four to each doubling, 0.5 ms to 131 s; one more follows."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Predictions that ended in the span.

    ``errors``: answered with a status of 500 or more, whoever made the answer. ``lost``: those of
    them that the gateway had to answer itself, because no instance did. ``resets``: connections
    that broke under a prediction, repeated ones included. ``retried``: predictions that needed
    more than one try. ``longest_ms``: the slowest. ``latencies``: how many ended within each bound
    of ``BOUNDS_MS``, not cumulated; the last element counts those beyond all bounds.
    """

    requests: int = 0
    errors: int = 0
    lost: int = 0
    resets: int = 0
    retried: int = 0
    longest_ms: int = 0
    latencies: tuple[int, ...] = (0,) * (len(BOUNDS_MS) + 1)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.requests + other.requests,
            self.errors + other.errors,
            self.lost + other.lost,
            self.resets + other.resets,
            self.retried + other.retried,
            max(self.longest_ms, other.longest_ms),
            tuple(a + b for a, b in zip(self.latencies, other.latencies, strict=True)),
        )


def bucket(duration_ms: float) -> int:
    """Index into ``latencies`` of a prediction that took ``duration_ms``."""
    return bisect_left(BOUNDS_MS, duration_ms)
