"""What the gateway saw of predictions: of one, and counted over a version and a span of time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

BOUNDS_MS: tuple[float, ...] = tuple(round(2 ** (step / 4), 3) for step in range(-4, 69))
"""Upper bounds of the latency buckets, four to each doubling, 0.5 ms to 131 s; one more follows."""

UNANSWERED: frozenset[str] = frozenset(
    {
        "UH",  # no instance was ready
        "UF",  # no connection to an instance, after all repeats
        "UO",  # too many requests waiting
        "UC",  # the instance closed the connection before the answer was complete
        "UR",  # the instance reset it
        "LR",  # the gateway reset it
        "UPE",  # the instance's answer was not HTTP
        "UT",  # no answer within the service's timeout
        "SI",  # nothing moved on the connection for too long
        "URX",  # repeated as often as allowed, and still no instance had computed it
        "NC",  # the version's cluster is unknown
        "NR",  # no route
    }
)
"""Envoy's response flags of a prediction that no instance answered, or not to the end."""

CLIENT_LEFT: frozenset[str] = frozenset({"DC", "DR"})
"""Flags of a client that closed or reset its connection before it had the answer."""


def is_lost(flags: Iterable[str]) -> bool:
    """Whether a prediction with these flags was lost to a client that waited for its answer."""
    found = frozenset(flags)
    return not found.isdisjoint(UNANSWERED) and found.isdisjoint(CLIENT_LEFT)


@dataclass(frozen=True, slots=True)
class VersionKey:
    """Which of a service's versions; ``model_id`` empty: the service had none to answer."""

    model_id: str
    variant: str = ""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One prediction.

    ``at``: when it arrived, ms since 1970. ``duration_ms``: until the last byte of the answer; 0
    when the client left first. ``status``: of the answer, 0 when there was none. ``flags``:
    Envoy's response flags. ``revision``: that its answer named, None when the gateway answered
    without one. ``instance_id``: that was asked last, empty when none was. ``attempts``: how often
    an instance was tried.
    """

    at: int
    duration_ms: float
    status: int
    flags: tuple[str, ...]
    request_id: str
    service_id: str
    model_id: str
    variant: str
    revision: int | None
    instance_id: str
    attempts: int

    @property
    def lost(self) -> bool:
        """Whether the client waited for an answer that no instance gave."""
        return not self.model_id or is_lost(self.flags)


@dataclass(frozen=True, slots=True)
class Tally:
    """Predictions that ended in the span.

    ``errors``: answered with a status of 500 or more, whoever made the answer, or not to the end.
    ``lost``: those of them that the gateway had to answer itself or break off, because no instance
    did (``UNANSWERED``). A client that left before its answer is in neither. ``resets``:
    connections that broke under a prediction, also where repeating it hid that. ``retried``:
    predictions that needed more than one try. ``longest_ms``: the slowest. ``latencies``: how many
    ended within each bound of ``BOUNDS_MS``, not cumulated; the last element counts those beyond
    all bounds, and those whose client left first are in none.
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
