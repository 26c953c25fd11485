"""Whether a new version does as well as the stable one over the same minutes; pure.

Two things are tested, as often as one likes (``sequential_test.py``):

* *errors*: the new version's error rate exceeds the stable one's by more than
  ``max_error_increase``;
* *slowness*: for some duration t, the share of its predictions that take longer than r·t exceeds
  the share of the stable version's that take longer than t by more than ``SLOW_ALLOWANCE``. r is
  ``max_latency_ratio`` rounded up to the next bound of ``Tally.latencies`` (1.5 means 1.68), and
  r·t is at least t + ``SLOW_FLOOR_MS``. Every bound is tried as t, with an equal part of the
  evidence, so nothing has to be known of the shape of the latencies.

``FALSE_ALARMS`` bounds the chance that a whole rollout of versions that keep to this is refused:
each step, new version and test has an equal part of it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from math import ceil, exp, inf, log, log2

from modelyard.domain.canary.request_counts import BOUNDS_MS, Tally
from modelyard.domain.canary.sequential_test import Count, evidence
from modelyard.domain.service.rollout_policy import Guard

FALSE_ALARMS = 0.001
SLOW_ALLOWANCE = 0.05
SLOW_FLOOR_MS = 1.0
PATIENCE = 10
"""How many holds a step waits for samples or certainty before it goes on without."""
MISSED = 20
"""Predictions a version must owe us before its silence counts."""
_TESTS = 2
_BUCKETS_PER_DOUBLING = 4


class Decision(StrEnum):
    """What is to become of the step; in rising order of gravity."""

    CONTINUE = "goes on"
    HOLD = "holds"
    ROLL_BACK = "goes back"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reason``: a sentence with its numbers. The evidence is in natural logarithms; the version
    is refused where it reaches ``needed``.
    """

    decision: Decision
    reason: str
    errors: float = -inf
    slowness: float = -inf
    needed: float = inf


@dataclass(frozen=True, slots=True)
class _Slowness:
    """The evidence, and the bound (its index) that says most: t there, and r·t here."""

    evidence: float = -inf
    stable_bound: int = 0
    candidate_bound: int = 0


def judge(
    stable: Tally,
    candidate: Tally,
    guard: Guard,
    held_ms: int,
    *,
    share: float | None = None,
    candidates: int = 1,
) -> Verdict:
    """Judge one new version by what both answered since the step began, ``held_ms`` ago.

    ``share``: the part (0…1) of both sides' predictions that the candidate should have got; with
    it, a version that never answers is noticed. ``candidates``: how many are judged side by side.
    """
    needed = log(len(guard.steps) * candidates * _TESTS / FALSE_ALARMS)
    errors = _error_evidence(stable, candidate, guard)
    enough = min(stable.requests, candidate.requests) >= guard.min_samples
    # The first predictions of a fresh instance are slow by nature.
    slowness = _slowness(stable, candidate, guard) if enough else _Slowness()

    def judged(decision: Decision, reason: str) -> Verdict:
        return Verdict(decision, reason, errors, slowness.evidence, needed)

    if errors >= needed:
        return judged(Decision.ROLL_BACK, _errors_told(stable, candidate))
    if slowness.evidence >= needed:
        return judged(Decision.ROLL_BACK, _slowness_told(stable, candidate, slowness))
    if _is_silent(stable, candidate, guard, held_ms, share):
        return judged(
            Decision.ROLL_BACK,
            f"answered none of its predictions while the stable version answered"
            f" {stable.requests:,}",
        )
    hold_ms = guard.hold_s * 1000
    if held_ms < hold_ms:
        return judged(Decision.HOLD, f"held for {held_ms // 1000} s of {guard.hold_s} s")
    doubt = _doubt(stable, candidate, guard, enough=enough, slowness=slowness)
    if not doubt:
        return judged(Decision.CONTINUE, _good_told(stable, candidate))
    if held_ms < PATIENCE * hold_ms:
        return judged(Decision.HOLD, doubt)
    waited = f"after {held_ms // 1000:,} s without certainty"
    return judged(Decision.CONTINUE, f"{doubt}; {waited}")


def worst(judgements: Sequence[Verdict]) -> Verdict:
    """The gravest of several; with none there is nothing against going on."""
    if not judgements:
        return Verdict(Decision.CONTINUE, "no new version gets traffic")
    gravity = list(Decision)
    return max(judgements, key=lambda judgement: gravity.index(judgement.decision))


def _error_evidence(stable: Tally, candidate: Tally, guard: Guard) -> float:
    return evidence(
        Count(stable.errors, stable.requests),
        Count(candidate.errors, candidate.requests),
        guard.max_error_increase,
    )


def _slowness(stable: Tally, candidate: Tally, guard: Guard) -> _Slowness:
    """The mean of the evidence at each bound, which is evidence again."""
    there, here = _slower(stable), _slower(candidate)
    found = [
        _Slowness(evidence(there[bound], here[other], SLOW_ALLOWANCE), bound, other)
        for bound, other in _compared(guard.max_latency_ratio)
    ]
    if not found:
        return _Slowness()
    most = max(found, key=lambda one: one.evidence)
    if most.evidence == -inf:
        return _Slowness()
    total = sum(exp(one.evidence - most.evidence) for one in found)
    mean = most.evidence + log(total / len(found))
    return _Slowness(mean, most.stable_bound, most.candidate_bound)


def _compared(ratio: float) -> list[tuple[int, int]]:
    """For each bound t, its index and that of r·t."""
    shift = ceil(_BUCKETS_PER_DOUBLING * log2(ratio) - 1e-9)
    pairs = (
        (bound, max(bound + shift, bisect_left(BOUNDS_MS, t + SLOW_FLOOR_MS)))
        for bound, t in enumerate(BOUNDS_MS)
    )
    return [(bound, other) for bound, other in pairs if other < len(BOUNDS_MS)]


def _slower(tally: Tally) -> list[Count]:
    """For each bound, how many predictions took longer; one whose client left first surely did."""
    total = tally.requests
    return [Count(total - within, total) for within in accumulate(tally.latencies[:-1])]


def _is_silent(
    stable: Tally, candidate: Tally, guard: Guard, held_ms: int, share: float | None
) -> bool:
    """Whether a version that should have answered by now has answered nothing at all."""
    if candidate.requests or not share or stable.requests < guard.min_samples:
        return False
    owed = stable.requests * share / (1 - share) if share < 1 else inf
    patience_ms = max(guard.hold_s * 1000, guard.max_latency_ratio * stable.longest_ms)
    return owed >= MISSED and held_ms >= patience_ms


def _doubt(
    stable: Tally, candidate: Tally, guard: Guard, *, enough: bool, slowness: _Slowness
) -> str:
    """Why the step should not end yet although its time is over; empty if it may."""
    if not enough:
        return (
            f"{_both(stable, candidate)} predictions are too few to compare,"
            f" {guard.min_samples:,} each are asked for"
        )
    if _rate(candidate) > _rate(stable) + guard.max_error_increase:
        return f"{_errors_told(stable, candidate)}, which may still be chance"
    if slowness.evidence > 0:
        return f"{_slowness_told(stable, candidate, slowness)}, which may still be chance"
    return ""


def _rate(tally: Tally) -> float:
    return Count(tally.errors, tally.requests).share


def _errors_told(stable: Tally, candidate: Tally) -> str:
    return (
        f"answers {_percent(_rate(candidate))} errors against {_percent(_rate(stable))} of the"
        f" stable version ({_both(stable, candidate)} predictions)"
    )


def _slowness_told(stable: Tally, candidate: Tally, found: _Slowness) -> str:
    there = _slower(stable)[found.stable_bound]
    here = _slower(candidate)[found.candidate_bound]
    return (
        f"takes longer than {_ms(BOUNDS_MS[found.candidate_bound])} in {_percent(here.share)} of"
        f" its predictions, the stable version longer than {_ms(BOUNDS_MS[found.stable_bound])}"
        f" in {_percent(there.share)} ({_both(stable, candidate)} predictions;"
        f" median {_median(candidate)} against {_median(stable)})"
    )


def _good_told(stable: Tally, candidate: Tally) -> str:
    return (
        f"{_percent(_rate(candidate))} errors against {_percent(_rate(stable))} and a median of"
        f" {_median(candidate)} against {_median(stable)} of the stable version"
        f" ({_both(stable, candidate)} predictions)"
    )


def _both(stable: Tally, candidate: Tally) -> str:
    return f"{candidate.requests:,} and {stable.requests:,}"


def _median(tally: Tally) -> str:
    """The bound within which half of the predictions ended."""
    half = tally.requests / 2
    bound = bisect_left(list(accumulate(tally.latencies)), half)
    if bound >= len(BOUNDS_MS):
        return f"over {_ms(BOUNDS_MS[-1])}"
    return _ms(BOUNDS_MS[bound])


def _ms(duration: float) -> str:
    return f"{duration:,.0f} ms" if duration >= 10 else f"{duration:.2g} ms"


def _percent(share: float) -> str:
    """``5.2 %``; small shares keep two digits that count."""
    value = 100 * share
    return f"{value:.1f} %" if value >= 1 or value == 0 else f"{value:.2g} %"
