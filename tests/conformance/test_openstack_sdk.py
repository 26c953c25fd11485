"""The same client as a library: ``conn.modelartsv1.*``, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from openstack_cli import OpenStack

from live import import_echo
from stack import Stack

# Runs in the environment of `modelyard env` only; every step prints what it saw.
_SCRIPT = """
import json
import sys
import uuid

import openstack
from openstack import exceptions
from otcextensions import sdk

first, second, mark = sys.argv[1:]
connection = openstack.connect()
sdk.register_otc_extensions(connection)
ma = connection.modelartsv1
seen = {"project": connection.current_project_id}


def version(model, weight, count=1):
    return {
        "model_id": model,
        "weight": weight,  # real callers send numbers and strings
        "specification": "modelarts.vm.cpu.2u",
        "instance_count": count,
    }


made = []
for number in range(3):
    service = ma.create_service(
        service_name=f"{mark}-{number}",
        infer_type="real-time",
        config=[version(first, "100")],
        description="by the sdk",
    )
    assert service.resource_ids, service
    made.append(service.id)
for service_id in made:
    assert ma.get_service(service_id).status in ("deploying", "running")
    assert ma.wait_for_service(service_id, timeout=120, wait=0.2)

paged = []
while True:
    page = list(
        ma.services(name=mark, limit=2, offset=len(paged), sort_by="service_name", order="asc")
    )
    paged += [service.service_name for service in page]
    if len(page) < 2:
        break
seen["paged"] = paged
seen["all"] = sorted(service.id for service in ma.services(name=mark)) == sorted(made)

service = ma.get_service(ma.find_service(f"{mark}-0", ignore_missing=False).id)
seen["found"] = [service.name, service.status, service.config[0].weight, service.is_free]
assert ma.find_service('no-such-service-' + mark, ignore_missing=True) is None

updated = ma.update_service(service, config=[version(first, 30), version(second, "70", 2)])
seen["update_time"] = type(updated.update_time).__name__
stamp = None
while stamp is None:
    log = next(iter(ma.service_logs(service)))
    assert log.result != "FAIL", log
    stamp = log.update_time if log.result == "SUCCESS" else None
seen["log"] = [[c.weight, c.instance_count, c.model_id] for c in log.config]
seen["one_log"] = len(list(ma.service_logs(service, update_time=stamp)))
fresh = ma.get_service(service.id)
seen["config"] = [[c.model_version, c.weight, c.instance_count, c.status] for c in fresh.config]

events = list(ma.service_events(service))
few = list(ma.service_events(service, limit=2, offset=1))
seen["events_page"] = [e.event_info for e in few] == [e.event_info for e in events[1:3]]
seen["event_types"] = sorted({e.event_type for e in events})
seen["monitors"] = sorted(m.model_version for m in ma.service_monitor(service))
seen["flavors"] = [f.specification for f in ma.service_flavors() if f.is_open]
seen["clusters"] = len(list(ma.service_clusters()))


def reach(status):
    import time

    deadline = time.monotonic() + 90
    while (found := ma.get_service(service.id).status) != status:
        if time.monotonic() > deadline:
            raise SystemExit(f"{found} is not {status}")
        time.sleep(0.05)


ma.stop_service(service.id)
reach("stopped")
ma.start_service(service.id)
reach("running")

models = list(ma.models(name=mark, sort_by="model_version", order="asc"))
seen["models"] = [[m.name, m.version, m.status, m.model_type] for m in models]
seen["models_page"] = [
    m.version for m in ma.models(name=mark, sort_by="model_version", order="asc", limit=1, offset=1)
]
model = ma.get_model(first)
seen["model"] = [model.name, model.apis[0].url, model.created_at > 0, model.install_type]

refusals = {}


def refused(what, call):
    try:
        call()
    except exceptions.HttpException as error:
        refusals[what] = [error.response.status_code, str(error)]


refused("unknown", lambda: ma.get_service(str(uuid.uuid4())))
refused("weights", lambda: ma.update_service(service.id, config=[version(first, 99)]))
refused(
    "taken",
    lambda: ma.create_service(
        service_name=f"{mark}-0", infer_type="real-time", config=[version(first, 100)]
    ),
)
in_use = ma.delete_model(first)
seen["still_there"] = ma.get_model(first).id == first
seen["refusals"] = refusals

for service_id in made:
    ma.delete_service(service_id)
ma.delete_service(str(uuid.uuid4()), ignore_missing=True)
print(json.dumps(seen))
"""


def test_the_sdk_from_create_to_delete(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("sdk")
    mark = f"sdk-{uuid.uuid4().hex[:6]}"
    first, second = (import_echo(stack, folder, mark, f"{n}.0.0") for n in (1, 2))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _SCRIPT, first, second, mark],
        env=OpenStack(stack, folder).environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    refusals = seen.pop("refusals")
    assert seen == {
        "project": stack.project_id,
        "paged": [f"{mark}-{n}" for n in range(3)],
        "all": True,
        "found": [f"{mark}-0", "running", 100, False],
        "update_time": "int",
        "log": [[30, 1, first], [70, 2, second]],
        "one_log": 1,
        "config": [["1.0.0", 30, 1, "ready"], ["2.0.0", 70, 2, "ready"]],
        "events_page": True,
        "event_types": ["normal"],
        "monitors": ["1.0.0", "2.0.0"],
        "flavors": ["modelarts.vm.cpu.2u"],
        "clusters": 0,
        "models": [[mark, f"{n}.0.0", "published", "PyTorch"] for n in (1, 2)],
        "models_page": ["2.0.0"],
        "model": [mark, "/", True, ["real-time", "batch"]],
        "still_there": True,
    }
    assert refusals["unknown"][0] == 404
    assert refusals["weights"][0] == 400
    assert "3037" in refusals["weights"][1]
    assert refusals["taken"][0] == 409
    assert "3503" in refusals["taken"][1]
