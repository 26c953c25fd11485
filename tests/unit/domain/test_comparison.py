"""Who is compared with whom."""

from __future__ import annotations

import pytest
from planner_support import revision, version

from modelyard.domain.canary.request_counts import Tally, VersionKey
from modelyard.domain.rollout.canary_pairs import comparisons, counted, new_versions
from modelyard.domain.rollout.state import RevisionTarget

OLD = revision(1, version("a", weight=80), version("b", weight=20), version("silent", weight=0))


def models(target: RevisionTarget) -> list[str]:
    return [v.model_id for v in new_versions(OLD, target)]


def test_new_is_what_got_no_traffic_yet_or_is_made_otherwise() -> None:
    assert models(revision(2, version("a", weight=10), version("b", weight=90))) == []
    assert models(revision(2, version("a", weight=10), version("c", weight=90))) == ["c"]
    assert models(revision(2, version("a", made="2"))) == ["a"]
    assert models(revision(2, version("a", weight=90), version("silent", weight=10))) == ["silent"]
    assert models(revision(2, version("a"), version("c", weight=0))) == []


def test_a_new_model_is_compared_with_the_one_whose_slot_it_takes() -> None:
    target = revision(2, version("a", weight=80), version("c", weight=20, slot="b"))
    [found] = comparisons(OLD, target, 25)
    assert found.version == target.versions[1]
    assert found.candidate == (VersionKey("c"), VersionKey("c", "c1"))
    assert found.stable == (VersionKey("b"),)
    assert found.share == pytest.approx(0.25)


def test_one_in_a_slot_of_its_own_is_compared_with_all_that_have_traffic() -> None:
    target = revision(2, version("a", weight=40), version("b", weight=20), version("c", weight=40))
    [found] = comparisons(OLD, target, 50)
    assert found.stable == (VersionKey("a"), VersionKey("b"))
    # 20 % go by c; the others keep 80 and 20 of one half, 40 and 20 of the other.
    assert found.share == pytest.approx(20 / 100)


def test_a_slot_without_traffic_is_no_counterpart() -> None:
    target = revision(2, version("a", weight=80), version("c", weight=20, slot="silent"))
    [found] = comparisons(OLD, target, 50)
    assert found.stable == (VersionKey("a"), VersionKey("b"))
    # a: 80 of one half and 80 of the other; b: 20 of the first half.
    assert found.share == pytest.approx(10 / (10 + 80 + 10))


def test_what_is_made_otherwise_is_counted_by_its_making() -> None:
    target = revision(2, version("a", weight=80, made="2"), version("b", weight=20))
    [found] = comparisons(OLD, target, 10)
    assert found.candidate == (VersionKey("a", "a2"),)
    assert found.stable == (VersionKey("a"),)
    assert found.share == pytest.approx(0.1)


def test_what_was_silent_is_counted_with_and_without() -> None:
    target = revision(2, version("a", weight=80), version("silent", weight=20))
    [found] = comparisons(OLD, target, 10)
    assert found.candidate == (VersionKey("silent"), VersionKey("silent", "silent1"))


def test_counts_are_added_up() -> None:
    tallies = {VersionKey("a"): Tally(5, errors=1), VersionKey("b"): Tally(7, longest_ms=9)}
    both = counted(tallies, (VersionKey("a"), VersionKey("b"), VersionKey("unheard")))
    assert both == Tally(12, errors=1, longest_ms=9)
    assert counted(tallies, ()) == Tally()
