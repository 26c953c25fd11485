"""The guard's judgements, case by case."""

from __future__ import annotations

from dataclasses import replace
from math import exp, inf

import pytest

from modelyard.domain.canary.analysis import PATIENCE, Decision, Verdict, judge, worst
from modelyard.domain.canary.request_counts import Tally
from modelyard.domain.canary.sequential_test import Count, evidence
from modelyard.domain.service.rollout_policy import Guard
from modelyard.testing.requests import tally

GUARD = Guard(steps=(5, 25, 50), hold_s=60, min_samples=100)
HOLD_MS = 60_000
GOOD = tally(5_000, 5)


def test_a_good_version_goes_on_when_its_time_is_over() -> None:
    found = judge(GOOD, tally(300), GUARD, HOLD_MS)
    assert found.decision is Decision.CONTINUE
    assert found.reason == (
        "0.0 % errors against 0.1 % and a median of 11 ms against 11 ms of the stable version"
        " (300 and 5,000 predictions)"
    )


def test_it_is_held_until_then() -> None:
    found = judge(GOOD, tally(300), GUARD, HOLD_MS - 1)
    assert found.decision is Decision.HOLD
    assert found.reason == "held for 59 s of 60 s"


def test_errors_end_it_before_its_time_is_over() -> None:
    found = judge(tally(5_810, 6), tally(612, 32), GUARD, 1_000)
    assert found.decision is Decision.ROLL_BACK
    assert found.reason == (
        "answers 5.2 % errors against 0.1 % of the stable version (612 and 5,810 predictions)"
    )
    assert found.errors >= found.needed > 0


def test_a_version_that_only_errs_is_refused_within_ten_predictions() -> None:
    assert judge(tally(200), tally(10, 10), GUARD, 500).decision is Decision.ROLL_BACK


def test_errors_within_the_allowance_are_none_of_its_business() -> None:
    stable, candidate = tally(100_000, 1_000), tally(100_000, 1_990)
    assert judge(stable, candidate, GUARD, HOLD_MS).decision is Decision.CONTINUE


def test_an_allowance_of_everything_never_refuses_errors() -> None:
    lenient = replace(GUARD, max_error_increase=1.0)
    assert judge(tally(500), tally(500, 500), lenient, HOLD_MS).decision is Decision.CONTINUE


def test_three_times_slower_is_refused_and_says_by_how_much() -> None:
    found = judge(tally(1_000, 0, 10.0), tally(100, 0, 30.0), GUARD, 2_000)
    assert found.decision is Decision.ROLL_BACK
    assert "of its predictions, the stable version longer than" in found.reason
    assert "(100 and 1,000 predictions; median 32 ms against 11 ms)" in found.reason


@pytest.mark.parametrize("stable_ms", [0.7, 3.0, 9.6, 10.0, 11.2, 200.0, 7_000.0])
def test_a_fifth_slower_is_within_a_ratio_of_one_and_a_half(stable_ms: float) -> None:
    stable, candidate = tally(50_000, 0, stable_ms), tally(50_000, 0, 1.2 * stable_ms)
    assert judge(stable, candidate, GUARD, HOLD_MS).decision is Decision.CONTINUE


@pytest.mark.parametrize("stable_ms", [2.0, 9.6, 10.0, 11.2, 200.0, 7_000.0])
def test_twice_as_slow_is_not(stable_ms: float) -> None:
    stable, candidate = tally(2_000, 0, stable_ms), tally(200, 0, 2.05 * stable_ms)
    assert judge(stable, candidate, GUARD, 2_000).decision is Decision.ROLL_BACK


def test_less_than_a_millisecond_is_never_slower() -> None:
    stable, candidate = tally(50_000, 0, 0.6), tally(50_000, 0, 1.4)
    assert judge(stable, candidate, GUARD, HOLD_MS).decision is Decision.CONTINUE


def test_the_slowest_twentieth_may_be_slower() -> None:
    tail = tally(9_600, 0, 10.0) + tally(400, 0, 500.0)
    assert judge(tally(50_000, 0, 10.0), tail, GUARD, HOLD_MS).decision is Decision.CONTINUE


def test_a_tenth_of_slow_predictions_is_refused() -> None:
    tail = tally(900, 0, 10.0) + tally(100, 0, 500.0)
    assert judge(tally(50_000, 0, 10.0), tail, GUARD, 5_000).decision is Decision.ROLL_BACK


def test_first_predictions_may_be_slow() -> None:
    found = judge(tally(5_000), tally(99, 0, 900.0), GUARD, 5_000)
    assert found.decision is Decision.HOLD


def test_clients_that_leave_before_their_answer_count_as_slow() -> None:
    left = replace(tally(400), latencies=tally(200).latencies)
    assert judge(tally(5_000), left, GUARD, 5_000).decision is Decision.ROLL_BACK


def test_a_faster_version_that_answers_beyond_all_bounds_elsewhere_is_no_trouble() -> None:
    beyond = tally(300, 0, 500_000.0)
    assert judge(beyond, tally(300, 0, 10.0), GUARD, HOLD_MS).decision is Decision.CONTINUE
    assert judge(tally(300, 0, 10.0), beyond, GUARD, HOLD_MS).decision is Decision.ROLL_BACK


def test_too_few_samples_are_waited_for_and_then_not() -> None:
    stable, candidate = tally(5_000), tally(99)
    held = judge(stable, candidate, GUARD, HOLD_MS)
    assert held.decision is Decision.HOLD
    assert held.reason == (
        "99 and 5,000 predictions are too few to compare, 100 each are asked for"
    )
    late = judge(stable, candidate, GUARD, PATIENCE * HOLD_MS)
    assert late.decision is Decision.CONTINUE
    assert late.reason == f"{held.reason}; after 600 s without certainty"


def test_without_any_traffic_it_waits_ten_holds_and_goes_on() -> None:
    assert judge(Tally(), Tally(), GUARD, HOLD_MS, share=0.05).decision is Decision.HOLD
    late = judge(Tally(), Tally(), GUARD, PATIENCE * HOLD_MS, share=0.05)
    assert late.decision is Decision.CONTINUE


def test_what_may_be_chance_is_held_and_then_goes_on() -> None:
    stable, candidate = tally(3_000), tally(120, 3)
    held = judge(stable, candidate, GUARD, HOLD_MS)
    assert held.decision is Decision.HOLD
    assert held.reason.endswith("which may still be chance")
    assert judge(stable, candidate, GUARD, PATIENCE * HOLD_MS).decision is Decision.CONTINUE


def test_slowness_that_may_be_chance_is_held() -> None:
    some = tally(98, 0, 10.0) + tally(22, 0, 60.0)
    found = judge(tally(3_000, 0, 10.0), some, GUARD, HOLD_MS)
    assert 0 < found.slowness < found.needed
    assert found.decision is Decision.HOLD


def test_silence_is_refused_once_it_owes_enough() -> None:
    share = 0.05
    quiet = judge(tally(1_000), Tally(), GUARD, HOLD_MS, share=share)
    assert quiet.decision is Decision.ROLL_BACK
    assert quiet.reason == (
        "answered none of its predictions while the stable version answered 1,000"
    )
    assert judge(tally(300), Tally(), GUARD, HOLD_MS, share=share).decision is Decision.HOLD
    assert judge(tally(1_000), Tally(), GUARD, 1_000, share=share).decision is Decision.HOLD
    slow = replace(tally(1_000), longest_ms=50_000)
    assert judge(slow, Tally(), GUARD, HOLD_MS, share=share).decision is Decision.HOLD
    assert judge(tally(1_000), Tally(), GUARD, HOLD_MS).decision is Decision.HOLD
    assert judge(tally(1_000), Tally(), GUARD, HOLD_MS, share=1.0).decision is Decision.ROLL_BACK


def test_the_evidence_asked_for_is_shared_by_steps_tests_and_versions() -> None:
    one = judge(GOOD, GOOD, replace(GUARD, steps=(50,)), 0)
    three = judge(GOOD, GOOD, GUARD, 0, candidates=2)
    assert exp(one.needed) == pytest.approx(2_000)
    assert exp(three.needed) == pytest.approx(12_000)


def test_the_worst_of_several_decides() -> None:
    on, hold, back = (Verdict(d, d.value) for d in Decision)
    assert worst([on, back, hold]) is back
    assert worst([on, hold, on]) is hold
    assert worst([on]) is on
    assert worst([]).decision is Decision.CONTINUE


def test_evidence_needs_both_sides_and_a_difference() -> None:
    assert evidence(Count(0, 0), Count(0, 0), 0.0) == -inf
    assert evidence(Count(5, 10), Count(5, 10), 0.0) == -inf
    assert evidence(Count(1, 100), Count(2, 100), 0.01) == -inf
    assert evidence(Count(10, 10), Count(10, 10), 0.0) == -inf
    assert evidence(Count(0, 0), Count(10, 10), 0.01) < 0
    assert evidence(Count(0, 10), Count(0, 0), 0.0) == -inf


def test_evidence_grows_with_the_counts_and_shrinks_with_the_allowance() -> None:
    few = evidence(Count(0, 100), Count(5, 100), 0.01)
    many = evidence(Count(0, 1_000), Count(50, 1_000), 0.01)
    assert few < many
    assert evidence(Count(0, 1_000), Count(50, 1_000), 0.03) < many
    assert evidence(Count(0, 100), Count(5, 5), 0.0) > 10
