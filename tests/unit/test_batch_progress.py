"""How far a run is, and when a lost driver is started again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.domain.batch.progress import (
    LOSSES_AT_MOST,
    STEADY_MS,
    Driver,
    counts,
    from_json,
    milestone,
    percent,
    to_json,
)
from modelyard.domain.batch.run import Progress, RunOutcome


@pytest.mark.parametrize(
    ("progress", "mapping", "expected"),
    [
        (Progress(files_total=10, files_done=5), "file", 0),  # Listing: the whole is not known.
        (Progress(listed=True, files_total=10, files_done=5), "file", 50),
        (Progress(listed=True, files_total=1, bytes_total=200, bytes_done=30), "csv", 15),
        (Progress(listed=True, bytes_total=0), "csv", 0),
        (Progress(listed=True, files_total=10, files_done=10), "file", 99),
        (Progress(), "", 0),
    ],
)
def test_percent_of_a_run_that_goes_on(progress: Progress, mapping: str, expected: int) -> None:
    assert percent(progress, RunOutcome.OPEN, mapping) == expected
    assert percent(progress, RunOutcome.FINISHED, mapping) == 100


def test_progress_is_kept_as_it_was_told() -> None:
    told = Progress(phase="running", listed=True, rows_done=7, rate=1.5, seconds_left=2.0)
    assert from_json(to_json(told)) == told
    assert from_json({}) == Progress()
    assert from_json({"a_later": "member"}) == Progress()


def test_counts_are_in_what_the_input_is_made_of() -> None:
    progress = Progress(files_done=2, files_failed=1, rows_done=3000, rows_failed=4)
    assert str(counts(progress, "csv")) == "3,000 rows processed, 4 failed"
    assert str(counts(progress, "file")) == "2 files processed, 1 failed"


def test_milestones_are_told_once() -> None:
    assert milestone(0, 24) is None
    assert milestone(24, 26) == 25
    assert milestone(25, 49) is None
    assert milestone(3, 99) == 75


def test_a_driver_that_lives_is_never_due() -> None:
    driver = Driver().seen(True, 1_000)
    assert driver == Driver(since=1_000)
    assert driver.seen(True, 9_000) == driver


def test_lost_drivers_come_back_later_and_later() -> None:
    now, driver, waits = 0, Driver(), []
    for _ in range(LOSSES_AT_MOST):
        assert not driver.hopeless
        driver = driver.seen(True, now).seen(False, now + 10)
        waits.append(driver.due - now - 10)
        now = driver.due
    assert waits[0] == 0
    longest = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
    for wait, most in zip(waits[1:8], longest, strict=True):
        assert most / 2 <= wait <= most  # shortened by jitter
    assert driver.hopeless


def test_a_driver_that_gets_on_may_be_lost_for_ever() -> None:
    driver, before = Driver(), Progress()
    for number in range(5 * LOSSES_AT_MOST):
        further = replace(before, rows_done=number + 1)
        driver = driver.seen(True, number).after(before, further).seen(False, number)
        before = further
    assert not driver.hopeless
    assert driver.due == 5 * LOSSES_AT_MOST - 1
    assert driver.after(before, before) == driver


def test_one_that_ran_for_long_was_not_lost_at_once() -> None:
    driver = Driver(losses=5).seen(True, 0).seen(False, STEADY_MS)
    assert (driver.losses, driver.due) == (1, STEADY_MS)


def test_one_that_never_was_is_not_lost() -> None:
    assert Driver().seen(False, 5) == Driver()
