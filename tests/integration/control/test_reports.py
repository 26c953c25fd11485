"""Update reports, written behind real passes over fakes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from loop_support import M1, M2, Bench, loop_bench, version
from modelyard.control.maintenance.reports import Reports
from modelyard.testing.requests import FakeRequests


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Bench]:
    async with loop_bench(tmp_path) as made:
        yield made


def reports(here: Bench, requests: FakeRequests) -> Reports:
    return Reports(here.database, here.clock, requests)


async def test_an_update_is_reported_once_its_counts_are_final(here: Bench) -> None:
    requests = FakeRequests(lag_ms=1_000)
    write = reports(here, requests).write
    service_id = await here.create(version(M1, 100))
    await here.settle(service_id)
    here.clock.now += 5_000
    await here.update(service_id, config=[version(M2, 100)])
    await here.settle(service_id)
    requests.count(service_id, M1, 40)
    requests.count(service_id, M2, 2, errors=1)
    await write()
    (log,) = await here.logs(service_id)
    assert log.closed_at is not None
    assert log.report is None
    here.clock.now = log.closed_at + 1_001
    await write()
    (log,) = await here.logs(service_id)
    assert log.report is not None
    assert log.report["verdict"] == "0 lost"
    assert (log.report["requests"], log.report["errors"]) == (42, 1)
    assert log.report["instances"]["started"] == 1
    assert log.report["instances"]["drained"] == 1
    assert requests.asked == [(log.update_time, log.closed_at + 1)]
    await write()
    assert len(requests.asked) == 1


async def test_a_long_update_is_counted_while_it_runs(here: Bench) -> None:
    requests = FakeRequests(lag_ms=1_000)
    service_id = await here.create(version(M1, 100))
    await here.settle(service_id)
    at = await here.update(service_id, config=[version(M2, 100)])
    assert at is not None
    await reports(here, requests).write()
    assert requests.asked == []
    here.clock.now = at + 6_000
    await reports(here, requests).write()
    assert requests.asked == [(at, at + 5_000)]


async def test_what_was_only_stored_has_no_report(here: Bench) -> None:
    requests = FakeRequests()
    service_id = await here.create(version(M1, 100))
    await here.settle(service_id)
    await here.update(service_id, status="stopped")
    await here.settle(service_id)
    await here.update(service_id, config=[version(M2, 100)])
    here.clock.now += 10_000
    await reports(here, requests).write()
    assert requests.asked == []
    assert [log.report for log in await here.logs(service_id)] == [None]


async def test_a_gateway_that_does_not_count_is_not_trusted(here: Bench) -> None:
    service_id = await here.create(version(M1, 100))
    await here.settle(service_id)
    here.clock.now += 10
    await here.update(service_id, config=[version(M1, 100, envs={"A": "1"})])
    await here.settle(service_id)
    here.clock.now += 10_000
    await reports(here, FakeRequests(on=False)).write()
    (log,) = await here.logs(service_id)
    assert log.report is not None
    assert log.report["verdict"] == "not counted"


async def test_looking_for_reports_reads_an_index(here: Bench) -> None:
    if not here.database.is_sqlite:
        pytest.skip("the plan's wording is SQLite's")
    async with here.database.read() as session:
        plan = await session.execute(
            text(
                "EXPLAIN QUERY PLAN SELECT * FROM update_log WHERE report IS NULL "
                "AND (closed_at IS NULL OR closed_at > update_time)"
            )
        )
        assert "ix_update_log_unreported" in str(plan.all())
