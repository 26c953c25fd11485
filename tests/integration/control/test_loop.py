"""The real passes on a real database, over a runtime and a gateway in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from loop_support import AUTHOR, M1, M2, Bench, changed, loop_bench, version
from modelyard.control.maintenance.retention import forget
from modelyard.control.reconciler.reconcile import reconcile
from modelyard.domain.rollout.instance import Phase
from modelyard.errors import InvalidRequest, StateForbids
from modelyard.store.tables.service import Instance, Service


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with loop_bench(tmp_path) as made:
        yield made


async def test_deploy_comes_to_run(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100, 2))
    assert (await bench.service(service_id)).status == "deploying"
    await bench.settle(service_id)
    service = await bench.service(service_id)
    assert (service.status, service.live_revision) == ("running", 1)
    assert bench.gateway.endpoints(service_id) == set(bench.runtime.alive())
    assert len(bench.runtime.alive()) == 2


async def test_weights_alone_restart_nothing(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 70), version(M2, 30))
    await bench.settle(service_id)
    before = bench.runtime.alive()
    update_time = await bench.update(service_id, config=[version(M1, "20"), version(M2, 80)])
    await bench.settle(service_id)
    assert bench.runtime.alive() == before
    assert bench.gateway.weights(service_id) == {M1: 20, M2: 80}
    [log] = await bench.logs(service_id)
    assert (log.update_time, log.result) == (update_time, "SUCCESS")


async def test_new_version_takes_over_only_when_ready(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    [old] = bench.runtime.alive()
    bench.runtime.ready_at_once = False
    bench.runtime.drains_at_once = False
    await bench.update(service_id, config=[version(M2, 100)])
    for _ in range(3):
        await reconcile(bench.parts, service_id)
        bench.clock.pass_ms(50)
    assert bench.gateway.endpoints(service_id) == {old}
    assert (await bench.service(service_id)).status == "running"
    [new] = bench.runtime.alive(M2)
    bench.runtime.phases[new] = Phase.READY
    await reconcile(bench.parts, service_id)
    assert bench.gateway.endpoints(service_id) == {new}
    assert ("drain", old) in bench.runtime.history
    bench.runtime.phases[old] = Phase.GONE
    await bench.settle(service_id)
    assert bench.runtime.alive() == [new]


async def test_changed_envs_replace_by_surge(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100, 3))
    await bench.settle(service_id)
    old = set(bench.runtime.alive())
    most = 0
    await bench.update(service_id, config=[version(M1, 100, 3, envs={"A": "1"})])
    for _ in range(40):
        await reconcile(bench.parts, service_id)
        bench.clock.pass_ms(50)
        most = max(most, len(bench.runtime.alive()))
        assert len(bench.gateway.endpoints(service_id)) >= 3
    assert most == 4
    assert not old & set(bench.runtime.alive())
    assert (await bench.logs(service_id))[0].result == "SUCCESS"


async def test_stop_and_start(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    await bench.update(service_id, status="stopped", config="ignored, since status wins")
    assert (await bench.service(service_id)).status == "stopping"
    with pytest.raises(StateForbids):
        await bench.update(service_id, config=[version(M2, 100)])
    await bench.settle(service_id)
    assert (await bench.service(service_id)).status == "stopped"
    assert not bench.gateway.traffic[service_id].serving
    assert not bench.runtime.alive()
    await bench.update(service_id, config=[version(M2, 100)])
    assert (await bench.service(service_id)).status == "stopped"
    await bench.update(service_id, status="running")
    await bench.settle(service_id)
    assert len(bench.runtime.alive(M2)) == 1


async def test_schedule_stops_once(bench: Bench) -> None:
    schedule = [{"type": "stop", "time_unit": "MINUTES", "duration": "90"}]
    service_id = await bench.create(version(M1, 100), schedule=schedule)
    await bench.settle(service_id)
    due = (await bench.service(service_id)).due_time
    assert due is not None
    bench.clock.now = due - 1
    await reconcile(bench.parts, service_id)
    assert (await bench.service(service_id)).status == "running"
    bench.clock.now = due
    await bench.settle(service_id)
    service = await bench.service(service_id)
    assert (service.status, service.due_time) == ("stopped", None)
    events = await bench.events(service_id)
    assert sum("auto-stop time has expired" in event for event in events) == 1


async def test_delete_leaves_nothing(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    await bench.changes.delete(AUTHOR, [service_id])
    await bench.settle(service_id)
    assert service_id not in bench.gateway.traffic
    assert not bench.runtime.alive()
    async with bench.database.read() as session:
        assert await session.get(Service, service_id) is None
        assert not list(await session.scalars(select(Instance)))


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_services": 1}, "3520"),
        ({"max_running_services": 1}, "3521"),
        ({"max_instances": 3}, "3522"),
    ],
)
async def test_quotas(bench: Bench, limits: dict[str, int], code: str) -> None:
    service_id = await bench.create(version(M1, 100, 3))
    await bench.settle(service_id)
    bench.changes = replace(bench.changes, settings=changed(bench.changes.settings, **limits))
    with pytest.raises(InvalidRequest, match="quota") as refused:
        await bench.create(version(M1, 100), service_name="another")
    assert refused.value.code == code
    if code == "3522":
        with pytest.raises(InvalidRequest):
            await bench.update(service_id, config=[version(M1, 100, 4)])
        assert (await bench.service(service_id)).desired_revision == 1
        assert await bench.logs(service_id) == []


async def test_only_the_owner_or_an_administrator_deletes(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    other = replace(AUTHOR, user_id="o" * 32)
    with pytest.raises(InvalidRequest) as refused:
        await bench.changes.delete(other, [service_id])
    assert refused.value.code == "3540"
    await bench.changes.delete(replace(other, is_admin=True), [service_id])


async def test_each_instance_drains_by_its_own_grace(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    [old] = bench.runtime.alive()
    bench.runtime.drains_at_once = False
    quick = {"additional_properties": {"termination_grace_period_seconds": 1}}
    await bench.update(service_id, config=[version(M2, 100, **quick)])
    for _ in range(5):
        await reconcile(bench.parts, service_id)
        bench.clock.pass_ms(5_000)
    assert old in bench.runtime.alive()
    bench.clock.pass_ms(60_000)
    await bench.settle(service_id)
    assert old not in bench.runtime.alive()


async def test_what_is_long_over_is_forgotten(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    bench.runtime.kill(bench.runtime.alive()[0])
    await bench.settle(service_id)
    await forget(bench.database, bench.clock.now_ms())
    assert await bench.ended() == 1
    bench.clock.pass_ms(3_700_000)
    await forget(bench.database, bench.clock.now_ms())
    assert await bench.ended() == 0
    assert await bench.events(service_id)
    bench.clock.pass_ms(31 * 24 * 3_600_000)
    await forget(bench.database, bench.clock.now_ms())
    assert await bench.events(service_id) == []
    assert len(bench.runtime.alive()) == 1
