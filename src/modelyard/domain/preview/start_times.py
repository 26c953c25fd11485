"""How long starts will take, by those there have been; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

GUESS_MS = 10_000
"""What a start is taken to need on a platform that has not started anything yet."""


class Known(StrEnum):
    """Where a duration comes from."""

    OWN = "own"
    OTHERS = "others"
    GUESS = "guess"


@dataclass(frozen=True, slots=True)
class StartTime:
    """From a start to readiness in ms: the median of ``samples`` starts."""

    ms: int
    known: Known
    samples: int = 0


def start_time(own: Sequence[int], others: Sequence[int]) -> StartTime:
    """By the model's own last starts (ms), else by those of any model, else a guess.

    >>> start_time([3_000, 1_000, 2_000], [])
    StartTime(ms=2000, known=<Known.OWN: 'own'>, samples=3)
    """
    for samples, known in ((own, Known.OWN), (others, Known.OTHERS)):
        if samples:
            return StartTime(round(median(samples)), known, len(samples))
    return StartTime(GUESS_MS, Known.GUESS)


def basis(started: Iterable[str], times: Mapping[str, StartTime], labels: Mapping[str, str]) -> str:
    """How it is known what the starts of the models ``started`` take: one sentence."""
    parts = [_told(labels.get(model, model), times[model]) for model in dict.fromkeys(started)]
    return f"{'; '.join(parts)}." if parts else "No instance has to start."


def seconds(ms: int) -> str:
    """A duration as people say it.

    >>> seconds(450), seconds(12_340), seconds(3_600_000)
    ('0.5 s', '12 s', '60 min')
    """
    if ms < 10_000:
        return f"{round(ms / 1000, 1):g} s"
    return f"{ms / 1000:.0f} s" if ms < 600_000 else f"{ms / 60_000:.0f} min"


def _told(label: str, time: StartTime) -> str:
    took = seconds(time.ms)
    match time.known:
        case Known.OWN:
            return f"{label} took {took} to start, the median of its last {time.samples} starts"
        case Known.OTHERS:
            return (
                f"no start of {label} is on record; the last {time.samples} starts of all models "
                f"took {took}, the median"
            )
        case Known.GUESS:
            return f"nothing is on record that could tell how long {label} takes; {took} is a guess"
