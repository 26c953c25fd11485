"""PATCH, property, tags, nodes: the calls beside the whole update (services.md §4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bench_api import OTHER_PROJECT, OTHER_USER, Api, service_api

from loop_support import M1, M2, version

NOBODY = "99999999-9999-4999-8999-999999999999"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with service_api(tmp_path) as made:
        yield made


@pytest.fixture
async def service_id(api: Api) -> str:
    created = await api.bench.create(
        version(M1, 70, 2, envs={"LEVEL": "info"}, deploy_timeout_in_seconds=300),
        version(M2, 30),
    )
    await api.bench.settle(created)
    return created


async def shown(api: Api, service_id: str) -> dict[str, Any]:
    answer = await api.call("GET", f"/{service_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def replace(path: str, value: object) -> dict[str, object]:
    return {"op": "replace", "path": path, "value": value}


async def test_patch_replaces_values_and_keeps_the_rest(api: Api, service_id: str) -> None:
    answer = await api.call(
        "PATCH",
        f"/{service_id}",
        [
            replace("/config/0/weight", "40"),
            replace("/config/1/weight", 60),
            replace("/config/1/instance_count", "3"),
            replace("/config/0/envs/LEVEL", "debug"),
        ],
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["update_time"].isdigit()
    assert len(body["resource_ids"]) == 2
    assert service_id in api.hinted
    await api.bench.settle(service_id)
    first, second = (await shown(api, service_id))["config"]
    assert (first["weight"], first["instance_count"], first["envs"]) == (40, 2, {"LEVEL": "debug"})
    assert (second["weight"], second["instance_count"]) == (60, 3)
    revision = (await api.call("GET", f"/{service_id}/revisions/2")).json()
    compared = await api.call("GET", f"/{service_id}/revisions/compare?from=1&to=2")
    assert revision["config"][0]["envs"] == {"LEVEL": "debug"}
    assert {c["field"]: c["effect"] for c in compared.json()["changes"]} == {
        "config[0].weight": "nothing restarts",
        "config[0].envs.LEVEL": "replaces instances",
        "config[1].weight": "nothing restarts",
        "config[1].instance_count": "adds or removes instances",
    }


BAD_PATCHES = [
    ([], "3037", ["body"]),
    ({"op": "replace"}, "3037", ["body"]),
    (["x"], "3037", ["[0]"]),
    ([{"op": "add", "path": "/config/0/weight", "value": 1}], "3037", ["[0].op"]),
    ([{"op": "replace", "path": "/config/0/weight"}], "3610", ["[0].value"]),
    ([{"op": "replace", "value": 1}], "3610", ["[0].path"]),
    ([replace("/description", "x")], "3037", ["/description"]),
    ([replace("/config", [])], "3037", ["/config"]),
    ([replace("/config/~2", 1)], "3037", ["/config/~2"]),
    ([replace("/config/2/weight", 1)], "3037", ["/config/2/weight"]),
    ([replace("/config/01/weight", 1)], "3037", ["/config/01/weight"]),
    ([replace("/config/-/weight", 1)], "3037", ["/config/-/weight"]),
    ([replace("/config/0/status", "ready")], "3037", ["/config/0/status"]),
    ([replace("/config/0/envs/NEW", "x")], "3037", ["/config/0/envs/NEW"]),
    ([replace("/config/0/weight/x", "1")], "3037", ["/config/0/weight/x"]),
    ([replace("/config/0", 5)], "3037", ["/config/0"]),
    ([replace("/config/0/model_id", NOBODY)], "3529", ["/config/0/model_id"]),
    (
        [replace("/config/0/weight", 101), replace("/config/1/instance_count", "0")],
        "3037",
        ["/config/0/weight", "/config/1/instance_count"],
    ),
    ([replace("/config/0/weight", 60)], "3037", ["/config/*/weight"]),
]


async def test_patch_lists_every_problem_by_its_pointer(api: Api, service_id: str) -> None:
    for operations, code, fields in BAD_PATCHES:
        answer = await api.call("PATCH", f"/{service_id}", operations)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error_code"] == f"ModelArts.{code}"
        assert [problem["field"] for problem in answer.json()["problems"]] == fields
        assert (await api.bench.service(service_id)).desired_revision == 1


async def test_patches_of_an_update_under_way_build_on_it(api: Api, service_id: str) -> None:
    await api.bench.update(service_id, config=[version(M1, 60, 2), version(M2, 40)])
    swap = [replace("/config/0/weight", 50), replace("/config/1/weight", 50)]
    assert (await api.call("PATCH", f"/{service_id}", swap)).status_code == 200
    await api.bench.update(service_id, config=[version(M2, 100)])
    # Show still lists two versions: a pointer would not mean what the caller sees.
    answer = await api.call("PATCH", f"/{service_id}", [replace("/config/0/instance_count", 2)])
    assert (answer.status_code, answer.json()["error_code"]) == (400, "ModelArts.3519")
    assert "under way" in answer.json()["error_msg"]


def counts(value: object, model_id: str = M1) -> dict[str, object]:
    configs = [{"model_id": model_id, "changed_value": value}]
    return {"changed_property": "instance_count", "configs": configs}


async def test_property_scales(api: Api, service_id: str) -> None:
    answer = await api.call("PUT", f"/{service_id}/property", counts("3"))
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"update_time", "resource_ids"}
    await api.bench.settle(service_id)
    assert [c["instance_count"] for c in (await shown(api, service_id))["config"]] == [3, 1]
    assert len(api.bench.runtime.alive(M1)) == 3


async def test_what_is_being_scaled_cannot_be_scaled(api: Api, service_id: str) -> None:
    path = f"/{service_id}/property"
    assert (await api.call("PUT", path, counts("3"))).status_code == 200
    answer = await api.call("PUT", path, counts("4"))
    assert (answer.status_code, answer.json()["error_code"]) == (400, "ModelArts.3519")
    assert (await api.bench.service(service_id)).desired_revision == 2
    await api.bench.settle(service_id)
    assert (await api.call("PUT", path, counts("4"))).status_code == 200


BAD_PROPERTIES = [
    (counts("2"), "3037", "configs[0].changed_value"),
    (counts("0"), "3037", "configs[0].changed_value"),
    (counts("6"), "3037", "configs[0].changed_value"),
    (counts("1.5"), "3037", "configs[0].changed_value"),
    (counts(None), "3610", "configs[0].changed_value"),
    (counts("3", NOBODY), "3529", "configs[0].model_id"),
    ({**counts("3"), "changed_property": "weight"}, "3037", "changed_property"),
    ({"changed_property": "instance_count", "configs": []}, "3037", "configs"),
    ({"configs": counts("3")["configs"]}, "3610", "changed_property"),
    ({**counts("3"), "more": 1}, "3037", "more"),
    ([], "3037", "body"),
]


async def test_property_is_judged(api: Api, service_id: str) -> None:
    for body, code, field in BAD_PROPERTIES:
        answer = await api.call("PUT", f"/{service_id}/property", body)
        assert (answer.status_code, answer.json()["error_code"]) == (400, f"ModelArts.{code}")
        assert field in [problem["field"] for problem in answer.json()["problems"]]


async def test_tags(api: Api, service_id: str) -> None:
    async def tags() -> dict[str, str]:
        return {tag["key"]: tag["value"] for tag in (await shown(api, service_id))["tags"]}

    before = (await api.bench.service(service_id)).generation
    path = f"/{service_id}/tags"
    body = {"tags": [{"key": "env", "value": "prod/eu"}, {"key": "a=b"}, {"key": "Größe 1"}]}
    assert (await api.call("POST", f"{path}/create", body)).status_code == 204
    await api.call("POST", f"{path}/create", {"tags": [{"key": "env", "value": "test"}]})
    assert await tags() == {"env": "test", "a=b": "", "Größe 1": ""}
    assert (await api.bench.service(service_id)).generation == before + 2
    for wanted, found in {
        "env": 1, "env=test": 1, "env=prod": 0, "a=b": 1, "env=test,a=b": 1, "env,none": 0,
    }.items():  # fmt: skip
        listed = (await api.call("GET", f"?tags={wanted}")).json()
        assert listed["total_count"] == found, wanted
    many = ",".join(f"k{n}" for n in range(21))
    assert (await api.call("GET", f"?tags={many}")).status_code == 400
    assert (await api.call("GET", f"?tags={'=' * 5000}")).json()["total_count"] == 0
    keep = {"tags": [{"key": "env", "value": "other"}, {"key": "a=b"}, {"key": "never"}]}
    assert (await api.call("DELETE", f"{path}/delete", keep)).status_code == 204
    assert await tags() == {"env": "test", "Größe 1": ""}


BAD_TAGS = [
    ([], "tags"),
    ([{"key": " x"}], "tags[0].key"),
    ([{"key": "_sys_x"}], "tags[0].key"),
    ([{"key": "k" * 129}], "tags[0].key"),
    ([{"key": "a/b"}], "tags[0].key"),
    ([{"key": "k", "value": "v" * 256}], "tags[0].value"),
    ([{"key": "k", "value": "a,b"}], "tags[0].value"),
    ([{"key": "k"}, {"key": "k"}], "tags[1].key"),
    ([{"value": "v"}], "tags[0].key"),
    ([{"key": f"k{n}"} for n in range(21)], "tags"),
]


async def test_tags_are_judged(api: Api, service_id: str) -> None:
    for tags, field in BAD_TAGS:
        answer = await api.call("POST", f"/{service_id}/tags/create", {"tags": tags})
        assert answer.status_code == 400
        assert answer.json()["problems"][0]["field"] == field


async def test_a_service_has_twenty_tags_at_most(api: Api, service_id: str) -> None:
    twenty = {"tags": [{"key": f"k{n}"} for n in range(20)]}
    path = f"/{service_id}/tags/create"
    assert (await api.call("POST", path, twenty)).status_code == 204
    answer = await api.call("POST", path, {"tags": [{"key": "one more"}]})
    assert (answer.status_code, "21 tags" in answer.json()["error_msg"]) == (400, True)


async def test_only_edge_services_have_nodes(api: Api, service_id: str) -> None:
    path = f"/{service_id}/nodes/node-1/status"
    answer = await api.call("PUT", path, {"status": "stopped"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "ModelArts.3518")
    assert "real-time" in answer.json()["error_msg"]
    wrong = await api.call("PUT", path, {"status": "paused"})
    assert wrong.json()["problems"][0]["field"] == "status"


CALLS = [
    ("PATCH", "", [replace("/config/0/weight", 1)]),
    ("PUT", "/property", counts("3")),
    ("POST", "/tags/create", {"tags": [{"key": "k"}]}),
    ("DELETE", "/tags/delete", {"tags": [{"key": "k"}]}),
    ("PUT", "/nodes/n/status", {"status": "stopped"}),
    ("GET", "/revisions", None),
    ("GET", "/revisions/1", None),
    ("GET", "/revisions/compare?from=1&to=1", None),
    ("POST", "/revisions/1/rollback", None),
    ("GET", "/served?at=1", None),
    ("GET", "/requests/r", None),
]


async def test_another_projects_service_does_not_exist(api: Api, service_id: str) -> None:
    for method, tail, body in CALLS:
        answer = await api.call(
            method, f"/{service_id}{tail}", body, user=OTHER_USER, project=OTHER_PROJECT
        )
        assert (answer.status_code, answer.json()["error_code"]) == (404, "ModelArts.3502")
