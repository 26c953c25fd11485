"""What goes wrong, and what the loop makes of it (see loop_support.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from loop_support import AUTHOR, M1, M2, Bench, loop_bench, version
from modelyard.control.maintenance.orphans import end_orphans
from modelyard.control.reconciler.reconcile import reconcile
from modelyard.domain.rollout.instance import Phase
from modelyard.steps import Step
from modelyard.store.tables.service import Instance, Service


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with loop_bench(tmp_path) as made:
        yield made


async def test_broken_version_is_rolled_back(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    [old] = bench.runtime.alive()
    bench.runtime.broken[M2] = "ImportError: no module named nothere"
    await bench.update(service_id, config=[version(M2, 100)])
    await bench.settle(service_id)
    assert bench.gateway.endpoints(service_id) == {old}
    assert bench.runtime.alive() == [old]
    service = await bench.service(service_id)
    assert (service.status, service.desired_revision) == ("running", 1)
    [log] = await bench.logs(service_id)
    assert log.result == "FAIL"
    assert "nothere" in log.reason
    events = await bench.events(service_id)
    assert any(e.startswith("update failed, rolling back") and "nothere" in e for e in events)
    assert "update rolled back" in events


async def test_first_deployment_that_fails_says_why(bench: Bench) -> None:
    bench.runtime.broken[M1] = "SyntaxError in customize_service.py"
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    service = await bench.service(service_id)
    assert service.status == "failed"
    assert "SyntaxError" in service.error_msg
    assert not bench.runtime.alive()
    bench.runtime.broken.clear()
    await bench.update(service_id, status="running")
    await bench.settle(service_id)
    assert (await bench.service(service_id)).status == "running"


async def test_killed_instance_is_replaced(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100, 2))
    await bench.settle(service_id)
    victim, other = bench.runtime.alive()
    bench.runtime.kill(victim)
    await reconcile(bench.parts, service_id)
    assert bench.gateway.endpoints(service_id) == {other}
    assert (await bench.service(service_id)).status == "concerning"
    await bench.settle(service_id)
    assert (await bench.service(service_id)).status == "running"
    assert len(bench.gateway.endpoints(service_id)) == 2


async def test_gateway_away_drains_nothing(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    [old] = bench.runtime.alive()
    await bench.update(service_id, config=[version(M2, 100)])
    await reconcile(bench.parts, service_id)
    bench.gateway.away = True
    for _ in range(3):
        bench.clock.pass_ms(50)
        await reconcile(bench.parts, service_id)
    assert ("drain", old) not in bench.runtime.history
    bench.gateway.away = False
    await bench.settle(service_id)
    assert bench.gateway.weights(service_id) == {M2: 100}
    assert old not in bench.runtime.alive()


async def test_later_update_takes_the_place_of_one_that_runs(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    bench.runtime.ready_at_once = False
    await bench.update(service_id, config=[version(M2, 100)])
    await reconcile(bench.parts, service_id)
    await bench.update(service_id, config=[version(M1, 100)])
    await bench.settle(service_id)
    assert bench.runtime.alive(M2) == []
    first, second = await bench.logs(service_id)
    assert (first.result, second.result) == ("FAIL", "SUCCESS")
    assert "later update" in first.reason


async def test_a_schedule_does_not_delay_a_rollback(bench: Bench) -> None:
    schedule = [{"type": "stop", "time_unit": "MINUTES", "duration": 90}]
    service_id = await bench.create(version(M1, 100), schedule=schedule)
    await bench.settle(service_id)
    bench.runtime.broken[M2] = "no"
    await bench.update(service_id, config=[version(M2, 100)])
    await bench.settle(service_id)
    assert "update rolled back" in await bench.events(service_id)


async def test_a_failed_service_has_no_timer(bench: Bench) -> None:
    schedule = [{"type": "stop", "time_unit": "MINUTES", "duration": 90}]
    bench.runtime.broken[M1] = "no"
    service_id = await bench.create(version(M1, 100), schedule=schedule)
    await bench.settle(service_id)
    service = await bench.service(service_id)
    assert (service.status, service.due_time) == ("failed", None)
    assert not bench.runtime.alive()


async def test_any_text_of_a_model_may_be_a_cause(bench: Bench) -> None:
    bench.runtime.broken[M1] = "cannot open 'caf\udce9\0.bin' " + "x" * 5_000
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    service = await bench.service(service_id)
    assert service.status == "failed"
    assert "cannot open" in service.error_msg
    assert len(service.error_msg) <= 2_000


async def test_a_pass_for_nobody_asks_for_no_other(bench: Bench) -> None:
    assert await reconcile(bench.parts, "00000000-0000-4000-8000-000000000000") is None


async def test_an_instance_without_a_row_is_ended(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100, 2))
    await bench.settle(service_id)
    orphan, other = bench.runtime.alive()
    async with bench.database.write(Step.TEST) as session:
        await session.execute(delete(Instance).where(Instance.id == orphan))
    await end_orphans(bench.database, bench.runtime)
    assert bench.runtime.alive() == [other]


async def test_broken_envs_move_no_traffic_and_drain_nothing(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 90, 3), version(M2, 10))
    await bench.settle(service_id)
    before = bench.gateway.endpoints(service_id)
    bench.runtime.broken = {M1: "bad envs", M2: "bad envs"}
    bad = {"envs": {"A": "bad"}}
    await bench.update(service_id, config=[version(M1, 10, 1, **bad), version(M2, 90, **bad)])
    history = len(bench.gateway.history)
    await bench.settle(service_id)
    assert bench.gateway.endpoints(service_id) == before
    assert len(bench.gateway.history) == history
    assert not any(verb == "drain" for verb, _ in bench.runtime.history)


async def test_an_overtaken_update_never_serves(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    bench.runtime.ready_at_once = False
    await bench.update(service_id, config=[version(M1, 50, envs={"X": "1"}), version(M2, 50)])
    await reconcile(bench.parts, service_id)
    [overtaken] = [i for i, s in bench.runtime.specs.items() if s.envs == {"X": "1"}]
    bench.runtime.phases[overtaken] = Phase.READY
    await reconcile(bench.parts, service_id)
    assert overtaken not in bench.gateway.endpoints(service_id)
    bench.runtime.ready_at_once = True
    await bench.update(service_id, config=[version(M1, 100, envs={"X": "2"})])
    await bench.settle(service_id)
    served = {e.instance_id for t in bench.gateway.history for v in t.versions for e in v.endpoints}
    assert overtaken not in served
    assert overtaken not in bench.runtime.alive()


async def test_auto_stop_during_an_update_closes_its_log(bench: Bench) -> None:
    schedule = [{"type": "stop", "time_unit": "MINUTES", "duration": 1}]
    service_id = await bench.create(version(M1, 100), schedule=schedule)
    await bench.settle(service_id, until="running")
    bench.runtime.ready_at_once = False
    await bench.update(service_id, config=[version(M2, 100)])
    await reconcile(bench.parts, service_id)
    bench.clock.pass_ms(61_000)
    await bench.settle(service_id)
    [log] = await bench.logs(service_id)
    assert (log.result, log.reason) == ("FAIL", "the service was stopped")


async def test_an_overtaken_rollback_is_not_told_later(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    bench.runtime.broken[M2] = "no"
    await bench.update(service_id, config=[version(M2, 100)])
    while "rolling back" not in str(await bench.events(service_id)):
        await reconcile(bench.parts, service_id)
        bench.clock.pass_ms(600)
    await bench.update(service_id, config=[version(M1, 100, 2)])
    await bench.settle(service_id)
    events = await bench.events(service_id)
    assert events[-1] == "service updated"
    assert "update rolled back" not in events


async def test_a_ready_instance_that_vanishes_counts_as_failed(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    await bench.runtime.stop(bench.runtime.alive()[0])
    await bench.settle(service_id)
    assert any("stopped answering" in event for event in await bench.events(service_id))
    assert len(bench.runtime.alive()) == 1


async def test_pass_that_was_cut_off_after_recording_starts_once(bench: Bench) -> None:
    """The control plane dies between writing an instance down and making its process."""
    service_id = await bench.create(version(M1, 100))

    async def dies(_spec: object) -> None:
        raise RuntimeError("cut off")

    start, bench.runtime.start = bench.runtime.start, dies  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        await reconcile(bench.parts, service_id)
    bench.runtime.start = start  # type: ignore[method-assign]
    await bench.settle(service_id)
    assert (await bench.service(service_id)).status == "running"
    assert len(bench.runtime.alive()) == 1


async def test_a_service_whose_instances_all_died_is_deleted(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100, 2))
    await bench.settle(service_id)
    bench.clock.pass_ms(1_000)
    for instance_id in bench.runtime.alive():
        bench.runtime.kill(instance_id)
    await bench.changes.delete(AUTHOR, [service_id])
    await bench.settle(service_id)
    async with bench.database.read() as session:
        assert await session.get(Service, service_id) is None


async def test_giving_up_during_a_rollback_closes_the_update(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    bench.runtime.broken |= {M1: "no", M2: "no"}
    await bench.update(service_id, config=[version(M2, 100)])
    while (await bench.service(service_id)).desired_revision != 1:
        await reconcile(bench.parts, service_id)
        bench.clock.pass_ms(100)
    [log] = await bench.logs(service_id)
    assert (log.result, log.closed_at) == ("FAIL", None)
    for instance_id in bench.runtime.alive():
        bench.runtime.kill(instance_id)
    await bench.settle(service_id, passes=2_000, until="failed")
    [log] = await bench.logs(service_id)
    assert log.closed_at is not None
