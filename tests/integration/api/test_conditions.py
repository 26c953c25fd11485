"""ETag, If-Match and Idempotency-Key; many callers at once (quality.md R10)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bench_api import OTHER_PROJECT, OTHER_USER, Api, service_api
from sqlalchemy import func, select

from loop_support import M1, M2, version
from modelyard.control.changes.idempotency import MEMORY_MS
from modelyard.control.maintenance.retention import forget
from modelyard.store.tables.service import IdempotentCall, Revision, Service, UpdateLog

BODY = {"service_name": "svc", "infer_type": "real-time", "config": [version(M1, 100)]}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with service_api(tmp_path) as made:
        yield made


def weights(first: int) -> dict[str, Any]:
    return {"config": [version(M1, first), version(M2, 100 - first)]}


async def test_every_accepted_change_has_an_etag_of_its_own(api: Api) -> None:
    created = await api.call("POST", "", BODY)
    path = f"/{created.json()['service_id']}"
    seen = [created.headers["ETag"]]
    await api.bench.settle(path[1:])

    async def change(method: str, tail: str, body: object) -> None:
        answer = await api.call(method, path + tail, body, If_Match=seen[-1])
        assert answer.status_code in (200, 204), answer.text
        present = (await api.call("GET", path)).headers["ETag"]
        assert answer.headers.get("ETag", present) == present
        seen.append(present)

    count = {"model_id": M1, "changed_value": "2"}
    replaced = {"op": "replace", "path": "/config/0/weight", "value": 100}
    await change("PUT", "", {"description": "d"})
    await change("PUT", "", weights(50))
    await change("PUT", "", {"load_balancer_policy": "SOURCE_IP"})
    await api.bench.settle(path[1:])
    await change("PUT", "/property", {"changed_property": "instance_count", "configs": [count]})
    await change("POST", "/revisions/1/rollback", None)
    await api.bench.settle(path[1:])
    await change("PATCH", "", [replaced])
    await change("POST", "/tags/create", {"tags": [{"key": "k"}]})
    await change("PUT", "", {"status": "stopped"})
    assert len(set(seen)) == len(seen)
    same = await api.call("PUT", path, {})
    assert (same.json(), same.headers["ETag"]) == ({}, seen[-1])


async def test_who_was_overtaken_is_told(api: Api) -> None:
    service_id = await api.bench.create(version(M1, 100))
    await api.bench.settle(service_id)
    path = f"/{service_id}"
    stale = (await api.call("GET", path)).headers["ETag"]
    fresh = (await api.call("PUT", path, weights(10))).headers["ETag"]
    count = {"model_id": M1, "changed_value": "2"}
    calls: list[tuple[str, str, object]] = [
        ("PUT", path, weights(20)),
        ("PUT", path, {"description": "late"}),
        ("PATCH", path, [{"op": "replace", "path": "/config/0/envs", "value": {}}]),
        (
            "PUT",
            f"{path}/property",
            {"changed_property": "instance_count", "configs": [count]},
        ),
        ("POST", f"{path}/revisions/1/rollback", None),
        ("DELETE", path, None),
    ]
    await api.bench.settle(service_id)
    before = await api.bench.service(service_id)
    for method, where, body in calls:
        for header in (stale, f"W/{fresh}", '"x", "y"'):
            answer = await api.call(method, where, body, If_Match=header)
            assert answer.status_code == 412, (method, header, answer.text)
            assert answer.json()["error_code"] == "ModelArts.3519"
            assert "changed meanwhile" in answer.json()["error_msg"]
        for header in ("7", '"7', "", '"a" "b"'):
            answer = await api.call(method, where, body, If_Match=header)
            assert (answer.status_code, "If-Match" in answer.json()["error_msg"]) == (400, True)
    after = await api.bench.service(service_id)
    assert (after.generation, after.description, after.desired_revision) == (
        before.generation,
        before.description,
        before.desired_revision,
    )
    several = f'"0", {fresh}'
    assert (await api.call("PUT", path, weights(20), If_Match=several)).status_code == 200
    assert (await api.call("PUT", path, weights(30), If_Match="*")).status_code == 200
    assert (await api.call("DELETE", path, If_Match="*")).status_code == 200


async def test_a_repeated_call_gets_its_first_answer(api: Api) -> None:
    first = await api.call("POST", "", BODY, Idempotency_Key="create")
    again = await api.call("POST", "", BODY, Idempotency_Key="create")
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["ETag"] == first.headers["ETag"]
    assert ("Idempotent-Replayed" in first.headers, again.headers["Idempotent-Replayed"]) == (
        False,
        "true",
    )
    service_id = first.json()["service_id"]
    path = f"/{service_id}"
    await api.bench.settle(service_id)
    stale = (await api.call("GET", path)).headers["ETag"]
    patch = [{"op": "replace", "path": "/config/0/instance_count", "value": 3}]
    count = {"model_id": M1, "changed_value": "2"}
    calls: list[tuple[str, str, object]] = [
        ("PUT", path, weights(50)),
        ("PUT", path, {"description": "d"}),
        ("PUT", f"{path}/property", {"changed_property": "instance_count", "configs": [count]}),
        ("PATCH", path, patch),
        ("POST", f"{path}/revisions/1/rollback", None),
        ("DELETE", path, None),
    ]
    for number, (method, where, body) in enumerate(calls):
        key = f"key {number}"
        one = await api.call(method, where, body, Idempotency_Key=key)
        assert one.status_code == 200, one.text
        await api.bench.settle(service_id)
        # The first call changed the service, and yet the second is answered and does nothing.
        two = await api.call(method, where, body, Idempotency_Key=key, If_Match=stale)
        assert (two.status_code, two.json()) == (200, one.json())
    async with api.bench.database.read() as session:
        assert await session.get(Service, service_id) is None


async def test_a_key_names_one_call(api: Api) -> None:
    path = f"/{(await api.call('POST', '', BODY, Idempotency_Key='k')).json()['service_id']}"
    reordered = dict(reversed(BODY.items()))
    assert (await api.call("POST", "", reordered, Idempotency_Key="k")).status_code == 200
    for method, where, body in (
        ("POST", "", {**BODY, "description": "other"}),
        ("PUT", path, BODY),
        ("DELETE", path, None),
    ):
        answer = await api.call(method, where, body, Idempotency_Key="k")
        assert answer.status_code == 422, answer.text
        assert "Idempotency-Key" in answer.json()["error_msg"]
    for key in ("", "k" * 256, "a\tb"):
        answer = await api.call("POST", "", BODY, Idempotency_Key=key)
        assert (answer.status_code, "Idempotency-Key" in answer.text) == (400, True)
    # Another user's and another project's keys are others.
    named = {**BODY, "service_name": "second"}
    other = await api.call("POST", "", named, user=OTHER_USER, Idempotency_Key="k")
    assert other.status_code == 200, other.text
    away = await api.call("POST", "", BODY, project=OTHER_PROJECT, Idempotency_Key="k")
    assert away.status_code == 404, away.text  # It has no such model; the key is free again.


async def test_what_is_refused_keeps_no_key_and_a_day_frees_it(api: Api) -> None:
    refused = await api.call("POST", "", {**BODY, "service_name": "!"}, Idempotency_Key="k")
    assert refused.status_code == 400
    assert (await api.call("POST", "", BODY, Idempotency_Key="k")).status_code == 200
    api.bench.clock.pass_ms(MEMORY_MS - 1)
    await forget(api.bench.database, api.bench.clock.now_ms())
    assert (await api.call("POST", "", BODY, Idempotency_Key="k")).status_code == 200
    api.bench.clock.pass_ms(1)
    taken = await api.call("POST", "", BODY, Idempotency_Key="k")
    assert (taken.status_code, taken.json()["error_code"]) == (409, "ModelArts.3503")
    await forget(api.bench.database, api.bench.clock.now_ms())
    async with api.bench.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(IdempotentCall)) == 0


async def test_of_equal_calls_at_the_same_time_one_is_carried_out(api: Api) -> None:
    def create() -> Any:
        return api.call("POST", "", BODY, Idempotency_Key="same")

    answers = await asyncio.gather(*(create() for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    [service_id] = {answer.json()["service_id"] for answer in answers}
    await api.bench.settle(service_id)

    def put() -> Any:
        return api.call("PUT", f"/{service_id}", weights(50), Idempotency_Key="put")

    answers = await asyncio.gather(*(put() for _ in range(20)))
    assert len({answer.text for answer in answers}) == 1
    replayed = Counter("Idempotent-Replayed" in answer.headers for answer in answers)
    assert replayed == {True: 19, False: 1}
    async with api.bench.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(Service)) == 1
        assert await session.scalar(select(func.count()).select_from(Revision)) == 2


async def test_of_many_callers_with_one_etag_one_wins(api: Api) -> None:
    service_id = await api.bench.create(version(M1, 100))
    await api.bench.settle(service_id)
    tag = (await api.call("GET", f"/{service_id}")).headers["ETag"]
    answers = await asyncio.gather(
        *(api.call("PUT", f"/{service_id}", weights(n), If_Match=tag) for n in range(20))
    )
    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 19}


async def test_fifty_updates_of_one_service_at_once(api: Api) -> None:
    service_id = await api.bench.create(version(M1, 100))
    await api.bench.settle(service_id)
    answers = await asyncio.gather(
        *(api.call("PUT", f"/{service_id}", weights(n)) for n in range(50))
    )
    assert [answer.status_code for answer in answers] == [200] * 50, answers[0].text
    assert len({answer.json()["update_time"] for answer in answers}) == 50
    await api.bench.settle(service_id)
    service = await api.bench.service(service_id)
    assert (service.desired_revision, service.live_revision) == (51, 51)
    async with api.bench.database.read() as session:
        numbers = list(await session.scalars(select(Revision.number).order_by(Revision.number)))
    assert numbers == list(range(1, 52))
    logs = await api.bench.logs(service_id)
    assert [log.revision for log in logs] == list(range(2, 52))
    assert [log.result for log in logs] == ["FAIL"] * 49 + ["SUCCESS"]
    assert all(log.closed_at for log in logs)


async def test_updates_of_fifty_services_at_once(api: Api) -> None:
    ids = [await api.bench.create(version(M1, 100), service_name=f"s{n}") for n in range(50)]
    await asyncio.gather(*(api.bench.settle(service_id) for service_id in ids))
    answers = await asyncio.gather(
        *(api.call("PUT", f"/{service_id}", weights(50)) for service_id in ids),
        *(api.call("GET", f"/{service_id}") for service_id in ids),
    )
    assert {answer.status_code for answer in answers} == {200}
    await asyncio.gather(*(api.bench.settle(service_id) for service_id in ids))
    async with api.bench.database.read() as session:
        results = list(await session.scalars(select(UpdateLog.result)))
        live = list(await session.scalars(select(Service.live_revision)))
    assert (results, live) == (["SUCCESS"] * 50, [2] * 50)


@pytest.mark.parametrize(
    ("method", "query"),
    [("PUT", "dryrun=true"), ("PATCH", "plan=x"), ("DELETE", "dry_run=true")],
)
async def test_a_mistyped_query_changes_nothing(api: Api, method: str, query: str) -> None:
    created = await api.call("POST", "", BODY)
    path = f"/{created.json()['service_id']}"
    answer = await api.call(method, f"{path}?{query}", {"description": "d"})
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error_msg"]
    assert (await api.call("GET", path)).headers["ETag"] == created.headers["ETag"]
