"""Revisions, going back, what served when, which instance answered (ours)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bench_api import Api, service_api
from sqlalchemy import update

from loop_support import AUTHOR, M1, M2, version
from modelyard.control.changes.admission import ChangeKind, ChangeRequest
from modelyard.domain.canary.request_counts import RequestRecord
from modelyard.steps import Step
from modelyard.store.tables.model import Model
from modelyard.store.tables.service import ServingPeriod, UpdateLog

GUARD = {"steps": [10, 50], "hold_seconds": 5, "keep_former_minutes": 10}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with service_api(tmp_path) as made:
        yield made


@pytest.fixture
async def service_id(api: Api) -> str:
    created = await api.bench.create(version(M1, 100, 2, deploy_timeout_in_seconds=300))
    await api.bench.settle(created)
    await api.bench.update(created, config=[version(M1, 60), version(M2, 40)])
    await api.bench.settle(created)
    await api.bench.update(created, config=[version(M2, 100)], load_balancer_policy="SOURCE_IP")
    await api.bench.settle(created)
    return created


async def get(api: Api, path: str, status: int = 200) -> dict[str, Any]:
    answer = await api.call("GET", path)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def test_revisions_are_listed_newest_first(api: Api, service_id: str) -> None:
    listed = await get(api, f"/{service_id}/revisions")
    assert (listed["total_count"], listed["count"]) == (3, 3)
    newest, middle, first = listed["revisions"]
    assert [r["number"] for r in (newest, middle, first)] == [3, 2, 1]
    assert (newest["result"], newest["load_balancer_policy"]) == ("SUCCESS", "SOURCE_IP")
    assert (newest["created_by"], newest["update_time"]) == (AUTHOR.user_id, newest["created_at"])
    assert ("result" in first, first["config"][0]["model_version"]) == (False, "0.0.1")
    page = await get(api, f"/{service_id}/revisions?offset=1&limit=1")
    assert ([r["number"] for r in page["revisions"]], page["total_count"]) == ([2], 3)
    assert (await get(api, f"/{service_id}/revisions/3"))["config"] == newest["config"]
    for number in ("4", "0", "-1", "x", "1e3", "9" * 30):
        await get(api, f"/{service_id}/revisions/{number}", 404)


async def test_revisions_are_compared(api: Api, service_id: str) -> None:
    compared = await get(api, f"/{service_id}/revisions/compare?from=1&to=3")
    assert (compared["from"], compared["to"]) == (1, 3)
    by_field = {change["field"]: change for change in compared["changes"]}
    assert by_field["load_balancer_policy"]["before"] == "ROUND_ROBIN"
    assert by_field["load_balancer_policy"]["effect"] == "nothing restarts"
    same = await get(api, f"/{service_id}/revisions/compare?from=2&to=2")
    assert same["changes"] == []
    await get(api, f"/{service_id}/revisions/compare?from=1", 400)
    await get(api, f"/{service_id}/revisions/compare?from=1&to=9", 404)


async def test_a_rollback_is_a_new_revision_equal_to_the_old_one(api: Api, service_id: str) -> None:
    properties = {"rollout": GUARD}
    await api.call("PUT", f"/{service_id}", {"additional_properties": properties})
    answer = await api.call("POST", f"/{service_id}/revisions/1/rollback")
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"update_time", "resource_ids"}
    await api.bench.settle(service_id)
    old = await get(api, f"/{service_id}/revisions/1")
    new = await get(api, f"/{service_id}/revisions/4")
    assert (new["config"], new["load_balancer_policy"]) == (old["config"], "ROUND_ROBIN")
    assert (new["origin"], new["result"]) == (1, "SUCCESS")
    compared = await get(api, f"/{service_id}/revisions/compare?from=1&to=4")
    assert [c["field"] for c in compared["changes"]] == ["rollout.keep_former_seconds"]
    # It has served before: no steps; but the former one is kept as the service wants it.
    assert new["rollout"] == {"keep_former_seconds": 600}
    assert "updating service, back to revision 1" in await api.bench.events(service_id)
    assert len(api.bench.runtime.alive(M1)) == 2


async def test_what_never_was_reached_comes_back_guarded(api: Api, service_id: str) -> None:
    async with api.bench.database.write(Step.TEST) as session:
        failed = UpdateLog.revision == 2
        await session.execute(update(UpdateLog).where(failed).values(result="FAIL"))
    await api.call("PUT", f"/{service_id}", {"additional_properties": {"rollout": GUARD}})
    await api.call("POST", f"/{service_id}/revisions/2/rollback")
    assert (await get(api, f"/{service_id}/revisions/4"))["rollout"]["guard"]["steps"] == [10, 50]


async def test_a_rollback_is_judged_like_an_update(api: Api, service_id: str) -> None:
    assert (await api.call("POST", f"/{service_id}/revisions/9/rollback")).status_code == 404
    body = await api.call("POST", f"/{service_id}/revisions/1/rollback", {"config": []})
    assert body.status_code == 400
    async with api.bench.database.write(Step.TEST) as session:
        await session.execute(update(Model).where(Model.id == M1).values(status="failed"))
    refused = await api.call("POST", f"/{service_id}/revisions/1/rollback")
    assert (refused.status_code, refused.json()["error_code"]) == (400, "ModelArts.3515")
    assert refused.json()["problems"][0]["field"] == "revision[1].config[0].model_id"
    async with api.bench.database.write(Step.TEST) as session:
        await session.delete(await session.get_one(Model, M1))
    refused = await api.call("POST", f"/{service_id}/revisions/1/rollback")
    assert (refused.status_code, refused.json()["error_code"]) == (400, "ModelArts.3529")
    assert (await api.bench.service(service_id)).desired_revision == 3


async def test_the_rollout_is_remembered_for_the_next_revisions(api: Api, service_id: str) -> None:
    async def rollout(number: int) -> Any:
        return (await get(api, f"/{service_id}/revisions/{number}"))["rollout"]

    path = f"/{service_id}"
    await api.call("PUT", path, {"additional_properties": {"rollout": GUARD, "team": "a"}})
    assert (await api.bench.service(service_id)).desired_revision == 3
    await api.call("PUT", path, {"config": [version(M2, 100, 2)]})
    await api.call("PUT", path, {"load_balancer_policy": "ROUND_ROBIN"})
    assert (await rollout(4))["guard"]["hold_seconds"] == 5
    assert (await rollout(5))["guard"]["steps"] == [10, 50]
    both = {"additional_properties": {"team": "a"}, "config": [version(M2, 100)]}
    await api.call("PUT", path, both)
    assert await rollout(6) == {"keep_former_seconds": 0}


async def test_what_served_at(api: Api, service_id: str) -> None:
    async with api.bench.database.write(Step.TEST) as session:
        for since, revision in ((1_000, 1), (2_000, 2), (3_000, None)):
            period = ServingPeriod(service_id=service_id, since=since, revision=revision)
            await session.merge(period)

    async def served(at: object) -> tuple[Any, ...]:
        found = await get(api, f"/{service_id}/served?at={at}")
        return found["revision"], found["since"], found["until"], len(found["config"])

    assert await served(999) == (None, None, None, 0)
    assert await served(1_000) == (1, 1_000, 2_000, 1)
    assert await served("1970-01-01T00:00:02.5Z") == (2, 2_000, 3_000, 2)
    assert await served("1970-01-01T01:00:01%2B01:00") == (1, 1_000, 2_000, 1)
    assert (await served("1970-01-01T01:00:01+01:00"))[0] == 1
    assert (await served(3_500))[:2] == (None, 3_000)
    now = api.bench.clock.now_ms()
    later = datetime.fromtimestamp(now / 1000 + 60, UTC).isoformat().replace("+00:00", "Z")
    for bad in ("", "noon", now + 1, later, "1e3", "9" * 20, "0001-01-01T00:00:00"):
        answer = await api.call("GET", f"/{service_id}/served?at={bad}")
        assert (answer.status_code, answer.json()["error_msg"][:3]) == (400, "at:"), bad


async def test_a_request_leads_back_to_instance_and_revision(api: Api, service_id: str) -> None:
    record = RequestRecord(
        at=5, duration_ms=1.5, status=200, flags=(), request_id="r-1", service_id=service_id,
        model_id=M2, variant="", revision=3, instance_id="i-1", attempts=1,
    )  # fmt: skip
    api.requests.records["r-1"] = record
    found = await get(api, f"/{service_id}/requests/r-1")
    assert (found["instance_id"], found["revision"], found["model_version"]) == ("i-1", 3, "0.0.2")
    await get(api, f"/{service_id}/requests/r-2", 404)
    other = await api.bench.create(version(M1, 100), service_name="other")
    await get(api, f"/{other}/requests/r-1", 404)


async def test_what_was_only_stored_comes_back_under_its_guard(api: Api) -> None:
    bench = api.bench
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    await bench.update(service_id, status="stopped")
    await bench.settle(service_id)
    await bench.update(service_id, config=[version(M2, 100)])
    properties = {"rollout": {"steps": [10], "hold_seconds": 5}}
    await bench.update(service_id, config=[version(M1, 100)], additional_properties=properties)
    await bench.update(service_id, status="running")
    await bench.settle(service_id)
    for number, guarded in ((2, True), (1, False)):
        async with bench.database.read() as session:
            asked = ChangeRequest(ChangeKind.ROLLBACK, number)
            judged = await bench.changes.admit(session, AUTHOR, service_id, asked, lock=False)
        assert judged.new is not None
        assert (judged.new.rollout.guard is not None) is guarded
