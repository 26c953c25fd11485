"""Dedicated pools over the API: in force, shown, listed, and never given out twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from services_api import PROJECT, ServicesApi, services_api
from sqlalchemy import select, update

from field_kit import M1, M2, POOLS, entry
from modelyard.control.changes.admission import Author
from modelyard.control.changes.capacity import peaks
from modelyard.control.changes.create import create_service
from modelyard.domain.service.pools import Generation, PoolRef
from modelyard.domain.service.resources import Limits, Resources
from modelyard.settings.pools import PoolSettings
from modelyard.steps import Step
from modelyard.store.service.services import NewRevision, get_revision
from modelyard.store.tables.service import Service
from postgres import PostgresServer, binaries

SMALL = (
    PoolSettings(id="small", cpu=4, memory_mb=8192),
    PoolSettings(
        id="old", name="Lab", generation=Generation.V1, cpu=8, memory_mb=16384, created_at=5
    ),
    PoolSettings(
        id="older", name="attic", generation=Generation.V1, cpu=1, memory_mb=1, state="deploying"
    ),
)


def custom(cpu: float = 1, memory: int = 1024, **more: Any) -> dict[str, Any]:
    spec = {"cpu": cpu, "memory": memory}
    return entry(**({"pool_name": "small", "specification": "custom", "custom_spec": spec} | more))


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ServicesApi]:
    async with services_api(tmp_path, pools=SMALL) as running:
        yield running


async def runs(api: ServicesApi, service_id: str, **values: Any) -> None:
    """Put a service where the loop would have brought it."""
    async with api.database.write(Step.TEST) as session:
        statement = update(Service).where(Service.id == service_id)
        row = await session.get_one(Service, service_id)
        reached = {"status": "running", "serving_revision": row.desired_revision}
        await session.execute(statement.values(reached | values))


async def test_a_pool_gives_what_it_has_and_no_more(api: ServicesApi) -> None:
    await api.created("first", custom(instance_count=3))
    refused = await api.create("second", custom(cpu=2))
    assert refused.status_code == 400
    told = refused.json()
    assert told["error_code"] == "ModelArts.3976"
    assert told["problems"][0]["field"] == "config"
    assert "pool 'small' lacks 1 CPU cores" in told["error_msg"]
    assert "1 CPU cores, 5120 MB of memory" in told["error_msg"]
    async with api.database.read() as session:
        assert len(list(await session.scalars(select(Service)))) == 1
    await api.created("third", custom())


async def test_replacing_needs_surge_before_anything_is_written(api: ServicesApi) -> None:
    service_id = await api.created("full", custom(instance_count=4))
    await runs(api, service_id)
    refused = await api.update(service_id, config=[custom(instance_count=4, envs={"A": "1"})])
    assert refused.json()["error_code"] == "ModelArts.3976"
    assert "max_surge" in refused.json()["problems"][0]["remedy"]
    # What takes no more than there is goes ahead in a full pool, also when the pool has shrunk.
    same = await api.update(service_id, config=[custom(instance_count=4)], description="x")
    assert same.status_code == 200, same.text
    fewer = await api.update(service_id, config=[custom(instance_count=2)])
    assert fewer.status_code == 200, fewer.text


async def test_a_stopped_service_takes_nothing_until_it_is_started(api: ServicesApi) -> None:
    service_id = await api.created("sleeper", custom(instance_count=4))
    await runs(api, service_id, status="stopped", wanted="stopped", serving_revision=None)
    await api.created("other", custom())
    stored = await api.update(service_id, config=[custom(instance_count=5)])
    assert stored.status_code == 200, stored.text
    started = await api.update(service_id, status="running")
    assert started.json()["error_code"] == "ModelArts.3976"
    async with api.database.read() as session:
        row = await session.get_one(Service, service_id)
    assert (row.status, row.wanted) == ("stopped", "stopped")


async def test_what_is_on_its_way_and_what_is_kept_warm_counts(api: ServicesApi) -> None:
    first = await api.created("first", custom())
    await runs(api, first)
    # One on its way from one to two takes two; another kept in one, one more.
    assert (await api.update(first, config=[custom(instance_count=2)])).status_code == 200
    second = await api.created("second", custom())
    await runs(api, second)
    changed = await api.update(second, config=[custom(envs={"A": "1"})])
    assert changed.status_code == 200, changed.text
    full = await api.create("third", custom(cpu=0.01))
    assert full.json()["error_code"] == "ModelArts.3976"
    await runs(api, second)
    await api.created("third", custom(cpu=0.01))
    await runs(api, second, kept_revision=1)
    assert (await api.create("fourth", custom(cpu=0.5))).status_code == 400


async def test_peaks_tell_the_preview_what_a_change_takes(api: ServicesApi) -> None:
    await api.created("other", custom(cpu=1.5))
    service_id = await api.created("mine", custom())
    await runs(api, service_id)
    async with api.database.read() as session:
        service = await session.get_one(Service, service_id)
        stored = await get_revision(session, service_id, 1)
        changed = NewRevision(stored.config, stored.policy, stored.rollout)
        (peak,) = await peaks(session, api.settings, service, changed)
    assert peak.pool == PoolRef("small", Generation.V2)
    assert (peak.need, peak.after) == (Resources(1, 1024), Resources(1, 1024))
    assert peak.others == Resources(1.5, 1024)
    assert peak.free == Limits(2.5, 7168, 0, 0)


async def test_a_pool_that_is_gone_starts_nothing(tmp_path: Path) -> None:
    async with services_api(tmp_path, pools=SMALL) as api:
        service_id = await api.created("svc", custom())
        await runs(api, service_id, status="stopped", wanted="stopped", serving_revision=None)
    async with services_api(tmp_path) as api:
        # The models of the first run are there already.
        started = await api.update(service_id, status="running")
        assert started.json()["error_code"] == "ModelArts.50015001"


async def test_the_shared_pool_has_limits_only_when_they_are_set(tmp_path: Path) -> None:
    async with services_api(tmp_path, shared_cpu=5) as api:
        await api.created("first", entry(instance_count=2))
        refused = await api.create("second", entry())
        assert refused.json()["error_code"] == "ModelArts.3976"
        assert "the shared pool lacks 1 CPU cores" in refused.json()["error_msg"]


async def test_two_at_once_cannot_have_the_same_room(tmp_path: Path) -> None:
    await _race(tmp_path)


@pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed")
async def test_two_at_once_cannot_have_the_same_room_on_postgresql(tmp_path: Path) -> None:
    with PostgresServer() as server:
        await _race(tmp_path, server.new_database())


@pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed")
async def test_two_at_once_cannot_have_the_same_quota_on_postgresql(tmp_path: Path) -> None:
    with PostgresServer() as server:
        url = server.new_database()
        async with services_api(tmp_path, max_instances=1, database_url=url) as api:
            author = Author(PROJECT, "u" * 32, "d" * 32)
            body = {"service_name": "a", "infer_type": "real-time", "config": [entry()]}
            async with api.database.write(Step.TEST) as session:
                await create_service(session, api.settings, author, body, "a" * 36, 1)
                # Of another model: two services of one model wait for each other anyway.
                second = asyncio.create_task(api.create("b", entry(model_id=M2)))
                await asyncio.wait({second}, timeout=1)
            assert (await second).json()["error_code"] == "ModelArts.3522"


async def _race(tmp_path: Path, url: str = "") -> None:
    database = {"database_url": url} if url else {}
    async with services_api(tmp_path, pools=SMALL, **database) as api:
        answers = await asyncio.gather(
            *(api.create(f"svc-{n}", custom(cpu=2)) for n in range(6)),
        )
        assert sorted(answer.status_code for answer in answers) == [200, 200, 400, 400, 400, 400]


async def test_quotas_count_the_shared_pool_alone(tmp_path: Path) -> None:
    async with services_api(tmp_path, pools=POOLS, max_services=1, max_instances=2) as api:
        for number in range(3):
            await api.created(f"own-{number}", entry(pool_name="plain", instance_count=5))
        refused = await api.create("many", entry(instance_count=3))
        assert refused.json()["error_code"] == "ModelArts.3522"
        await api.created("one", entry(instance_count=2))
        refused = await api.create("two", entry())
        assert refused.json()["error_code"] == "ModelArts.3520"


async def test_clusters_are_listed_with_what_is_left(api: ServicesApi) -> None:
    await api.created("svc", custom(cpu=1.5, pool_name="", cluster_id="old"))
    everything = (await api.call("GET", "/clusters?order=asc")).json()
    assert (everything["total_count"], everything["count"]) == (2, 2)
    older, old = everything["clusters"]
    assert (older["cluster_id"], older["nodes"]["available_count"]) == ("older", 0)
    assert old == {
        "cluster_id": "old",
        "cluster_name": "Lab",
        "description": "",
        "tenant": "d" * 32,
        "project": "project",
        "owner": "u" * 32,
        "created_at": 5,
        "status": "running",
        "nodes": {"specification": "custom", "count": 1, "available_count": 1},
        "allocatable_cpu_cores": 6.5,
        "allocatable_memory": 15360,
        "allocatable_gpus": 0.0,
    }
    for query, found in {
        "status=deploying": ["older"],
        "cluster_name=lab": ["old"],
        "sort_by=cluster_name&order=desc": ["old", "older"],
        "limit=1": ["old"],
        "offset=1": ["older"],
    }.items():
        listed = (await api.call("GET", f"/clusters?{query}")).json()["clusters"]
        assert [item["cluster_id"] for item in listed] == found, query
    assert (await api.call("GET", "/clusters?status=broken")).status_code == 400


async def test_services_are_found_by_their_cluster(api: ServicesApi) -> None:
    by_service = await api.created("by-service", entry(), cluster_id="old")
    by_version = await api.created("by-version", custom(0.1, 1024, pool_name="", cluster_id="old"))
    await api.created("elsewhere", custom(envs={"cluster_id": "old", "id": "old"}))
    listed = (await api.call("GET", "/services?cluster_id=old")).json()
    assert {item["service_id"] for item in listed["services"]} == {by_service, by_version}
    assert (await api.call("GET", "/services?cluster_id=none")).json()["total_count"] == 0


async def test_show_echoes_what_was_sent_and_tells_what_is_pending(api: ServicesApi) -> None:
    volumes = {"persistent_volumes": [{"name": "v", "mount_path": "/v"}]}
    service_id = await api.created(
        "svc",
        custom(weight=40, additional_properties=volumes, deploy_timeout_in_seconds=600),
        custom(model_id=M2, weight=60, pool_name="", cpu=0.5),
        cluster_id="old",
        priority=2,
        service_secrets=[{"secretId": "s", "mountPath": "/s"}],
    )
    shown = (await api.call("GET", f"/services/{service_id}")).json()
    assert (shown["cluster_id"], shown["priority"]) == ("old", 2)
    assert "pool_name" not in shown
    assert shown["service_secrets"] == [{"secretId": "s", "mouthPath": "/s"}]
    first, second = shown["config"]
    assert (first["model_id"], first["pool_name"]) == (M1, "small")
    assert first["custom_spec"] == {"cpu": 1, "memory": 1024}
    assert first["additional_properties"] == volumes
    assert first["deploy_timeout_in_seconds"] == 600
    assert not {"pool_name", "cluster_id"} & set(second)
    assert [item["field"] for item in shown["pending"]] == [
        "priority",
        "service_secrets",
        "config[0].pool_name",
        "config[0].additional_properties.persistent_volumes",
        "cluster_id",
    ]
    plain = await api.created("plain", entry())
    body = (await api.call("GET", f"/services/{plain}")).json()
    assert not {"pending", "service_secrets", "cluster_id", "pool_name"} & set(body)
