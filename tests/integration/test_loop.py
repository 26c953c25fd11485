"""The real passes on a real database, over a runtime and a gateway in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from modelyard.control.orphans import end_orphans
from modelyard.control.retention import forget
from modelyard.control.service_pass import Parts, service_pass
from modelyard.control.wishes import Author, Wishes
from modelyard.domain.instance import Phase
from modelyard.errors import InvalidRequest, StateForbids
from modelyard.settings import Settings
from modelyard.store.database import Database
from modelyard.store.migrate import migrate
from modelyard.store.tables.model import Model
from modelyard.store.tables.service import Event, Instance, Service, UpdateLog
from modelyard.testing.clock import FakeClock
from modelyard.testing.gateway import FakeGateway
from modelyard.testing.runtime import FakeRuntime

AUTHOR = Author(project_id="p" * 32, user_id="u" * 32, domain_id="d" * 32)
M1, M2 = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def version(model_id: str, weight: int, count: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "model_id": model_id,
        "weight": weight,
        "specification": "modelarts.vm.cpu.2u",
        "instance_count": count,
        **more,
    }


class Bench:
    """A database, a loop's parts, and short ways to use them."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.clock = FakeClock()
        self.runtime = FakeRuntime()
        self.gateway = FakeGateway()
        self.database = database
        self.parts = Parts(settings, database, self.clock, self.runtime, self.gateway)
        self.wishes = Wishes(settings, database, self.clock)

    async def create(self, *config: dict[str, Any], **more: Any) -> str:
        body = {"service_name": "svc", "infer_type": "real-time", "config": list(config)} | more
        return (await self.wishes.create(AUTHOR, body)).service_id

    async def update(self, service_id: str, **body: Any) -> int | None:
        accepted = await self.wishes.update(AUTHOR, service_id, body)
        return accepted.at if accepted else None

    async def settle(self, service_id: str, passes: int = 60, until: str = "") -> None:
        """Run passes as the loop would, until nothing is due within a minute or it is ``until``."""
        for _ in range(passes):
            at = await service_pass(self.parts, service_id)
            if until and (await self.service(service_id)).status == until:
                return
            if at is None or at > self.clock.now_ms() + 60_000:
                return
            self.clock.now = max(self.clock.now + 1, at)
        raise AssertionError("the service does not come to rest")

    async def service(self, service_id: str) -> Service:
        async with self.database.read() as session:
            found = await session.get(Service, service_id)
        assert found is not None
        return found

    async def logs(self, service_id: str) -> list[UpdateLog]:
        async with self.database.read() as session:
            statement = select(UpdateLog).where(UpdateLog.service_id == service_id)
            return list(await session.scalars(statement.order_by(UpdateLog.update_time)))

    async def ended(self) -> int:
        """How many instances on record are no more."""
        async with self.database.read() as session:
            rows = await session.scalars(select(Instance).where(Instance.ended_at.is_not(None)))
            return len(list(rows))

    async def events(self, service_id: str) -> list[str]:
        async with self.database.read() as session:
            statement = select(Event).where(Event.service_id == service_id).order_by(Event.id)
            return [event.event_info for event in await session.scalars(statement)]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    settings = Settings(home=tmp_path)
    settings.prepare_home()
    database = Database(settings.database)
    await migrate(database)
    async with database.write() as session:
        for model_id, number in ((M1, "0.0.1"), (M2, "0.0.2")):
            session.add(
                Model(
                    id=model_id,
                    project_id=AUTHOR.project_id,
                    name="m",
                    version=number,
                    version_order=1,
                    model_type="Custom",
                    status="published",
                    owner=AUTHOR.user_id,
                    tenant=AUTHOR.domain_id,
                    source_location="/b/k/",
                    requested={},
                    install_type=["real-time"],
                    package_dir="",
                    created_at=1,
                )
            )
    yield Bench(settings, database)
    await database.close()


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
        await service_pass(bench.parts, service_id)
        bench.clock.pass_ms(50)
    assert bench.gateway.endpoints(service_id) == {old}
    assert (await bench.service(service_id)).status == "running"
    [new] = bench.runtime.alive(M2)
    bench.runtime.phases[new] = Phase.READY
    await service_pass(bench.parts, service_id)
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
        await service_pass(bench.parts, service_id)
        bench.clock.pass_ms(50)
        most = max(most, len(bench.runtime.alive()))
        assert len(bench.gateway.endpoints(service_id)) >= 3
    assert most == 4
    assert not old & set(bench.runtime.alive())
    assert (await bench.logs(service_id))[0].result == "SUCCESS"


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
    await service_pass(bench.parts, service_id)
    assert bench.gateway.endpoints(service_id) == {other}
    assert (await bench.service(service_id)).status == "concerning"
    await bench.settle(service_id)
    assert (await bench.service(service_id)).status == "running"
    assert len(bench.gateway.endpoints(service_id)) == 2


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
    await service_pass(bench.parts, service_id)
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
    await bench.wishes.delete(AUTHOR, [service_id])
    await bench.settle(service_id)
    assert service_id not in bench.gateway.traffic
    assert not bench.runtime.alive()
    async with bench.database.read() as session:
        assert await session.get(Service, service_id) is None
        assert not list(await session.scalars(select(Instance)))


async def test_gateway_away_drains_nothing(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    [old] = bench.runtime.alive()
    await bench.update(service_id, config=[version(M2, 100)])
    await service_pass(bench.parts, service_id)
    bench.gateway.away = True
    for _ in range(3):
        bench.clock.pass_ms(50)
        await service_pass(bench.parts, service_id)
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
    await service_pass(bench.parts, service_id)
    await bench.update(service_id, config=[version(M1, 100)])
    await bench.settle(service_id)
    assert bench.runtime.alive(M2) == []
    first, second = await bench.logs(service_id)
    assert (first.result, second.result) == ("FAIL", "SUCCESS")
    assert "later update" in first.reason


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
    bench.wishes = replace(bench.wishes, settings=bench.wishes.settings.model_copy(update=limits))
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
        await bench.wishes.delete(other, [service_id])
    assert refused.value.code == "3540"
    await bench.wishes.delete(replace(other, is_admin=True), [service_id])


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
    assert await service_pass(bench.parts, "00000000-0000-4000-8000-000000000000") is None


async def test_an_instance_without_a_row_is_ended(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100, 2))
    await bench.settle(service_id)
    orphan, other = bench.runtime.alive()
    async with bench.database.write() as session:
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
    await service_pass(bench.parts, service_id)
    [overtaken] = [i for i, s in bench.runtime.specs.items() if s.envs == {"X": "1"}]
    bench.runtime.phases[overtaken] = Phase.READY
    await service_pass(bench.parts, service_id)
    assert overtaken not in bench.gateway.endpoints(service_id)
    bench.runtime.ready_at_once = True
    await bench.update(service_id, config=[version(M1, 100, envs={"X": "2"})])
    await bench.settle(service_id)
    served = {e.instance_id for t in bench.gateway.history for v in t.versions for e in v.endpoints}
    assert overtaken not in served
    assert overtaken not in bench.runtime.alive()


async def test_each_instance_drains_by_its_own_grace(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    [old] = bench.runtime.alive()
    bench.runtime.drains_at_once = False
    quick = {"additional_properties": {"termination_grace_period_seconds": 1}}
    await bench.update(service_id, config=[version(M2, 100, **quick)])
    for _ in range(5):
        await service_pass(bench.parts, service_id)
        bench.clock.pass_ms(5_000)
    assert old in bench.runtime.alive()
    bench.clock.pass_ms(60_000)
    await bench.settle(service_id)
    assert old not in bench.runtime.alive()


async def test_auto_stop_during_an_update_closes_its_log(bench: Bench) -> None:
    schedule = [{"type": "stop", "time_unit": "MINUTES", "duration": 1}]
    service_id = await bench.create(version(M1, 100), schedule=schedule)
    await bench.settle(service_id, until="running")
    bench.runtime.ready_at_once = False
    await bench.update(service_id, config=[version(M2, 100)])
    await service_pass(bench.parts, service_id)
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
        await service_pass(bench.parts, service_id)
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


async def test_pass_that_was_cut_off_after_recording_starts_once(bench: Bench) -> None:
    """The control plane dies between writing an instance down and making its process."""
    service_id = await bench.create(version(M1, 100))

    async def dies(_spec: object) -> None:
        raise RuntimeError("cut off")

    start, bench.runtime.start = bench.runtime.start, dies  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        await service_pass(bench.parts, service_id)
    bench.runtime.start = start  # type: ignore[method-assign]
    await bench.settle(service_id)
    assert (await bench.service(service_id)).status == "running"
    assert len(bench.runtime.alive()) == 1
