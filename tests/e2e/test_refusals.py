"""Every refusal of services.md §10 that a real-time service can meet.

Each row: what is sent, the documented status and code, and what the message must name. After each
the service is exactly as it was.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from live import Json, entry, events, get, import_echo, path, service, show, until
from model_folders import write_package
from stack import Stack

# What changes by itself.
VOLATILE = ("invocation_times", "failed_times")
SLOW = """
import time

from model_service.model_service import SingleNodeService


class Slow(SingleNodeService):
    def __init__(self, model_name, model_path):
        time.sleep(600)
"""


@dataclass(frozen=True)
class World:
    """What the rows aim at. ``models``: ids of [one, two], ``taken``: the service's name."""

    stack: Stack
    service_id: str
    taken: str
    one: str
    two: str
    batch_only: str
    failed: str


@dataclass(frozen=True)
class Refusal:
    """``body``: JSON with ``$one``… for the world's ids, or bytes; ``names``: in the message."""

    body: Any
    status: int
    codes: tuple[str, ...]
    names: str
    method: str = "PUT"
    path: str = "/services/$service"
    query: dict[str, str] = field(default_factory=dict)


def config(*items: Json) -> Json:
    return {"config": list(items)}


def one(**changes: Any) -> Json:
    """A valid element with changes; a None leaves the member out."""
    item = {**entry("$one", 100), **changes}
    return {"config": [{key: value for key, value in item.items() if value is not None}]}


def custom(**spec: Any) -> Json:
    return one(specification="custom", custom_spec={"cpu": 1, "memory": 1024, **spec})


def schedule(**changes: Any) -> Json:
    item = {"type": "stop", "time_unit": "MINUTES", "duration": 5, **changes}
    return {"schedule": [{k: v for k, v in item.items() if v is not None}]}


def new(**changes: Any) -> Json:
    body = {
        "service_name": f"n-{uuid.uuid4().hex[:10]}",
        "infer_type": "real-time",
        **one(),
        **changes,
    }
    return {key: value for key, value in body.items() if value is not None}


BAD_COUNTS: tuple[Any, ...] = (0, -1, 6, 1.5, "two", True, [1], 10**30)
BAD_WEIGHTS: tuple[Any, ...] = (-1, 101, 99.5, "all", "100 ", True, {}, 10**30)

BAD = ("3037", "0107")
EMPTY = ("3610", "3036")

UPDATES: dict[str, Refusal] = {
    "malformed JSON": Refusal(b'{"description": ', 400, ("4105",), "JSON"),
    "two documents": Refusal(b"{} {}", 400, ("4105",), "JSON"),
    "not UTF-8": Refusal(b'{"description": "\xff"}', 400, ("4105",), "JSON"),
    "an array": Refusal([], 400, ("4105", *BAD), ""),
    "unknown field": Refusal({"descripton": "x"}, 400, BAD, "descripton"),
    "description too long": Refusal({"description": "x" * 101}, 400, BAD, "description"),
    "description a number": Refusal({"description": 1}, 400, BAD, "description"),
    "status unknown": Refusal({"status": "paused"}, 400, BAD, "status"),
    "status a number": Refusal({"status": 1}, 400, BAD, "status"),
    "status deploying": Refusal({"status": "deploying"}, 400, BAD, "status"),
    "service_name is fixed": Refusal({"service_name": "other"}, 400, BAD, "service_name"),
    "infer_type is fixed": Refusal({"infer_type": "batch"}, 400, BAD, "infer_type"),
    "workspace_id is fixed": Refusal({"workspace_id": "7"}, 400, BAD, "workspace_id"),
    "vpc_id is fixed": Refusal({"vpc_id": "v"}, 400, BAD, "vpc_id"),
    "config empty": Refusal({"config": []}, 400, (*EMPTY, *BAD), "config"),
    "config an object": Refusal({"config": {}}, 400, BAD, "config"),
    "config of strings": Refusal({"config": ["x"]}, 400, BAD, "config[0]"),
    "model_id missing": Refusal(one(model_id=None), 400, EMPTY, "config[0].model_id"),
    "model_id blank": Refusal(one(model_id="  "), 400, EMPTY, "config[0].model_id"),
    "model_id a number": Refusal(one(model_id=7), 400, BAD, "config[0].model_id"),
    "model unknown": Refusal(one(model_id=str(uuid.uuid4())), 404, ("3507",), "config[0].model_id"),
    "specification missing": Refusal(
        one(specification=None), 400, EMPTY, "config[0].specification"
    ),
    "specification unknown": Refusal(
        one(specification="modelarts.vm.cpu.9000u"), 400, BAD, "config[0].specification"
    ),
    "flavor on request": Refusal(
        one(specification="modelarts.vm.gpu.p4"),
        400,
        (*BAD, "3518", "3952", "3976"),
        "config[0].specification",
    ),
    "custom without pool": Refusal(custom(), 400, BAD, "custom"),
    "custom without custom_spec": Refusal(
        one(specification="custom"), 400, (*EMPTY, *BAD), "custom_spec"
    ),
    "custom cpu too small": Refusal(custom(cpu=0), 400, BAD, "config[0].custom_spec.cpu"),
    "custom memory fraction": Refusal(
        custom(memory=10.5), 400, BAD, "config[0].custom_spec.memory"
    ),
    "custom gpu decimals": Refusal(custom(gpu_p4=0.125), 400, BAD, "config[0].custom_spec.gpu_p4"),
    "both accelerators": Refusal(custom(gpu_p4=1, ascend_a310=1), 400, BAD, "ascend_a310"),
    "instance_count missing": Refusal(
        one(instance_count=None), 400, EMPTY, "config[0].instance_count"
    ),
    "weight missing": Refusal(one(weight=None), 400, EMPTY, "config[0].weight"),
    "weights sum to 90": Refusal(config(entry("$one", 60), entry("$two", 30)), 400, BAD, "weight"),
    "weights sum to 200": Refusal(
        config(entry("$one", 100), entry("$two", 100)), 400, BAD, "weight"
    ),
    "one version twice": Refusal(
        config(entry("$one", 50), entry("$one", 50)), 400, ("3516",), "config[1].model_id"
    ),
    "batch model": Refusal(one(model_id="$batch_only"), 400, ("3589",), "config[0].model_id"),
    "model not published": Refusal(one(model_id="$failed"), 400, ("3515",), "config[0].model_id"),
    "envs not strings": Refusal(one(envs={"A": 1}), 400, BAD, "config[0].envs"),
    "envs a list": Refusal(one(envs=["A=1"]), 400, BAD, "config[0].envs"),
    "unknown member": Refusal(one(weigth=1), 400, BAD, "config[0].weigth"),
    "cluster unknown": Refusal(one(cluster_id="no-such"), 400, ("3547",), "config[0].cluster_id"),
    "log_volume in the public pool": Refusal(
        one(
            additional_properties={
                "log_volume": [{"host_path": "/var/log/a", "mount_path": "/logs"}]
            }
        ),
        400,
        BAD,
        "log_volume",
    ),
    "deploy timeout too short": Refusal(
        one(deploy_timeout_in_seconds=5), 400, BAD, "config[0].deploy_timeout_in_seconds"
    ),
    "max_surge zero": Refusal(one(additional_properties={"max_surge": 0}), 400, BAD, "max_surge"),
    "schedule an object": Refusal({"schedule": {}}, 400, BAD, "schedule"),
    "schedule twice": Refusal({"schedule": schedule()["schedule"] * 2}, 400, BAD, "schedule"),
    "schedule type": Refusal(schedule(type="start"), 400, BAD, "schedule[0].type"),
    "schedule unit": Refusal(schedule(time_unit="WEEKS"), 400, BAD, "schedule[0].time_unit"),
    "schedule without unit": Refusal(schedule(time_unit=None), 400, EMPTY, "schedule[0].time_unit"),
    "schedule zero": Refusal(schedule(duration=0), 400, BAD, "schedule[0].duration"),
    "schedule in the past": Refusal(
        schedule(duration=-5), 400, (*BAD, "3562"), "schedule[0].duration"
    ),
    "additional_properties a list": Refusal(
        {"additional_properties": []}, 400, BAD, "additional_properties"
    ),
    "policy unknown": Refusal({"load_balancer_policy": "RANDOM"}, 400, BAD, "load_balancer_policy"),
    "one good and one bad field": Refusal(
        {"description": "must not stay", "schedule": [{"type": "stop"}]}, 400, EMPTY, "schedule[0]"
    ),
    "service unknown": Refusal(
        {"description": "x"}, 404, ("3502",), "", path=f"/services/{uuid.uuid4()}"
    ),
    "service id no id": Refusal({"description": "x"}, 404, ("3502",), "", path="/services/nope"),
    **{
        f"instance_count {value!r}": Refusal(
            one(instance_count=value), 400, BAD, "config[0].instance_count"
        )
        for value in BAD_COUNTS
    },
    **{
        f"weight {value!r}": Refusal(one(weight=value), 400, BAD, "config[0].weight")
        for value in BAD_WEIGHTS
    },
}

CREATES: dict[str, Refusal] = {
    "name taken": Refusal(new(service_name="$taken"), 409, ("3503",), "service_name"),
    "name missing": Refusal(new(service_name=None), 400, EMPTY, "service_name"),
    "name blank": Refusal(new(service_name=""), 400, (*EMPTY, *BAD), "service_name"),
    "name too long": Refusal(new(service_name="n" * 65), 400, BAD, "service_name"),
    "name with a blank": Refusal(new(service_name="a b"), 400, BAD, "service_name"),
    "name a path": Refusal(new(service_name="../x"), 400, BAD, "service_name"),
    "infer_type missing": Refusal(new(infer_type=None), 400, EMPTY, "infer_type"),
    "infer_type unknown": Refusal(new(infer_type="sometimes"), 400, BAD, "infer_type"),
    "batch without a source": Refusal(new(infer_type="batch"), 400, EMPTY, "config[0].src_path"),
    "edge, until it comes": Refusal(new(infer_type="edge"), 400, (*BAD, "3518"), "infer_type"),
    "config missing": Refusal(new(config=None), 400, EMPTY, "config"),
    "description characters": Refusal(new(description="a<b"), 400, BAD, "description"),
    "workspace unknown": Refusal(new(workspace_id="77"), 400, ("0102",), "workspace_id"),
    "pool unknown": Refusal(new(cluster_id="no-such"), 400, ("3547",), "cluster_id"),
    "unknown field": Refusal(new(name="x"), 400, BAD, "name"),
    "malformed JSON": Refusal(b"{", 400, ("4105",), "JSON"),
    "no body": Refusal(b"", 400, ("4105", *EMPTY, *BAD), ""),
}

READS: dict[str, Refusal] = {
    "sort_by": Refusal(None, 400, BAD, "sort_by", query={"sort_by": "age"}, path="/services"),
    "order": Refusal(None, 400, BAD, "order", query={"order": "up"}, path="/services"),
    "offset": Refusal(None, 400, BAD, "offset", query={"offset": "-1"}, path="/services"),
    "limit": Refusal(None, 400, BAD, "limit", query={"limit": "many"}, path="/services"),
    "service unknown": Refusal(None, 404, ("3502",), "", path=f"/services/{uuid.uuid4()}"),
    "logs of an unknown": Refusal(
        None, 404, ("3502",), "", path=f"/services/{uuid.uuid4()}/logs"
    ),
    "events of an unknown": Refusal(
        None, 404, ("3502",), "", path=f"/services/{uuid.uuid4()}/events"
    ),
    "update_time": Refusal(
        None, 400, BAD, "update_time", query={"update_time": "x"},
        path="/services/$service/logs",
    ),
    "event_type": Refusal(
        None, 400, BAD, "event_type", query={"event_type": "odd"},
        path="/services/$service/events",
    ),
    "event_info characters": Refusal(
        None, 400, BAD, "event_info", query={"event_info": "a;b"},
        path="/services/$service/events",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def world(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("refusals")
    first, second = (import_echo(stack, folder, "refusals", f"{n}.0.0") for n in (1, 2))
    location = "obs://models/refusals/1.0.0/"
    batch_only = post_model(stack, location, "batch-only", install_type=["batch"])
    failed = post_model(stack, "obs://models/no/such/folder/", "never-published")
    with service(stack, [entry(first, 100)], description="as it was") as service_id:
        taken = str(show(stack, service_id)["service_name"])
        yield World(stack, service_id, taken, first, second, batch_only, failed)


def post_model(stack: Stack, location: str, name: str, **more: Any) -> str:
    """Import and wait for the end of it, be it good or bad."""
    body = {
        "model_name": name,
        "model_version": "1.0.0",
        "model_type": "PyTorch",
        "source_location": location,
        **more,
    }
    answer = stack.client.post(f"/v1/{stack.project_id}/models", json=body)
    if answer.status_code != 200:
        return f"not imported: {answer.text}"
    model_id = str(answer.json()["model_id"])
    url = f"/v1/{stack.project_id}/models/{model_id}"
    until(lambda: get(stack, url)["model_status"] in ("published", "failed"), 60)
    return model_id


def ask(world: World, refusal: Refusal) -> httpx.Response:
    if isinstance(refusal.body, bytes) or refusal.body is None:
        content = refusal.body
    else:
        text = json.dumps(refusal.body)
        for name in ("taken", "one", "two", "batch_only", "failed"):
            text = text.replace(f'"${name}"', json.dumps(getattr(world, name)))
        content = text.encode()
    url = f"/v1/{world.stack.project_id}{refusal.path}".replace("$service", world.service_id)
    return world.stack.client.request(
        refusal.method,
        url,
        content=content,
        params=refusal.query,
        headers={"Content-Type": "application/json"},
    )


def picture(world: World) -> Json:
    """All of the service that a refused request must leave alone."""
    stack, service_id = world.stack, world.service_id
    shown = {k: v for k, v in show(stack, service_id).items() if k not in VOLATILE}
    names = get(stack, path(stack))["total_count"]
    logs = get(stack, path(stack, service_id, "logs"))["logs"]
    return {"shown": shown, "services": names, "logs": logs, "events": events(stack, service_id)}


def check(world: World, refusal: Refusal) -> None:
    before = picture(world)
    answer = ask(world, refusal)
    assert answer.status_code == refusal.status, answer.text
    body = answer.json()
    assert body["error_code"] in [f"ModelArts.{code}" for code in refusal.codes], body
    assert refusal.names in body["error_msg"], body
    assert body["error_msg"].strip(), body
    assert picture(world) == before


@pytest.mark.parametrize("name", UPDATES)
def test_update(world: World, name: str) -> None:
    check(world, UPDATES[name])


@pytest.mark.parametrize("name", CREATES)
def test_create(world: World, name: str) -> None:
    row = CREATES[name]
    check(world, Refusal(row.body, row.status, row.codes, row.names, "POST", "/services"))


@pytest.mark.parametrize("name", READS)
def test_read(world: World, name: str) -> None:
    row = READS[name]
    check(world, Refusal(row.body, row.status, row.codes, row.names, "GET", row.path, row.query))


@pytest.mark.parametrize("method", ["POST", "TRACE"])
def test_unknown_methods(world: World, method: str) -> None:
    answer = ask(world, Refusal({}, 405, (), "", method))
    assert answer.status_code == 405, answer.text


def test_a_service_that_deploys_cannot_be_changed(world: World, tmp_path: Path) -> None:
    """3519: the state forbids the action; stopping and deleting it are allowed."""
    stack = world.stack
    slow = stack.import_model(write_package(tmp_path / "slow", "1.0.0", SLOW), "slow", "1.0.0")
    answer = stack.client.post(
        path(stack),
        json={
            "service_name": f"s-{uuid.uuid4().hex[:10]}",
            "infer_type": "real-time",
            "config": [entry(slow, 100)],
        },
    )
    assert answer.status_code == 200, answer.text
    service_id = answer.json()["service_id"]
    try:
        assert show(stack, service_id)["status"] == "deploying"
        for body in ({"status": "running"}, {"config": [entry(world.one, 100)]}):
            refused = stack.client.put(path(stack, service_id), json=body)
            assert refused.status_code == 400, refused.text
            assert refused.json()["error_code"] == "ModelArts.3519", refused.text
            assert "deploying" in refused.json()["error_msg"], refused.text
            assert show(stack, service_id)["status"] == "deploying"
        described = stack.client.put(path(stack, service_id), json={"description": "later"})
        assert described.status_code == 200, described.text
    finally:
        gone = stack.client.delete(path(stack, service_id))
        assert gone.status_code == 200, gone.text
        until(lambda: stack.client.get(path(stack, service_id)).status_code == 404, 60)


def test_deleting_an_unknown_among_known_deletes_nothing(world: World) -> None:
    before = picture(world)
    both = f"{world.service_id},{uuid.uuid4()}"
    answer = world.stack.client.delete(path(world.stack, both))
    assert answer.status_code == 404, answer.text
    assert answer.json()["error_code"] == "ModelArts.3502"
    assert picture(world) == before


def test_status_wins_over_config(world: World) -> None:
    """services.md §3.1: a config beside a status is ignored, even a bad one."""
    before = picture(world)
    answer = world.stack.client.put(
        path(world.stack, world.service_id), json={"status": "running", "config": [{"weight": 7}]}
    )
    assert answer.status_code == 200, answer.text
    after = picture(world)
    for shown in (before["shown"], after["shown"]):
        del shown["operation_time"]
    assert after == before
