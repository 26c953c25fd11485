"""The driver of a guarded rollout: who is compared, what a look finds, what is written down."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.control.check_scripts import Checks
from modelyard.control.reconciler.canary_step import (
    GuardedStep,
    look,
    report_begin,
    report_decision,
)
from modelyard.domain.canary.analysis import Decision
from modelyard.domain.canary.request_counts import Tally, VersionKey
from modelyard.domain.rollout.canary_pairs import comparisons, counted, new_versions
from modelyard.domain.rollout.state import RevisionTarget, Step, VersionTarget
from modelyard.domain.rollout.transition import StepDecision
from modelyard.domain.service.rollout_policy import Guard
from modelyard.store.tables.service import Event
from modelyard.testing.requests import FakeRequests, tally

GUARD = Guard(steps=(10, 50), hold_s=60, min_samples=100)
BEGAN = 1_000_000
LATER = BEGAN + 60_000


def version(model_id: str, weight: int = 100, slot: str = "", made: str = "1") -> VersionTarget:
    return VersionTarget(model_id, slot or model_id, f"{model_id}-{made}", count=1, weight=weight)


def revision(number: int, *versions: VersionTarget) -> RevisionTarget:
    return RevisionTarget(number, versions)


OLD, NEW = revision(1, version("old", slot="s")), revision(2, version("new", slot="s"))


def step(guard: Guard = GUARD, target: RevisionTarget = NEW, number: int = 0) -> GuardedStep:
    return GuardedStep("svc", OLD, target, guard, number, BEGAN, {"new": "[m 2]", "more": "[n 1]"})


@pytest.fixture
def requests() -> FakeRequests:
    found = FakeRequests()
    found.count("svc", "old", 5_000, 5)
    return found


@pytest.fixture
def checks(tmp_path: Path) -> Checks:
    return Checks(tmp_path, pause_s=0)


def write_check(folder: Path, body: str) -> Guard:
    path = folder / "ask"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return Guard(steps=(10, 50), hold_s=60, min_samples=100, check="ask")


# Who is compared with whom ---------------------------------------------------------------------


def test_a_new_model_is_compared_with_the_one_whose_slot_it_takes() -> None:
    serving = revision(1, version("a", 60), version("b", 40))
    target = revision(2, version("a", 60), version("c", 40, slot="b"))
    (found,) = comparisons(serving, target, 25)
    assert found.version.model_id == "c"
    assert found.stable == (VersionKey("b"),)
    assert VersionKey("c") in found.candidate
    assert found.share == pytest.approx(0.25)


def test_what_is_made_otherwise_is_counted_by_its_fingerprint() -> None:
    (found,) = comparisons(revision(1, version("a")), revision(2, version("a", made="2")), 5)
    assert found.candidate == (VersionKey("a", "a-2"),)
    assert found.stable == (VersionKey("a"),)


def test_without_a_counterpart_all_versions_with_traffic_are_the_stable_side() -> None:
    serving = revision(1, version("a", 70), version("b", 30), version("idle", 0))
    target = revision(2, version("a", 50), version("b", 30), version("c", 20))
    (found,) = comparisons(serving, target, 50)
    assert found.stable == (VersionKey("a"), VersionKey("b"))
    assert found.share == pytest.approx(0.1)
    (instead,) = comparisons(serving, revision(2, version("d", 100, slot="idle")), 50)
    assert instead.stable == (VersionKey("a"), VersionKey("b"))


def test_a_version_that_had_no_traffic_is_new_and_one_without_is_not_judged() -> None:
    serving = revision(1, version("a", 100), version("b", 0))
    moved = new_versions(serving, revision(2, version("a", 0), version("b")))
    assert [v.model_id for v in moved] == ["b"]
    target = revision(2, version("a", 100), version("b", 0, made="2"), version("c", 0))
    assert new_versions(serving, target) == ()


def test_weights_and_counts_alone_bring_nothing_new() -> None:
    serving = revision(1, version("a", 70), version("b", 30))
    target = revision(2, version("a", 20), version("b", 80))
    assert comparisons(serving, target, 50) == ()


def test_sides_add_up() -> None:
    tallies = {VersionKey("a"): tally(10, 1), VersionKey("b"): tally(5)}
    keys = (VersionKey("a"), VersionKey("b"), VersionKey("none"))
    assert counted(tallies, keys).requests == 15
    assert counted({}, ()) == Tally()


# Looking ---------------------------------------------------------------------------------------


async def test_a_good_version_goes_on(requests: FakeRequests, checks: Checks) -> None:
    requests.count("svc", "new", 500)
    found = await look(requests, checks, step(), LATER)
    assert found.decision is Decision.CONTINUE
    assert found.reason.startswith("[m 2] 0.0 % errors against 0.1 %")


async def test_a_bad_one_goes_back(requests: FakeRequests, checks: Checks) -> None:
    requests.count("svc", "new", 100, 20)
    found = await look(requests, checks, step(), BEGAN + 1_000)
    assert found.decision is Decision.ROLL_BACK
    assert found.reason.startswith("[m 2] answers 20.0 % errors")


async def test_the_span_ends_before_what_is_still_being_counted(
    requests: FakeRequests, checks: Checks
) -> None:
    requests.lag_ms = 2_000
    found = await look(requests, checks, step(), BEGAN + 5_000)
    assert requests.asked == [(BEGAN, BEGAN + 3_000)]
    assert found == StepDecision(Decision.HOLD, "[m 2] held for 3 s of 60 s")
    await look(requests, checks, step(), BEGAN + 500)
    assert requests.asked[-1] == (BEGAN, BEGAN)


async def test_the_worst_of_several_new_versions_decides(
    requests: FakeRequests, checks: Checks
) -> None:
    target = revision(2, version("new", 50, slot="s"), version("more", 50))
    requests.count("svc", "new", 500)
    requests.count("svc", "more", 500, 100)
    found = await look(requests, checks, step(target=target), LATER)
    assert found.decision is Decision.ROLL_BACK
    assert found.reason.startswith("[n 1] answers 20.0 %")


async def test_without_a_request_log_nothing_is_tried(
    requests: FakeRequests, checks: Checks
) -> None:
    requests.on = False
    found = await look(requests, checks, step(), LATER)
    assert found.decision is Decision.ROLL_BACK
    assert "MODELYARD_REQUEST_LOG_MB" in found.reason


async def asked(requests: FakeRequests, checks: Checks, guard: Guard) -> StepDecision:
    """Look until the script has answered."""
    async with asyncio.timeout(10):
        while (found := await look(requests, checks, step(guard), LATER)).reason == (
            "check ask is running"
        ):
            assert found.decision is Decision.HOLD
            await asyncio.sleep(0.01)
    return found


async def test_the_script_has_the_last_word(
    requests: FakeRequests, checks: Checks, tmp_path: Path
) -> None:
    requests.count("svc", "new", 500)
    found = await asked(requests, checks, write_check(tmp_path, "cat > read; echo fine"))
    assert found.decision is Decision.CONTINUE
    assert found.reason.endswith("; check ask agrees: fine")
    document = json.loads((tmp_path / "read").read_text())
    assert (document["step"], document["steps"]) == (1, [10, 50])
    assert (document["serving_revision"], document["target_revision"]) == (1, 2)
    (judged,) = document["versions"]
    assert (judged["model_id"], judged["stable_model_ids"]) == ("new", ["old"])
    assert (judged["candidate"]["requests"], judged["stable"]["errors"]) == (500, 5)
    assert judged["error_evidence"] is None

    found = await asked(requests, checks, write_check(tmp_path, "echo later; exit 75"))
    assert found == StepDecision(Decision.HOLD, "check ask asks to wait: later")
    found = await asked(requests, checks, write_check(tmp_path, "echo worse; exit 1"))
    assert found.decision is Decision.ROLL_BACK
    assert found.reason == "check ask refuses: worse"


async def test_the_script_is_not_asked_before_the_step_is_over(
    requests: FakeRequests, checks: Checks, tmp_path: Path
) -> None:
    guard = write_check(tmp_path, "touch ran")
    requests.count("svc", "new", 500)
    await look(requests, checks, step(guard), BEGAN + 1_000)
    requests.count("svc", "new", 500, 500)
    found = await look(requests, checks, step(guard), LATER)
    assert found.decision is Decision.ROLL_BACK
    await checks.close()
    assert not (tmp_path / "ran").exists()


# Writing it down -------------------------------------------------------------------------------


class Kept(list[Any]):
    """A session that remembers what is added to it."""

    add = list.append

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(e.event_type, e.event_info) for e in self if isinstance(e, Event)]


async def test_lost_counts_begin_the_step_anew(requests: FakeRequests, checks: Checks) -> None:
    requests.gone = True
    found = await look(requests, checks, step(), LATER)
    assert (found.decision, found.restart) == (Decision.HOLD, True)


def test_each_decision_on_a_step_is_reported() -> None:
    kept = Kept()
    session = cast("AsyncSession", kept)
    first, second = Step(10), Step(50, before=10)
    report_begin(session, "svc", GUARD, first, 5)
    report_decision(session, "svc", GUARD, first, StepDecision(Decision.HOLD, "waits"), 6)
    good = StepDecision(Decision.CONTINUE, "all is well")
    report_decision(session, "svc", GUARD, first, good, 7)
    report_begin(session, "svc", GUARD, second, 8)
    bad = StepDecision(Decision.ROLL_BACK, "[m 2] errs")
    report_decision(session, "svc", GUARD, second, bad, 9)
    assert kept.events == [
        ("normal", "guarded rollout: step 1 of 2, 10 % of the traffic"),
        ("normal", "guarded rollout: step 1 of 2 goes on: all is well"),
        ("normal", "guarded rollout: step 2 of 2, 50 % of the traffic"),
        ("abnormal", "guarded rollout: step 2 of 2 goes back: [m 2] errs"),
    ]
