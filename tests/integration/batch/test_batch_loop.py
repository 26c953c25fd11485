"""The life of batch services: real passes on a real database, drivers and instances in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from batch_services import (
    OTHER,
    ROWS,
    add_models,
    create,
    finished,
    job,
    last_run,
    progress,
    runs_of,
)

from loop_support import AUTHOR, Bench, loop_bench
from modelyard.control.batch.runs_reconcile import GRACE_MS
from modelyard.control.changes.admission import ChangeKind, ChangeRequest
from modelyard.control.maintenance.orphans import end_orphan_runs
from modelyard.control.maintenance.restore import present_traffic
from modelyard.control.maintenance.retention import forget_runs
from modelyard.control.reconciler.reconcile import reconcile
from modelyard.domain.batch.progress import LOSSES_AT_MOST
from modelyard.domain.batch.run import Progress, Result
from modelyard.domain.rollout.planner import POLL_MS
from modelyard.domain.service.lifecycle import Status, follows
from modelyard.errors import InvalidRequest, NotFound, StateForbids

DAY_MS = 86_400_000


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with loop_bench(tmp_path) as made:
        await add_models(made.database)
        yield made


async def passes(bench: Bench, service_id: str, count: int = 8) -> list[str]:
    """Some passes half a second apart; the statuses that the service had."""
    seen = []
    for _ in range(count):
        await reconcile(bench.parts, service_id)
        bench.clock.pass_ms(500)
        seen.append((await bench.service(service_id)).status)
    return seen


async def running(bench: Bench, *config: dict[str, object]) -> tuple[str, str]:
    """A service whose run goes on; its id and the task's."""
    service_id = await create(bench, *config)
    await bench.settle(service_id, until="running")
    await passes(bench, service_id, 3)
    return service_id, (await last_run(bench, service_id)).task_id


async def status(bench: Bench, service_id: str) -> str:
    return (await bench.service(service_id)).status


def working(bench: Bench, task_id: str) -> set[str]:
    """The instances that the driver may send to."""
    return {address.instance_id for address in bench.drivers.endpoints[task_id]}


# -- the plain way ------------------------------------------------------------------------------


async def test_a_run_from_deploying_to_finished(bench: Bench) -> None:
    bench.runtime.ready_at_once = False
    service_id = await create(bench, job(count=2))
    seen = ["deploying", *await passes(bench, service_id, 3)]
    assert not bench.drivers.alive, "nothing begins before there are instances"
    for instance_id in bench.runtime.alive():
        bench.runtime.phases[instance_id] = bench.runtime.phases[instance_id].READY
    seen += await passes(bench, service_id, 3)
    run = await last_run(bench, service_id)
    assert bench.drivers.alive == {run.task_id}
    assert working(bench, run.task_id) == set(bench.runtime.alive())
    assert run.started_at is not None
    spec = bench.drivers.specs[run.task_id]
    assert (spec.source, spec.destination, spec.path) == (
        "obs://inbox/people/",
        "obs://outbox/res/",
        "/",
    )
    for rows in (10, 60, 90):
        bench.drivers.progress[run.task_id] = progress(rows, 1)
        seen += await passes(bench, service_id, 2)
    assert (await last_run(bench, service_id)).progress["rows_done"] == 90
    bench.drivers.finish(run.task_id, finished(100, 2))
    seen += await passes(bench, service_id)

    run = await last_run(bench, service_id)
    assert (run.outcome, run.progress["rows_failed"]) == ("finished", 2)
    assert run.finished_at is not None
    assert run.closed_at is not None
    assert (await status(bench, service_id), bench.runtime.alive()) == ("finished", [])
    for before, after in pairwise(seen):
        assert follows(Status(before), Status(after)), (before, after)
    told = await bench.events(service_id)
    for text in (
        f"batch task {run.task_id} started",
        f"batch task {run.task_id}: 50 % done, 60 rows processed, 1 failed",
        f"batch task {run.task_id}: 75 % done, 90 rows processed, 1 failed",
    ):
        assert text in told
    [end] = [text for text in told if text.startswith("batch executed")]
    assert "100 rows processed, 2 failed" in end
    assert "quarantine" in end


async def test_at_rest_nothing_is_due(bench: Bench) -> None:
    service_id, task_id = await running(bench)
    bench.drivers.finish(task_id)
    await bench.settle(service_id)
    assert await reconcile(bench.parts, service_id) is None


async def test_the_gateway_hears_nothing(bench: Bench) -> None:
    service_id, task_id = await running(bench)
    assert bench.gateway.history == []
    assert (
        await present_traffic(bench.parts.settings, bench.database, bench.clock, bench.runtime)
        == []
    )
    bench.drivers.finish(task_id)
    await bench.settle(service_id)
    await bench.changes.delete(AUTHOR, [service_id])
    await bench.settle(service_id)
    assert bench.gateway.history == []


async def test_a_run_that_cannot_go_on_fails_the_service(bench: Bench) -> None:
    service_id, task_id = await running(bench)
    reason = "src_path: obs://inbox/people/ does not exist"
    bench.drivers.finish(task_id, Result("failed", Progress(), "3551", reason))
    await bench.settle(service_id)
    service, run = await bench.service(service_id), await last_run(bench, service_id)
    assert (service.status, service.error_msg) == ("failed", reason)
    assert (run.outcome, run.code, run.reason) == ("failed", "3551", reason)
    assert bench.runtime.alive() == []
    assert f"batch failed: task {task_id}: {reason}" in await bench.events(service_id)


async def test_a_model_that_never_starts_fails_the_run(bench: Bench) -> None:
    bench.runtime.broken[ROWS] = "ImportError: no module named nothing"
    service_id = await create(bench)
    await bench.settle(service_id)
    service, run = await bench.service(service_id), await last_run(bench, service_id)
    assert (service.status, run.outcome) == ("failed", "failed")
    assert "ImportError" in service.error_msg
    assert run.reason == service.error_msg
    assert (run.started_at, bench.drivers.history) == (None, [])


# -- stop, start, delete ------------------------------------------------------------------------


async def test_stopping_ends_driver_and_instances_and_keeps_nothing(bench: Bench) -> None:
    service_id, task_id = await running(bench)
    await bench.update(service_id, status="stopped")
    await bench.settle(service_id)
    run = await last_run(bench, service_id)
    assert (await status(bench, service_id), run.outcome) == ("stopped", "stopped")
    assert ("end", task_id) in bench.drivers.history
    assert not bench.drivers.alive
    assert not bench.drivers.specs
    assert not bench.runtime.alive()


async def test_a_driver_that_is_started_while_it_is_stopped_is_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_id = await create(bench)
    start = bench.drivers.start

    async def start_and_stop(task_id: str) -> None:
        await start(task_id)
        await bench.update(service_id, status="stopped")

    monkeypatch.setattr(bench.drivers, "start", start_and_stop)
    await bench.settle(service_id)
    assert [what for what, _ in bench.drivers.history] == ["start", "end"]
    assert not bench.drivers.alive
    assert (await last_run(bench, service_id)).outcome == "stopped"


async def test_who_waits_for_instances_is_not_looked_at_all_the_time(bench: Bench) -> None:
    bench.runtime.ready_at_once = False
    service_id = await create(bench)
    for _ in range(5):
        at = await reconcile(bench.parts, service_id)
        assert at is not None
        assert at >= bench.clock.now_ms() + POLL_MS
        bench.clock.now = at


async def test_it_is_not_stopped_before_its_driver_has_ended(bench: Bench) -> None:
    service_id, task_id = await running(bench)
    bench.drivers.stubborn.add(task_id)
    await bench.update(service_id, status="stopped")
    assert set(await passes(bench, service_id, 6)) == {"stopping"}
    bench.clock.pass_ms(GRACE_MS)
    assert (await passes(bench, service_id, 3))[-1] == "stopped"
    assert ("kill", task_id) in bench.drivers.history


async def test_a_driver_that_came_to_its_end_while_it_was_stopped_has_finished(
    bench: Bench,
) -> None:
    service_id, task_id = await running(bench)
    await bench.update(service_id, status="stopped")
    bench.drivers.finish(task_id, finished())
    await bench.settle(service_id)
    run = await last_run(bench, service_id)
    assert (await status(bench, service_id), run.outcome) == ("stopped", "finished")


@pytest.mark.parametrize("end", ["finished", "failed", "stopped"])
async def test_start_is_a_new_run(bench: Bench, end: str) -> None:
    service_id, task_id = await running(bench)
    if end == "stopped":
        await bench.update(service_id, status="stopped")
    else:
        bench.drivers.finish(task_id, Result(end, Progress()))
    await bench.settle(service_id)
    assert await status(bench, service_id) == end
    await bench.update(service_id, status="running")
    assert await status(bench, service_id) == "deploying"
    await bench.settle(service_id, until="running")
    run = await last_run(bench, service_id)
    assert run.task_id != task_id
    assert bench.drivers.alive == {run.task_id}
    bench.drivers.finish(run.task_id)
    await bench.settle(service_id)
    assert await status(bench, service_id) == "finished"
    assert [one.outcome for one in await runs_of(bench, service_id)] == [end, "finished"]


async def test_stopping_what_is_finished_is_refused(bench: Bench) -> None:
    service_id, task_id = await running(bench)
    bench.drivers.finish(task_id)
    await bench.settle(service_id)
    with pytest.raises(StateForbids):
        await bench.update(service_id, status="stopped")


async def test_deleting_leaves_nothing(bench: Bench) -> None:
    service_id, task_id = await running(bench)
    bench.drivers.stubborn.add(task_id)
    await bench.changes.delete(AUTHOR, [service_id])
    await passes(bench, service_id, 4)
    bench.clock.pass_ms(GRACE_MS)
    while await reconcile(bench.parts, service_id) is not None:
        bench.clock.pass_ms(500)
    assert not bench.drivers.alive
    assert not bench.runtime.alive()
    assert await runs_of(bench, service_id) == []
    await end_orphan_runs(bench.database, bench.drivers)
    assert bench.drivers.known() == []


# -- configuration updates ----------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"count": 3}, {"envs": {"A": "1"}}])
async def test_other_instances_go_on_with_the_run(bench: Bench, change: dict[str, object]) -> None:
    service_id, task_id = await running(bench, job(count=2))
    before = set(bench.runtime.alive())
    await bench.update(service_id, config=[job(**{"count": 2, **change})])  # type: ignore[arg-type]
    for _ in range(20):
        await reconcile(bench.parts, service_id)
        bench.clock.pass_ms(200)
        assert working(bench, task_id), "the run always has instances"
        assert await status(bench, service_id) in ("running", "concerning")
    assert working(bench, task_id) == set(bench.runtime.alive())
    assert len(bench.runtime.alive()) == (3 if "count" in change else 2)
    assert ("count" in change) == bool(before & set(bench.runtime.alive()))
    [run] = await runs_of(bench, service_id)
    assert (run.task_id, run.outcome) == (task_id, "")
    assert [log.result for log in await bench.logs(service_id)] == ["SUCCESS"]


async def test_instances_that_do_not_start_are_taken_back(bench: Bench) -> None:
    service_id, task_id = await running(bench)
    before = set(bench.runtime.alive())
    bench.runtime.broken[ROWS] = "KeyError: A"
    await bench.update(service_id, config=[job(envs={"A": ""})])
    await passes(bench, service_id, 12)
    assert set(bench.runtime.alive()) == before == working(bench, task_id)
    assert [log.result for log in await bench.logs(service_id)] == ["FAIL"]
    [run] = await runs_of(bench, service_id)
    assert run.outcome == ""


@pytest.mark.parametrize(
    "change",
    [
        {"model_id": OTHER},
        {"src_path": "obs://inbox/others/"},
        {"dest_path": "obs://outbox/elsewhere/"},
        {"mapping_rule": {"type": "object", "properties": {"x": {"type": "number", "index": 1}}}},
    ],
)
async def test_other_work_is_a_new_run(bench: Bench, change: dict[str, object]) -> None:
    service_id, task_id = await running(bench)
    bench.runtime.drains_at_once = False
    [former] = bench.runtime.alive()
    await bench.update(service_id, config=[job(**change)])  # type: ignore[arg-type]
    assert await status(bench, service_id) == "deploying"
    await passes(bench, service_id, 6)
    old, new = await runs_of(bench, service_id)
    assert (old.task_id, old.outcome, new.outcome) == (task_id, "replaced", "")
    assert bench.drivers.alive == {new.task_id}
    assert task_id not in bench.drivers.specs, "nothing of it is left half done"
    assert old.closed_at is not None
    assert (former in working(bench, new.task_id)) is ("model_id" not in change)
    assert [log.result for log in await bench.logs(service_id)] == ["SUCCESS"]


async def test_a_new_run_never_works_with_instances_of_the_old_one(bench: Bench) -> None:
    service_id, _ = await running(bench)
    bench.runtime.ready_at_once = bench.runtime.drains_at_once = False
    await bench.update(service_id, config=[job(OTHER)])
    await passes(bench, service_id, 4)
    new = await last_run(bench, service_id)
    assert not bench.drivers.endpoints.get(new.task_id)
    assert new.started_at is None


async def test_an_update_of_what_is_finished_is_a_new_run(bench: Bench) -> None:
    service_id, task_id = await running(bench)
    bench.drivers.finish(task_id)
    await bench.settle(service_id)
    await bench.update(service_id, config=[job(count=2)])
    await bench.settle(service_id, until="running")
    run = await last_run(bench, service_id)
    assert (run.task_id != task_id, run.revision) == (True, 2)
    bench.drivers.finish(run.task_id)
    await bench.settle(service_id)
    assert [log.result for log in await bench.logs(service_id)] == ["SUCCESS"]


async def test_an_update_of_what_is_stopped_waits_for_its_start(bench: Bench) -> None:
    service_id, _ = await running(bench)
    await bench.update(service_id, status="stopped")
    await bench.settle(service_id)
    await bench.update(service_id, config=[job(OTHER)])
    await bench.settle(service_id)
    assert len(await runs_of(bench, service_id)) == 1
    await bench.update(service_id, status="running")
    assert (await last_run(bench, service_id)).revision == 2


async def test_going_back_is_an_update_like_any_other(bench: Bench) -> None:
    service_id, first = await running(bench)
    await bench.update(service_id, config=[job(src_path="obs://inbox/others/")])
    await bench.settle(service_id, until="running")
    await bench.changes.change(AUTHOR, service_id, ChangeRequest(ChangeKind.ROLLBACK, 1))
    await bench.settle(service_id, until="running")
    runs = await runs_of(bench, service_id)
    assert [run.outcome for run in runs] == ["replaced", "replaced", ""]
    assert runs[0].task_id == first
    assert bench.drivers.specs[runs[2].task_id].source == "obs://inbox/people/"
    count = {"op": "replace", "path": "/config/0/instance_count", "value": 2}
    await bench.changes.change(AUTHOR, service_id, ChangeRequest(ChangeKind.PATCH, [count]))
    await passes(bench, service_id)
    assert len(await runs_of(bench, service_id)) == 3
    assert len(working(bench, runs[2].task_id)) == 2


async def test_its_count_is_no_property(bench: Bench) -> None:
    service_id, _ = await running(bench)
    configs = [{"model_id": ROWS, "changed_value": "2"}]
    body = {"changed_property": "instance_count", "configs": configs}
    with pytest.raises(InvalidRequest) as refused:
        await bench.changes.change(AUTHOR, service_id, ChangeRequest(ChangeKind.PROPERTY, body))
    assert refused.value.code == "3518"


# -- losses -------------------------------------------------------------------------------------


async def test_a_lost_driver_is_started_again_and_later_each_time(bench: Bench) -> None:
    service_id, task_id = await running(bench)
    starts: list[int] = []
    for _ in range(4):
        bench.drivers.lose(task_id)
        while task_id not in bench.drivers.alive:
            at = await reconcile(bench.parts, service_id)
            assert at is not None
            if task_id not in bench.drivers.alive:
                bench.clock.now = max(bench.clock.now + 1, at)
        starts.append(bench.clock.now)
        bench.clock.pass_ms(100)
        await reconcile(bench.parts, service_id)
    gaps = [after - before for before, after in pairwise(starts)]
    for gap, longest in zip(gaps, (1_000, 2_000, 4_000), strict=True):
        assert longest / 2 <= gap - 100 <= longest + 100  # shortened by jitter
    assert await status(bench, service_id) == "running"
    lost = [text for text in await bench.events(service_id) if "was lost" in text]
    assert len(lost) == 4


async def test_a_driver_that_is_lost_again_and_again_fails_the_run(bench: Bench) -> None:
    service_id, task_id = await running(bench)
    for _ in range(LOSSES_AT_MOST):
        bench.drivers.lose(task_id)
        for _ in range(100):
            await reconcile(bench.parts, service_id)
            bench.clock.pass_ms(500)
            if task_id in bench.drivers.alive or (await status(bench, service_id)) == "failed":
                break
        await reconcile(bench.parts, service_id)
    await bench.settle(service_id)
    service, run = await bench.service(service_id), await last_run(bench, service_id)
    assert (service.status, run.outcome) == ("failed", "failed")
    assert "times in a row" in service.error_msg
    assert bench.runtime.alive() == []


async def test_a_driver_that_cannot_be_made_is_tried_again(bench: Bench) -> None:
    bench.drivers.refusals = 2
    service_id = await create(bench)
    await passes(bench, service_id)
    run = await last_run(bench, service_id)
    assert bench.drivers.alive == {run.task_id}
    assert any("no more processes" in text for text in await bench.events(service_id))


async def test_instances_that_die_leave_and_their_successors_join(bench: Bench) -> None:
    service_id, task_id = await running(bench, job(count=2))
    [victim, other] = sorted(working(bench, task_id))
    bench.runtime.ready_at_once = False
    bench.runtime.kill(victim)
    await passes(bench, service_id, 2)
    assert working(bench, task_id) == {other}
    assert await status(bench, service_id) == "concerning"
    for instance_id in bench.runtime.alive():
        bench.runtime.phases[instance_id] = bench.runtime.phases[other]
    await passes(bench, service_id, 3)
    assert working(bench, task_id) == set(bench.runtime.alive())
    assert len(working(bench, task_id)) == 2
    assert await status(bench, service_id) == "running"


# -- failures tried again, and what is kept -----------------------------------------------------


async def retry(bench: Bench, service_id: str, body: object = None) -> None:
    await bench.changes.change(AUTHOR, service_id, ChangeRequest(ChangeKind.RETRY, body))


async def test_failures_are_tried_again_by_a_run_of_their_own(bench: Bench) -> None:
    service_id, task_id = await running(bench)
    with pytest.raises(StateForbids):
        await retry(bench, service_id)
    bench.drivers.finish(task_id, finished(100, 3))
    await bench.settle(service_id)
    await retry(bench, service_id)
    await bench.settle(service_id, until="running")
    run = await last_run(bench, service_id)
    assert run.retry_of == task_id
    assert bench.drivers.specs[run.task_id].retry_of == task_id
    await forget_runs(bench.database, bench.drivers, 0, bench.clock.now_ms())
    assert task_id in bench.drivers.specs, "the retry reads it"
    bench.drivers.finish(run.task_id, finished(100, 0))
    await bench.settle(service_id)
    with pytest.raises(InvalidRequest, match="has no failures"):
        await retry(bench, service_id)
    await retry(bench, service_id, {"task_id": task_id})


async def test_what_cannot_be_tried_again_is_refused(bench: Bench) -> None:
    service_id, task_id = await running(bench)
    with pytest.raises(NotFound):
        await retry(bench, service_id, {"task_id": "no such run"})
    with pytest.raises(InvalidRequest):
        await retry(bench, service_id, {"task": task_id})
    await bench.update(service_id, status="stopped")
    await bench.settle(service_id)
    with pytest.raises(InvalidRequest, match="was not finished"):
        await retry(bench, service_id)
    await bench.update(service_id, status="running")
    await bench.settle(service_id, until="running")
    done = await last_run(bench, service_id)
    bench.drivers.finish(done.task_id, finished(100, 1))
    await bench.settle(service_id)
    await forget_runs(bench.database, bench.drivers, DAY_MS, bench.clock.now_ms() + 2 * DAY_MS)
    assert bench.drivers.known() == []
    with pytest.raises(InvalidRequest, match="ended too long ago"):
        await retry(bench, service_id)


async def test_a_retry_reads_what_the_run_has_read(bench: Bench) -> None:
    service_id, task_id = await running(bench)
    bench.drivers.finish(task_id, finished(100, 1))
    await bench.settle(service_id)
    await bench.update(service_id, config=[job(src_path="obs://inbox/others/")])
    await bench.settle(service_id, until="running")
    bench.drivers.finish((await last_run(bench, service_id)).task_id, finished())
    await bench.settle(service_id)
    with pytest.raises(InvalidRequest, match="another input"):
        await retry(bench, service_id, {"task_id": task_id})


async def test_old_runs_are_forgotten_but_for_the_last(bench: Bench) -> None:
    service_id, task_id = await running(bench)
    bench.drivers.finish(task_id, finished())
    await bench.settle(service_id)
    await bench.update(service_id, status="running")
    await bench.settle(service_id, until="running")
    bench.drivers.finish((await last_run(bench, service_id)).task_id, finished())
    await bench.settle(service_id)
    await forget_runs(bench.database, bench.drivers, DAY_MS, bench.clock.now_ms() + 40 * DAY_MS)
    [run] = await runs_of(bench, service_id)
    assert run.task_id != task_id
    assert bench.drivers.known() == []
