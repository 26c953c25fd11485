"""The table of services.md §7 in force: each action asked in each status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from loop_support import AUTHOR, M1, Bench, changed, loop_bench, version
from modelyard.control.changes.admission import ChangeKind, ChangeRequest
from modelyard.control.changes.service_changes import ServiceChanges
from modelyard.control.reconciler.reconcile import reconcile
from modelyard.domain.rollout.state import DesiredStatus
from modelyard.domain.service.lifecycle import Action, Status, Verdict, follows, may
from modelyard.errors import StateForbids
from modelyard.steps import Step
from modelyard.store.tables.service import Event, Revision, Service, ServiceTag, UpdateLog

COUNT = {"model_id": M1, "changed_value": "2"}
REPLACED = {"op": "replace", "path": "/config/0/instance_count", "value": 2}
UPDATES: dict[Action, list[ChangeRequest]] = {
    Action.START: [ChangeRequest(ChangeKind.UPDATE, {"status": "running"})],
    Action.STOP: [ChangeRequest(ChangeKind.UPDATE, {"status": "stopped"})],
    Action.CONFIGURE: [
        ChangeRequest(ChangeKind.UPDATE, {"config": [version(M1, 100, 2)]}),
        ChangeRequest(ChangeKind.UPDATE, {"load_balancer_policy": "SOURCE_IP"}),
        ChangeRequest(ChangeKind.PATCH, [REPLACED]),
        ChangeRequest(ChangeKind.ROLLBACK, 1),
    ],
    Action.DESCRIBE: [
        ChangeRequest(ChangeKind.UPDATE, {"description": "x"}),
        ChangeRequest(ChangeKind.UPDATE, {"schedule": []}),
        ChangeRequest(ChangeKind.UPDATE, {"additional_properties": {"a": "b"}}),
    ],
    Action.PROPERTY: [
        ChangeRequest(
            ChangeKind.PROPERTY, {"changed_property": "instance_count", "configs": [COUNT]}
        )
    ],
}
WANTED = {
    Status.STOPPED: DesiredStatus.STOPPED,
    Status.STOPPING: DesiredStatus.STOPPED,
    Status.DELETING: DesiredStatus.DELETED,
}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with loop_bench(tmp_path) as made:
        yield made


async def _put_in(bench: Bench, service_id: str, status: Status) -> None:
    async with bench.database.write(Step.TEST) as session:
        wanted = WANTED.get(status, DesiredStatus.RUNNING).value
        await session.execute(
            update(Service).where(Service.id == service_id).values(status=status, wanted=wanted)
        )


async def _everything(bench: Bench, service_id: str) -> list[Any]:
    columns = [(Service, Service.id)]
    columns += [(table, table.service_id) for table in (Revision, UpdateLog, Event, ServiceTag)]
    async with bench.database.read() as session:
        return [
            [
                tuple(row)
                for row in await session.execute(
                    select(*table.__table__.columns).where(column == service_id)
                )
            ]
            for table, column in columns
        ]


async def _ask(
    changes: ServiceChanges, service_id: str, action: Action, asked: ChangeRequest | None
) -> None:
    if action is Action.DELETE:
        await changes.delete(AUTHOR, [service_id])
    elif asked is None:
        await changes.change_tags(AUTHOR, service_id, {"key": "value"})
    else:
        await changes.change(AUTHOR, service_id, asked)


async def test_each_action_is_allowed_or_refused_as_the_table_says(bench: Bench) -> None:
    for status, action in product(Status, Action):
        asked: list[ChangeRequest | None] = [*UPDATES.get(action, [])]
        if action is Action.DESCRIBE or action is Action.DELETE:
            asked.append(None)
        for index, one in enumerate(asked):
            name = f"{status}-{action.name}-{index}"
            service_id = await bench.create(version(M1, 100), service_name=name)
            await _put_in(bench, service_id, status)
            before = await _everything(bench, service_id)
            if may(status, action) is Verdict.FORBIDDEN:
                with pytest.raises(StateForbids) as refused:
                    await _ask(bench.changes, service_id, action, one)
                assert (refused.value.status, refused.value.code) == (400, "3519")
                assert status.value in refused.value.message
                assert await _everything(bench, service_id) == before, name
                continue
            await _ask(bench.changes, service_id, action, one)
            after = await _everything(bench, service_id)
            assert (after == before) is (may(status, action) is Verdict.SAME), name
            assert follows(status, Status((await bench.service(service_id)).status)), name


async def test_strictly_the_same_status_is_refused(bench: Bench) -> None:
    strict = changed(bench.changes.settings, strict_same_status=True)
    changes = ServiceChanges(strict, bench.database, bench.clock)
    for status, wanted in ((Status.RUNNING, "running"), (Status.STOPPED, "stopped")):
        service_id = await bench.create(version(M1, 100), service_name=wanted)
        await _put_in(bench, service_id, status)
        with pytest.raises(StateForbids):
            await changes.update(AUTHOR, service_id, {"status": wanted})


async def test_what_the_loop_makes_of_a_service_follows_the_table(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100, 2))
    seen = [Status.DEPLOYING]

    async def watch(passes: int) -> None:
        for _ in range(passes):
            await reconcile(bench.parts, service_id)
            bench.clock.pass_ms(500)
            seen.append(Status((await bench.service(service_id)).status))

    await watch(10)
    for instance_id in bench.runtime.alive():
        bench.runtime.kill(instance_id)
    await watch(20)
    await bench.update(service_id, status="stopped")
    seen.append(Status.STOPPING)
    await watch(10)
    for before, after in pairwise(seen):
        assert follows(before, after), (before, after)
    assert {Status.RUNNING, Status.CONCERNING, Status.STOPPED} <= set(seen)
