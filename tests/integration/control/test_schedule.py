"""Auto stop: exactly once, whatever happens to the clock and to us (services.md §6; R8)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from loop_support import M1, Bench, loop_bench, version
from modelyard.control.reconciler.reconcile import reconcile
from modelyard.control.reconciler.work_queue import Loop
from modelyard.steps import Step
from modelyard.store.service import leases
from modelyard.store.tables.service import Service

DAY_MS = 86_400_000
SCHEDULE = [{"type": "stop", "time_unit": "MINUTES", "duration": 90}]
LENGTH_MS = 90 * 60_000


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with loop_bench(tmp_path) as made:
        yield made


async def _stops(bench: Bench, service_id: str) -> int:
    events = await bench.events(service_id)
    return sum("auto-stop time has expired" in event for event in events)


async def _running(bench: Bench) -> tuple[str, int]:
    service_id = await bench.create(version(M1, 100), schedule=SCHEDULE)
    await bench.settle(service_id)
    due = (await bench.service(service_id)).due_time
    assert due is not None
    return service_id, due


async def test_a_time_that_comes_while_nobody_is_there_is_kept_once(bench: Bench) -> None:
    service_id, due = await _running(bench)
    # The control plane dies in a pass, and is away until long after the due time.
    async with bench.database.write(Step.TEST) as session:
        await leases.take(session, service_id, "00000000-dead", bench.clock.now_ms())
    bench.clock.now = due + 5 * DAY_MS
    loop = Loop(bench.parts)
    assert service_id in await loop._unsettled()
    await bench.settle(service_id)
    service = await bench.service(service_id)
    assert (service.status, service.due_time, service.desired_status) == (
        "stopped",
        None,
        "stopped",
    )
    await bench.update(service_id, status="running")
    await bench.settle(service_id)
    assert (await bench.service(service_id)).status == "running"
    assert await _stops(bench, service_id) == 1


@pytest.mark.parametrize("jump", [-DAY_MS, DAY_MS])
async def test_a_clock_that_jumps_stops_once(bench: Bench, jump: int) -> None:
    service_id, due = await _running(bench)
    bench.clock.now += jump
    for _ in range(5):
        await reconcile(bench.parts, service_id)
        bench.clock.pass_ms(1_000)
    early = jump < 0
    service = await bench.service(service_id)
    assert (service.status == "running", service.due_time) == (early, due if early else None)
    if early:
        # "After N" is told by the wall clock: the time that was promised is kept.
        bench.clock.now = due
    await bench.settle(service_id)
    assert (await bench.service(service_id)).status == "stopped"
    # The clock is set right again: nothing happens twice.
    bench.clock.now -= jump
    for _ in range(5):
        await reconcile(bench.parts, service_id)
        bench.clock.pass_ms(30 * 60_000)
    assert await _stops(bench, service_id) == 1
    assert (await bench.service(service_id)).status == "stopped"


async def test_a_jump_back_while_stopping_or_updating_loses_nothing(bench: Bench) -> None:
    service_id, due = await _running(bench)
    bench.runtime.drains_at_once = False
    bench.clock.now = due
    await reconcile(bench.parts, service_id)
    assert (await bench.service(service_id)).status == "stopping"
    bench.clock.now -= DAY_MS
    bench.runtime.drains_at_once = True
    for instance_id in bench.runtime.alive():
        bench.runtime.kill(instance_id)
    await bench.settle(service_id)
    assert (await bench.service(service_id)).status == "stopped"
    assert await _stops(bench, service_id) == 1


async def test_the_timer_is_armed_off_and_on(bench: Bench) -> None:
    service_id, due = await _running(bench)
    now = bench.clock.now_ms()
    assert due <= now + LENGTH_MS
    await bench.update(service_id, schedule=[{**SCHEDULE[0], "duration": 5}])
    assert (await bench.service(service_id)).due_time == now + 5 * 60_000
    await bench.update(service_id, schedule=[])
    service = await bench.service(service_id)
    assert (service.due_time, service.schedule) == (None, None)
    events = await bench.events(service_id)
    assert "auto stop disabled" in events
    await bench.update(service_id, schedule=[])
    assert await bench.events(service_id) == events
    await bench.update(service_id, schedule=SCHEDULE, status="stopped")
    await bench.settle(service_id)
    assert (await bench.service(service_id)).due_time is None
    bench.clock.pass_ms(DAY_MS)
    await bench.update(service_id, status="running")
    await bench.settle(service_id)
    restarted = await bench.service(service_id)
    assert restarted.due_time == restarted.publish_at + LENGTH_MS


async def test_stopping_by_hand_at_the_due_time_is_one_stop(bench: Bench) -> None:
    service_id, due = await _running(bench)
    bench.clock.now = due
    await bench.update(service_id, status="stopped")
    await bench.settle(service_id)
    assert await _stops(bench, service_id) == 0
    events = await bench.events(service_id)
    assert events.count("stopping service") == 1
    async with bench.database.read() as session:
        [status] = await session.scalars(select(Service.status))
    assert status == "stopped"
