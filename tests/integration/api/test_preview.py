"""What a preview says is what then happens; and asking changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from bench_api import Api, service_api
from sqlalchemy import select

from loop_support import AUTHOR, M1, M2, Bench, loop_bench, version
from modelyard.control.changes.admission import ChangeKind, ChangeRequest
from modelyard.control.changes.service_changes import ServiceChanges
from modelyard.control.reconciler.reconcile import reconcile
from modelyard.domain.rollout.instance import Phase
from modelyard.domain.rollout.state import Stage
from modelyard.domain.service.traffic import ServiceTraffic
from modelyard.errors import InvalidRequest
from modelyard.store.tables.base import Table
from modelyard.store.tables.service import Instance

Json = dict[str, Any]
Prepare = Callable[[Bench, str], Awaitable[None]]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with loop_bench(tmp_path, probation=0.5) as made:
        yield made


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with service_api(tmp_path) as made:
        yield made


def rollout(**members: Any) -> Json:
    return {"additional_properties": {"rollout": members}}


async def preview(bench: Bench, service_id: str, **body: Any) -> Json:
    return await bench.changes.preview(AUTHOR, service_id, ChangeRequest(ChangeKind.UPDATE, body))


async def everything(bench: Bench) -> dict[str, list[Any]]:
    """All rows of all tables."""
    async with bench.database.read() as session:
        return {
            table.name: [tuple(row) for row in await session.execute(select(table))]
            for table in Table.metadata.sorted_tables
        }


async def nothing(_bench: Bench, _service_id: str) -> None: ...


async def two_versions(bench: Bench, service_id: str) -> None:
    await bench.update(service_id, config=[version(M1, 60, 2), version(M2, 40)])
    await bench.settle(service_id)


async def kept_former(bench: Bench, service_id: str) -> None:
    keep = rollout(keep_former_minutes=10)
    await bench.update(service_id, config=[version(M2, 100, 3)], **keep)
    await bench.settle(service_id)


async def stopped(bench: Bench, service_id: str) -> None:
    await bench.update(service_id, status="stopped")
    await bench.settle(service_id)


async def under_way(bench: Bench, service_id: str) -> None:
    bench.runtime.ready_at_once = False
    await bench.update(service_id, config=[version(M2, 100, 3)])
    await reconcile(bench.parts, service_id)
    bench.runtime.ready_at_once = True
    bench.clock.pass_ms(50)


async def one_lost(bench: Bench, service_id: str) -> None:
    bench.runtime.kill(bench.runtime.alive()[0])
    await reconcile(bench.parts, service_id)
    bench.clock.pass_ms(50)


ENVS = {"envs": {"A": "1"}}
KEEP = rollout(keep_former_minutes=1)
GUARD = rollout(steps=[10, 50], hold_seconds=3)
CASES: dict[str, tuple[Prepare, Json]] = {
    "more instances": (nothing, {"config": [version(M1, 100, 5)]}),
    "fewer instances": (nothing, {"config": [version(M1, 100, 1)]}),
    "weights only": (two_versions, {"config": [version(M1, 10, 2), version(M2, 90)]}),
    "policy only": (nothing, {"load_balancer_policy": "SOURCE_IP"}),
    "nothing": (nothing, {"config": [version(M1, 100, 3)]}),
    "other model": (nothing, {"config": [version(M2, 100, 3)]}),
    "other model and fewer": (nothing, {"config": [version(M2, 100, 1)]}),
    "other envs by more surge": (
        nothing,
        {"config": [version(M1, 100, 3, **ENVS, additional_properties={"max_surge": 2})]},
    ),
    "second version": (nothing, {"config": [version(M1, 80, 3), version(M2, 20, 2)]}),
    "one version less": (two_versions, {"config": [version(M2, 100)]}),
    "swap of both": (two_versions, {"config": [version(M2, 60, 2, **ENVS), version(M1, 40)]}),
    "keep the former": (nothing, {"config": [version(M2, 100, 3)], **KEEP}),
    "back to the kept": (kept_former, {"config": [version(M1, 100, 3)]}),
    "keep another": (kept_former, {"config": [version(M2, 100, 3, **ENVS)], **KEEP}),
    "guarded": (nothing, {"config": [version(M2, 100, 3)], **GUARD}),
    "guarded count": (nothing, {"config": [version(M1, 100, 4)], **GUARD}),
    "stop": (nothing, {"status": "stopped"}),
    "start": (stopped, {"status": "running"}),
    "stored": (stopped, {"config": [version(M2, 100)]}),
    "superseding": (under_way, {"config": [version(M1, 100, 3, **ENVS)]}),
    "back from under way": (under_way, {"config": [version(M1, 100, 3)]}),
    "description under way": (one_lost, {"description": "new"}),
    "one is missing": (one_lost, {"config": [version(M1, 100, 3, **ENVS)]}),
}


def planned_splits(document: Json) -> list[Counter[tuple[str, int, int]]]:
    """Weights and instances of each split, without repetitions."""
    found: list[Counter[tuple[str, int, int]]] = []
    for step in document["traffic"]:
        parts = [(v["model_id"], v["weight"], v["instances"]) for v in step["versions"]]
        _append(found, Counter(part for part in parts if part[1]))
    return found


def seen_splits(history: list[ServiceTraffic]) -> list[Counter[tuple[str, int, int]]]:
    found: list[Counter[tuple[str, int, int]]] = []
    for traffic in history:
        parts = [(v.model_id, v.weight, len(v.endpoints)) for v in traffic.versions]
        _append(found, Counter(part for part in parts if part[1]))
    return found


def _append(found: list[Counter[tuple[str, int, int]]], split: Counter[Any]) -> None:
    if not found or found[-1] != split:
        found.append(split)


def of(document: Json, *actions: str) -> list[Json]:
    return [act for act in document["instances"] if act["action"] in actions]


@pytest.mark.parametrize("name", CASES)
async def test_what_is_said_is_what_happens(bench: Bench, name: str) -> None:
    prepare, body = CASES[name]
    service_id = await bench.create(version(M1, 100, 3))
    await bench.settle(service_id)
    await prepare(bench, service_id)
    for model_id in (M1, M2):
        bench.requests.count(service_id, model_id, 1_000)

    rows = await everything(bench)
    said = await preview(bench, service_id, **body)
    assert await everything(bench) == rows

    before, draining = set(bench.runtime.alive()), await drained(bench)
    first = len(bench.gateway.history) - 1
    await bench.update(service_id, **body)
    await bench.settle(service_id, passes=200)
    kept_until = (await bench.service(service_id)).kept_until
    if kept_until is not None:
        bench.clock.now = max(bench.clock.now, kept_until)
        await bench.settle(service_id)
    async with bench.database.read() as session:
        instances = {i.id: i for i in await session.scalars(select(Instance))}
    started = Counter(i.model_id for i in instances.values() if i.id not in before | draining)
    gone = {i.id for i in instances.values() if i.stage == Stage.DRAINING.value} - draining
    assert Counter(act["model_id"] for act in of(said, "started")) == started
    left = of(said, "drained", "stopped")
    assert Counter(act["model_id"] for act in left) == Counter(instances[i].model_id for i in gone)
    assert {act["instance_id"] for act in left} & before == gone & before
    kept = {act["instance_id"] for act in of(said, "kept")}
    assert kept == before - gone
    assert planned_splits(said) == seen_splits(bench.gateway.history[first:]), name
    assert said["sentences"], name
    service = await bench.service(service_id)
    assert (said["revision"] or service.desired_revision) == service.desired_revision


async def drained(bench: Bench) -> set[str]:
    """Ids of the instances that leave or have left already."""
    async with bench.database.read() as session:
        rows = await session.scalars(select(Instance))
        return {i.id for i in rows if i.stage == Stage.DRAINING.value or i.ended_at}


async def test_the_warm_window_and_its_cost_are_told(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100, 2))
    await bench.settle(service_id)
    keep = rollout(keep_former_minutes=10)
    said = await preview(bench, service_id, config=[version(M2, 100, 2)], **keep)
    assert (
        "Going back within 10 minutes will be immediate; until then revision 1 costs 4 cores and "
        "16,384 MB." in said["sentences"]
    )
    [peak] = said["peak"]
    assert (peak["pool"], peak["free"]["cpu"]) == ("the shared pool", None)
    cores = [peak[key]["cpu"] for key in ("now", "during", "kept", "after")]
    assert cores == [4.0, 8.0, 4.0, 4.0]
    loaded = of(said, "kept loaded")
    assert [round(act["until_s"] - act["when_s"]) for act in loaded] == [600, 600]
    await bench.update(service_id, config=[version(M2, 100, 2)], **keep)
    await bench.settle(service_id)
    back = await preview(bench, service_id, config=[version(M1, 100, 2)])
    assert back["sentences"][0] == (
        "Nothing restarts: the 2 instances of [m 0.0.1] that stayed loaded take over at once."
    )
    assert back["expected_seconds"] == 0


async def test_times_come_from_history(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    first = await preview(bench, service_id, description="x")
    assert "is a guess" in first["expected_by"]
    bench.runtime.ready_at_once = False
    await reconcile(bench.parts, service_id)
    bench.clock.pass_ms(4_000)
    [instance_id] = bench.runtime.alive()
    bench.runtime.ready_at_once = True
    bench.runtime.phases[instance_id] = Phase.READY
    await bench.settle(service_id)
    more = await preview(bench, service_id, config=[version(M1, 100, 3)])
    assert more["expected_by"] == ("[m 0.0.1] took 4 s to start, the median of its last 1 starts.")
    assert more["expected_seconds"] == 4.0
    assert "Takes about 4 s." in more["sentences"]
    other = await preview(bench, service_id, config=[version(M2, 100)])
    assert "no start of [m 0.0.2] is on record" in other["expected_by"]


async def test_a_start_that_must_time_out_is_foretold(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    bench.runtime.ready_at_once = False
    await reconcile(bench.parts, service_id)
    bench.clock.pass_ms(400_000)
    bench.runtime.phases[bench.runtime.alive()[0]] = Phase.READY
    await bench.settle(service_id)
    late = version(M2, 100, deploy_timeout_in_seconds=300)
    said = await preview(bench, service_id, config=[late])
    assert said["expected_seconds"] is None
    assert "It would be rolled back: not ready within 300 s." in said["sentences"]
    assert of(said, "kept")


async def test_without_a_previewer_nothing_is_previewed(bench: Bench) -> None:
    service_id = await bench.create(version(M1, 100))
    bare = ServiceChanges(bench.parts.settings, bench.database, bench.clock)
    with pytest.raises(InvalidRequest, match="dry_run"):
        await bare.preview(
            AUTHOR, service_id, ChangeRequest(ChangeKind.UPDATE, {"description": "x"})
        )


# -- the token ----------------------------------------------------------------------------------


@pytest.fixture
async def service_id(api: Api) -> str:
    created = await api.bench.create(version(M1, 100, 2))
    await api.bench.settle(created)
    return created


async def plan_of(api: Api, method: str, path: str, body: object = None) -> Json:
    answer = await api.call(method, f"{path}?dry_run=true", body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


BODY = {"config": [version(M2, 100, 2)]}


async def test_a_plan_that_still_holds_goes_ahead(api: Api, service_id: str) -> None:
    hints = len(api.hinted)
    plan = await plan_of(api, "PUT", f"/{service_id}", BODY)
    assert (plan["dry_run"], plan["revision"], plan["service_name"]) == (True, 2, "svc")
    assert (await api.bench.service(service_id)).desired_revision == 1
    assert len(api.hinted) == hints
    path = f"/{service_id}?plan_token={plan['plan_token']}"
    again = await api.call("PUT", f"{path}&dry_run=true", BODY)
    assert again.json()["plan_token"] == plan["plan_token"]
    answer = await api.call("PUT", path, BODY)
    assert answer.status_code == 200, answer.text
    assert (await api.bench.service(service_id)).desired_revision == 2
    late = await api.call("PUT", path, BODY)
    assert (late.status_code, late.json()["error_code"]) == (412, "ModelArts.3519")
    reasons = " ".join(problem["reason"] for problem in late.json()["problems"])
    assert "generation 1 then, 2 now" in reasons


async def test_a_plan_for_another_reality_is_refused(api: Api, service_id: str) -> None:
    plan = await plan_of(api, "PUT", f"/{service_id}", BODY)
    path = f"/{service_id}?plan_token={plan['plan_token']}"
    other = await api.call("PUT", path, {"config": [version(M2, 100, 1)]})
    assert (other.status_code, "another request" in other.text) == (412, True)
    lost = api.bench.runtime.alive()[0]
    api.bench.runtime.kill(lost)
    await reconcile(api.bench.parts, service_id)
    rows = await everything(api.bench)
    for suffix in ("", "&dry_run=true"):
        answer = await api.call("PUT", path + suffix, BODY)
        assert answer.status_code == 412, answer.text
        told = [problem["reason"] for problem in answer.json()["problems"]]
        assert f"instance {lost[:8]} was ready and is gone" in told
        assert "the service was running and is concerning" in told
    assert await everything(api.bench) == rows


async def test_what_is_no_token_is_refused_by_name(api: Api, service_id: str) -> None:
    for token in ("x", "", "%00", "eJwDAAAAAAE", "a" * 5_000, "%F0%9F%98%80"):
        answer = await api.call("PUT", f"/{service_id}?plan_token={token}", BODY)
        assert (answer.status_code, "plan_token" in answer.text) == (400, True), token
    assert (await api.bench.service(service_id)).desired_revision == 1


async def test_every_form_of_change_can_be_previewed(api: Api, service_id: str) -> None:
    one = {"model_id": M1, "changed_value": "1"}
    calls: list[tuple[str, str, object]] = [
        ("PATCH", "", [{"op": "replace", "path": "/config/0/instance_count", "value": 3}]),
        ("PUT", "/property", {"changed_property": "instance_count", "configs": [one]}),
        ("POST", "/revisions/1/rollback", None),
    ]
    for method, tail, body in calls:
        plan = await plan_of(api, method, f"/{service_id}{tail}", body)
        assert plan["sentences"], tail
        path = f"/{service_id}{tail}?plan_token={plan['plan_token']}"
        answer = await api.call(method, path, body)
        assert answer.status_code == 200, answer.text
        await api.bench.settle(service_id)


async def test_refused_is_refused_also_when_only_asked(api: Api, service_id: str) -> None:
    for body, status in (({"config": []}, 400), ({"status": "paused"}, 400)):
        real = await api.call("PUT", f"/{service_id}", body)
        asked = await api.call("PUT", f"/{service_id}?dry_run=true", body)
        assert (asked.status_code, asked.json()) == (status, real.json())
    match = await api.call("PUT", f"/{service_id}?dry_run=true", BODY, If_Match='"9"')
    assert match.status_code == 412
    unknown = await api.call("PUT", f"/{service_id}?dry_run=perhaps", BODY)
    assert (unknown.status_code, "dry_run" in unknown.text) == (400, True)


async def test_what_only_lacks_room_is_refused_with_its_preview(tmp_path: Path) -> None:
    async with service_api(tmp_path, shared_cpu=6, max_instances=4) as api:
        service_id = await api.bench.create(version(M1, 100, 2))
        await api.bench.settle(service_id)
        for body, code, field in (
            ({"config": [version(M1, 100, 4)]}, "3976", "config"),
            ({"config": [version(M1, 100, 5)]}, "3522", "quota"),
        ):
            rows = await everything(api.bench)
            asked = await api.call("PUT", f"/{service_id}?dry_run=true", body)
            assert await everything(api.bench) == rows
            real = await api.call("PUT", f"/{service_id}", body)
            answer = asked.json()
            said = answer.pop("preview")
            assert (asked.status_code, answer) == (real.status_code, real.json())
            assert answer["error_code"] == f"ModelArts.{code}"
            assert said["problems"][0]["field"] == field
            assert said["sentences"][0].startswith("It would be refused: ")
            assert "plan_token" not in said
            [peak] = said["peak"]
            assert (peak["free"]["cpu"], peak["during"]["cpu"] > 6) == (6.0, True)
        fits = await plan_of(api, "PUT", f"/{service_id}", {"config": [version(M1, 100, 3)]})
        assert fits["peak"][0]["during"]["cpu"] == 6.0
        assert fits["problems"] == []


async def test_openapi_tells_of_previews(api: Api) -> None:
    document = (await api.http.get("/openapi.json")).json()
    for path, method in (
        ("", "put"),
        ("", "patch"),
        ("/property", "put"),
        ("/revisions/{number}/rollback", "post"),
    ):
        operation = document["paths"][f"/v1/{{project_id}}/services/{{service_id}}{path}"][method]
        told = {one["name"]: one for one in operation["parameters"] if one["in"] == "query"}
        assert set(told) >= {"dry_run", "plan_token"}
        assert "412" in told["plan_token"]["description"]
