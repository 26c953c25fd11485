"""A client that nobody here wrote: ``openstack ma …``, set up by ``modelyard env`` alone."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from openstack_cli import OpenStack

from live import create, delete, entry, import_echo, show, until, update_log, wait_update
from stack import Stack

FLAVOR = "modelarts.vm.cpu.2u"


@dataclass(frozen=True)
class World:
    """``services``: names of five services, the first one running, the others stopped."""

    stack: Stack
    openstack: OpenStack
    mark: str
    model: str
    second: str
    services: list[str]
    ids: list[str]


@pytest.fixture(scope="module")
def world(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("openstack")
    mark = uuid.uuid4().hex[:6]
    model, second = (import_echo(stack, folder, f"os-{mark}", f"{n}.0.0") for n in (1, 2))
    services = [f"os-{mark}-{n}" for n in range(5)]
    ids = [create(stack, [entry(model, 100)], service_name=services[0])]
    for name in services[1:]:
        ids.append(create(stack, [entry(model, 100)], service_name=name))
        stack.client.put(f"/v1/{stack.project_id}/services/{ids[-1]}", json={"status": "stopped"})
    for service_id in ids[1:]:
        stack.wait_status(service_id, "stopped")
    openstack = OpenStack(stack, folder)
    yield World(stack, openstack, mark, model, second, services, ids)
    openstack.close()
    for service_id in ids:
        delete(stack, service_id)


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["Service Name"] for row in rows]


def test_sign_in(world: World) -> None:
    token = world.openstack.json("token", "issue")
    assert token["project_id"] == world.stack.project_id
    types = {row["Type"] for row in world.openstack.json("catalog", "list")}
    assert {"identity", "modelarts", "modelartsv1", "modelartsv2"} <= types
    projects = world.openstack.json("project", "list")
    assert world.stack.project_id in [row["ID"] for row in projects]


def test_in_a_shell_set_up_by_eval(world: World) -> None:
    listed = world.openstack.shell("ma", "service", "list", "-f", "json")
    assert listed.code == 0, listed.err
    assert set(world.ids) <= {row["Service Id"] for row in listed.json()}
    unknown = world.openstack.shell("ma", "service", "show", "no-such-service")
    assert unknown.code != 0
    assert "No Service found" in unknown.err


def test_service_list_filters_sorts_and_pages(world: World) -> None:
    ma = world.openstack
    every = ma.json("ma", "service", "list", "--name", f"os-{world.mark}")
    assert sorted(names(every)) == world.services
    assert set(every[0]) == {"Service Id", "Service Name", "Infer Type", "Status"}
    search = ("ma", "service", "list", "--name", f"os-{world.mark}", "--sort-by", "service_name")
    paged = []
    for offset in (0, 2, 4):
        page = ma.json(*search, "--order", "asc", "--limit", "2", "--offset", str(offset))
        paged += names(page)
    assert paged == world.services
    assert names(ma.json(*search, "--order", "desc")) == world.services[::-1]
    assert names(ma.json(*search, "--status", "running")) == world.services[:1]
    assert len(ma.json(*search, "--status", "stopped")) == 4
    assert len(ma.json(*search, "--infer-type", "real-time")) == 5
    assert ma.json(*search, "--infer-type", "batch") == []
    assert len(ma.json(*search, "--model-id", world.model)) == 5
    assert ma.json(*search, "--model-id", world.second) == []
    assert names(ma.json(*search, "--service-id", world.ids[3])) == [world.services[3]]


def test_service_show_by_name_and_id(world: World) -> None:
    by_name = world.openstack.json("ma", "service", "show", world.services[0])
    by_id = world.openstack.json("ma", "service", "show", world.ids[0])
    assert by_name == by_id
    assert by_id["service_id"] == world.ids[0]
    assert by_id["status"] == "running"
    assert by_id["access_address"].endswith(f"/v1/infers/{world.ids[0]}")
    (version,) = by_id["config"]
    assert version["weight"] == 100
    assert version["instance_count"] == 1
    assert version["model_version"] == "1.0.0"
    assert version["status"] == "ready"
    # The table form formats times and nested parts itself, and trips over wrong types.
    assert world.ids[0] in world.openstack.ok("ma", "service", "show", world.services[0])


def test_service_show_of_an_unknown_one(world: World) -> None:
    for name in ("no-such-service", str(uuid.uuid4()), "a b/c"):
        ran = world.openstack.run("ma", "service", "show", name)
        assert ran.code != 0
        assert "No Service found" in ran.err, ran.err


def test_a_service_from_create_to_delete(world: World) -> None:
    ma, stack = world.openstack, world.stack
    name = f"os-{world.mark}-life"
    base = ("--model-id", world.model, "--specification", FLAVOR, "--instance-count", "1")
    made = ma.json(
        "ma", "service", "create", name, "--infer-type", "real-time", *base, "--weight", "100",
        "--env", "LEVEL=info", "--description", "by the openstack client",
        "--schedule", "type=stop,time_unit=HOURS,duration=2", "--wait",
    )  # fmt: skip
    service_id = made["service_id"]
    try:
        assert made["status"] == "running"
        assert made["description"] == "by the openstack client"
        assert made["config"][0]["envs"] == {"LEVEL": "info"}
        assert made["schedule"][0]["duration"] == 2
        assert stack.predict(service_id, {"x": 1}).json()["version"] == "1.0.0"

        ma.ok("ma", "service", "update", name, "--description", "renamed")
        assert show(stack, service_id)["description"] == "renamed"
        logs_before = ma.json("ma", "service", "logs", name)

        ma.ok(
            "ma", "service", "update", name, "--model-id", world.second, "--weight", "100",
            "--specification", FLAVOR, "--instance-count", "2",
            "--additional-property", "team=blue", "--wait",
        )  # fmt: skip
        assert wait_update(stack, service_id)["result"] == "SUCCESS"
        assert stack.predict(service_id, {"x": 1}).json()["version"] == "2.0.0"
        assert show(stack, service_id)["additional_properties"] == {"team": "blue"}

        logs = ma.json("ma", "service", "logs", name)
        assert len(logs) == len(logs_before) + 1
        assert logs[0]["Result"] == "SUCCESS"
        assert logs[0]["Config"][0]["instance_count"] == 2
        stamp = str(update_log(stack, service_id)["update_time"])
        assert len(ma.json("ma", "service", "logs", name, "--update-time", stamp)) == 1
        assert "SUCCESS" in ma.ok("ma", "service", "logs", name)

        ma.ok("ma", "service", "stop", name)
        stack.wait_status(service_id, "stopped")
        ma.ok("ma", "service", "start", service_id)
        stack.wait_status(service_id, "running")
    finally:
        ma.ok("ma", "service", "delete", name)
    until(lambda: ma.run("ma", "service", "show", service_id).code != 0, 60)
    ran = ma.run("ma", "service", "delete", name)
    assert ran.code != 0
    assert "1 of 1 Service(s) failed" in ran.err


def test_a_refusal_tells_the_person_why(world: World) -> None:
    ran = world.openstack.run(
        "ma", "service", "update", world.services[0], "--model-id", world.model,
        "--weight", "90", "--specification", FLAVOR, "--instance-count", "1",
    )  # fmt: skip
    assert ran.code != 0
    assert "ModelArts.3037" in ran.err, ran.err
    # This client prints `message` where there is one, and else no more than the code.
    assert "weight" in ran.err, ran.err


def test_events_page_and_filter(world: World) -> None:
    ma, name = world.openstack, world.services[0]
    every = ma.json("ma", "service", "events", name)
    assert len(every) >= 4
    assert set(every[0]) == {"Occur Time", "Event Type", "Event Info"}
    times = [row["Occur Time"] for row in every]
    assert times == sorted(times, reverse=True)
    rising = ma.json("ma", "service", "events", name, "--order", "asc")
    assert [row["Occur Time"] for row in rising] == sorted(times)
    paged = []
    for offset in range(0, len(every), 2):
        paged += ma.json("ma", "service", "events", name, "--limit", "2", "--offset", str(offset))
    assert paged == every
    normal = ma.json("ma", "service", "events", name, "--event-type", "normal")
    assert {row["Event Type"] for row in normal} == {"normal"}
    middle = str(times[len(times) // 2])
    later = ma.json("ma", "service", "events", name, "--start-time", middle)
    assert 0 < len(later) <= len(every)
    assert all(row["Occur Time"] >= int(middle) for row in later)
    assert "normal" in ma.ok("ma", "service", "events", name)


def test_monitor(world: World) -> None:
    world.stack.predict(world.ids[0], {"x": 1})

    def counted() -> bool:
        (row,) = world.openstack.json("ma", "service", "monitor", world.services[0])
        assert row["Model Id"] == world.model
        assert row["Model Version"] == "1.0.0"
        used, total = row["CPU Core"].split("/")
        assert float(used) >= 0
        assert float(total) > 0
        used, total = row["CPU Memory"].split("/")
        assert int(used) >= 0
        assert int(total) > 0
        return int(row["Invocation Times"]) >= 1 and row["Failed Times"] == 0

    until(counted, 30)


def test_flavors_and_clusters(world: World) -> None:
    rows = world.openstack.json("ma", "service", "flavor", "list")
    assert FLAVOR in [row["Specification"] for row in rows]
    assert {"Is Open", "Is Free", "Over Quota", "Spec Status"} <= set(rows[0])
    world.openstack.ok("ma", "service", "flavor", "list", "--infer-type", "real-time")
    world.openstack.ok("ma", "service", "flavor", "list", "--is-personal-cluster")
    assert world.openstack.json("ma", "service", "cluster", "list") == []


def test_models_list_show_page(world: World) -> None:
    ma = world.openstack
    name = f"os-{world.mark}"
    rows = ma.json("ma", "model", "list", "--name", name)
    assert {row["Id"] for row in rows} == {world.model, world.second}
    assert sorted(row["Version"] for row in rows) == ["1.0.0", "2.0.0"]
    search = ("ma", "model", "list", "--name", name, "--sort-by", "model_version")
    first = ma.json(*search, "--order", "asc", "--limit", "1")
    second = ma.json(*search, "--order", "asc", "--limit", "1", "--offset", "1")
    assert [row["Id"] for row in first + second] == [world.model, world.second]
    assert len(ma.json(*search, "--status", "published")) == 2
    assert ma.json(*search, "--status", "failed") == []
    assert len(ma.json(*search, "--model-type", "PyTorch")) == 2
    assert ma.json(*search, "--not-model-type", "PyTorch") == []
    assert len(ma.json(*search, "--model-version", "2.0.0")) == 1
    shown = ma.json("ma", "model", "show", world.model)
    assert shown["model_name"] == name
    assert shown["status"] == "published"
    assert shown["model_size"] > 0
    assert shown["config"]["model_type"] == "PyTorch"
    assert shown["apis"][0]["url"] == "/"
    assert name in ma.ok("ma", "model", "show", world.model)


def test_model_create_and_delete(world: World) -> None:
    ma, stack = world.openstack, world.stack
    name = f"os-{world.mark}-made"
    arguments = (
        "ma", "model", "create", name, "--model-version", "1.2.3", "--model-type", "PyTorch",
        "--source-location", f"obs://models/os-{world.mark}/1.0.0/",
        "--install-type", "real-time", "--description", "by the openstack client",
    )  # fmt: skip
    model_id = ma.json(*arguments)["model_id"]

    def published() -> bool:
        shown = ma.json("ma", "model", "show", name)
        assert shown["status"] in ("publishing", "published"), shown
        return bool(shown["status"] == "published")

    until(published, 60)
    shown = ma.json("ma", "model", "show", model_id)
    assert shown["install_type"] == ["real-time"]
    assert shown["description"] == "by the openstack client"
    again = ma.run(*arguments)
    assert again.code != 0
    assert "3002" in again.err
    ma.ok("ma", "model", "delete", name)
    gone = stack.client.get(f"/v1/{stack.project_id}/models/{model_id}")
    assert gone.status_code == 404
    assert ma.run("ma", "model", "show", name).code != 0
