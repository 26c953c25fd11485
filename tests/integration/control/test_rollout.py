"""How a service gets from one revision to the next: passes over fakes, on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from loop_support import M1, M2, Bench, loop_bench, version
from modelyard.control.reconciler.reconcile import reconcile
from modelyard.domain.rollout.instance import Phase
from modelyard.store.tables.service import ServingPeriod

PROBATION_S = 2.0


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with loop_bench(tmp_path, probation=PROBATION_S) as made:
        yield made


async def passes(bench: Bench, service_id: str, times: int, ms: int = 50) -> None:
    for _ in range(times):
        await reconcile(bench.parts, service_id)
        bench.clock.pass_ms(ms)


async def periods(bench: Bench, service_id: str) -> list[int | None]:
    async with bench.database.read() as session:
        statement = (
            select(ServingPeriod.revision)
            .where(ServingPeriod.service_id == service_id)
            .order_by(ServingPeriod.since)
        )
        return list(await session.scalars(statement))


def rollout(**members: Any) -> dict[str, Any]:
    return {"rollout": members}


async def test_a_replaced_version_stays_within_its_surge(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100, 3))
    await bench.settle(service_id)
    await bench.update(service_id, config=[version(M2, 100, 3)])
    most, fewest = 0, 99
    for _ in range(150):
        await reconcile(bench.parts, service_id)
        bench.clock.pass_ms(50)
        most = max(most, len(bench.runtime.alive()))
        fewest = min(fewest, len(bench.gateway.endpoints(service_id)))
        assert sum(bench.gateway.weights(service_id).values()) == 100
    assert (most, fewest) == (4, 3)
    assert bench.gateway.weights(service_id) == {M2: 100}
    assert [log.result for log in await bench.logs(service_id)] == ["SUCCESS"]
    assert await periods(bench, service_id) == [1, 2]


async def test_traffic_moves_with_the_instances(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100, 3))
    await bench.settle(service_id)
    seen = []
    await bench.update(service_id, config=[version(M2, 100, 3)])
    for _ in range(150):
        await reconcile(bench.parts, service_id)
        bench.clock.pass_ms(50)
        weight = bench.gateway.weights(service_id).get(M2, 0)
        if weight not in seen[-1:]:
            seen.append(weight)
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert seen[-1] == 100
    assert any(0 < weight < 100 for weight in seen)


async def test_the_former_version_stays_until_the_new_one_has_proven_itself(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    [old] = bench.runtime.alive()
    await bench.update(service_id, config=[version(M2, 100)])
    await passes(bench, service_id, 5)
    [new] = set(bench.runtime.alive()) - {old}
    assert bench.gateway.endpoints(service_id) == {old, new}
    bench.runtime.kill(new, "boom")
    await passes(bench, service_id, 3)
    [again] = set(bench.runtime.alive()) - {old}
    bench.runtime.kill(again, "boom again")
    await bench.settle(service_id)
    assert bench.runtime.alive() == [old], "the old one was never touched"
    assert bench.gateway.weights(service_id)[M1] == 100
    [log] = await bench.logs(service_id)
    assert (log.result, "boom again" in log.reason) == ("FAIL", True)
    told = await bench.events(service_id)
    assert any(info.startswith("update failed, rolling back: boom") for info in told)
    assert told[-1] == "update rolled back"


async def test_who_lost_its_weight_does_not_stand_in_for_its_successor(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 50), version(M2, 50))
    await bench.settle(service_id)
    [old] = [i for i in bench.runtime.alive() if bench.runtime.specs[i].model_id == M1]
    await bench.update(service_id, config=[version(M1, 0), version(M2, 100)])
    await bench.settle(service_id)
    successor = version(M1, 60, envs={"LEVEL": "2"})
    await bench.update(service_id, config=[successor, version(M2, 40)])
    for _ in range(100):
        await reconcile(bench.parts, service_id)
        bench.clock.pass_ms(50)
        if bench.gateway.weights(service_id)[M1]:
            assert old not in bench.gateway.endpoints(service_id)
    assert bench.gateway.weights(service_id) == {M1: 60, M2: 40}
    assert [log.result for log in await bench.logs(service_id)] == ["SUCCESS", "SUCCESS"]


@pytest.mark.parametrize("weight", [10, 100])
async def test_a_worker_that_crashes_under_its_first_traffic_is_rolled_back(
    bench: Bench, weight: int
) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    [old] = bench.runtime.alive()
    bench.runtime.tails[M2] = "Segmentation fault"
    beside = [version(M1, 100 - weight), version(M2, weight)] if weight < 100 else []
    await bench.update(service_id, config=beside or [version(M2, 100)])
    await passes(bench, service_id, 5)
    [new] = set(bench.runtime.alive()) - {old}
    bench.runtime.phases[new] = Phase.STARTING
    await bench.settle(service_id)
    assert bench.runtime.alive() == [old]
    assert bench.gateway.weights(service_id)[M1] == 100
    [log] = await bench.logs(service_id)
    assert log.result == "FAIL"
    assert log.reason.startswith("it broke down under its first traffic")
    assert log.reason.endswith("Segmentation fault")


async def test_a_cause_comes_with_the_last_lines_of_the_log(bench: Bench) -> None:
    bench.runtime.broken[M1] = "the worker ended"
    bench.runtime.tails[M1] = "Traceback\nImportError: no module named nothing\n"
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    service = await bench.service(service_id)
    assert service.status == "failed"
    assert service.error_msg.startswith("the worker ended\n")
    assert service.error_msg.endswith("ImportError: no module named nothing")


async def test_a_crash_loop_is_given_up_when_nothing_serves(tmp_path: Path) -> None:
    async with loop_bench(tmp_path) as bench:
        service_id = await bench.create(version(M1, 100))
        await bench.settle(service_id)
        bench.runtime.broken[M1] = "out of memory"
        bench.runtime.kill(bench.runtime.alive()[0], "out of memory")
        await bench.settle(service_id, passes=400, until="failed")
        service = await bench.service(service_id)
        budget = bench.parts.settings.rollout.restart_budget
        assert f"after {budget} failures" in service.error_msg
        await bench.settle(service_id)
        assert bench.runtime.alive() == []
        bench.runtime.broken.clear()
        await bench.update(service_id, status="running")
        await bench.settle(service_id)
        assert (await bench.service(service_id)).status == "running"


async def test_going_back_to_what_is_kept_moves_weights_only(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100, 2))
    await bench.settle(service_id)
    old = set(bench.runtime.alive())
    keep = rollout(keep_former_minutes=10)
    await bench.update(service_id, config=[version(M2, 100, 2)], additional_properties=keep)
    await passes(bench, service_id, 60)
    assert len(bench.runtime.alive()) == 4
    assert {m: w for m, w in bench.gateway.weights(service_id).items() if w} == {M2: 100}
    assert (await bench.service(service_id)).kept_revision == 1
    begun = len(bench.runtime.history)
    await bench.update(service_id, config=[version(M1, 100, 2)])
    await reconcile(bench.parts, service_id)
    assert {m: w for m, w in bench.gateway.weights(service_id).items() if w} == {M1: 100}
    assert bench.gateway.endpoints(service_id) >= old
    assert len(bench.runtime.history) == begun, "nothing was started, nothing drained"
    assert [log.result for log in await bench.logs(service_id)] == ["SUCCESS", "SUCCESS"]


async def test_what_is_kept_goes_when_its_time_is_over(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    keep = rollout(keep_former_minutes=1)
    await bench.update(service_id, config=[version(M2, 100)], additional_properties=keep)
    await passes(bench, service_id, 60)
    assert len(bench.runtime.alive()) == 2
    service = await bench.service(service_id)
    assert service.check_at == service.kept_until
    bench.clock.pass_ms(60_000)
    await bench.settle(service_id)
    assert len(bench.runtime.alive(M2)) == 1
    assert bench.runtime.alive(M1) == []
    assert (await bench.service(service_id)).kept_revision is None


async def test_a_guard_moves_traffic_step_by_step(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    guard = rollout(steps=[10, 50], hold_seconds=1, min_samples=10)
    await bench.update(service_id, config=[version(M2, 100)], additional_properties=guard)
    weights = []
    for _ in range(60):
        await reconcile(bench.parts, service_id)
        bench.clock.pass_ms(200)
        bench.requests.count(service_id, M1, 100)
        bench.requests.count(service_id, M2, 100)
        now = bench.gateway.weights(service_id).get(M2, 0)
        if now not in weights[-1:]:
            weights.append(now)
    assert weights == [0, 10, 50, 100]
    assert [log.result for log in await bench.logs(service_id)] == ["SUCCESS"]
    told = [info for info in await bench.events(service_id) if "guarded" in info]
    assert told[0] == "guarded rollout: step 1 of 2, 10 % of the traffic"
    assert len(told) == 4


async def test_a_guard_takes_a_bad_version_back(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    [old] = bench.runtime.alive()
    guard = rollout(steps=[10, 50], hold_seconds=60, min_samples=100)
    await bench.update(service_id, config=[version(M2, 100)], additional_properties=guard)
    await passes(bench, service_id, 5)
    assert bench.gateway.weights(service_id) == {M1: 90, M2: 10}
    assert {v.revision for v in bench.gateway.traffic[service_id].versions} == {None, 2}
    bench.requests.count(service_id, M1, 900)
    bench.requests.count(service_id, M2, 100, errors=50)
    await bench.settle(service_id)
    assert bench.gateway.weights(service_id) == {M1: 100}
    assert bench.runtime.alive() == [old]
    [log] = await bench.logs(service_id)
    assert log.result == "FAIL"
    assert "50" in log.reason


async def test_changed_envs_are_guarded_apart_from_the_old_ones(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100, 2))
    await bench.settle(service_id)
    guard = rollout(steps=[50], hold_seconds=1, min_samples=1)
    changed = version(M1, 100, 2, envs={"A": "1"})
    await bench.update(service_id, config=[changed], additional_properties=guard)
    await passes(bench, service_id, 5)
    versions = bench.gateway.traffic[service_id].versions
    assert sorted(v.weight for v in versions) == [50, 50]
    assert len({v.variant for v in versions}) == 2


async def test_an_update_overtakes_a_guarded_one(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    guard = rollout(steps=[10], hold_seconds=60, min_samples=100)
    await bench.update(service_id, config=[version(M2, 100)], additional_properties=guard)
    await passes(bench, service_id, 5)
    await bench.update(service_id, config=[version(M1, 100)], additional_properties={})
    await bench.settle(service_id)
    assert bench.gateway.weights(service_id) == {M1: 100}
    assert bench.runtime.alive(M2) == []


async def test_a_dead_instance_of_the_serving_revision_is_replaced_during_a_rollout(
    bench: Bench,
) -> None:
    service_id = await bench.create(version(M1, 100, 2))
    await bench.settle(service_id)
    bench.runtime.ready_at_once = False
    await bench.update(service_id, config=[version(M2, 100, 2)])
    await passes(bench, service_id, 2)
    bench.runtime.kill(bench.runtime.alive(M1)[0])
    await passes(bench, service_id, 2)
    assert len(bench.runtime.alive(M1)) == 2
    assert all(p is not Phase.DRAINING for p in bench.runtime.phases.values())
