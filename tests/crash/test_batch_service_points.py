"""SIGKILL after each persisted step of a batch service's run, on the real stack (R2).

The control plane dies, the driver and the instances go on; the next one brings every operation to
the end that it would have had, and the output is the same. The driver's own deaths are in
``tests/batch``.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator

import httpx
import pytest

from live import Json, delete, events, get, path, put, show, until
from model_folders import write_package
from modelyard.processes import read_record
from modelyard.steps import Step
from preloaded import Preloaded
from stack import Stack

S = Step
ROWS = 300
ELSEWHERE: dict[Step, str] = {
    S.RUN_FORGET: "no operation, but the clock: test_batch_crash_in_memory.py",
}
SCHEMA: Json = {"type": "object", "properties": {"n": {"type": "integer"}}}
RULE: Json = {"type": "object", "properties": {"n": {"type": "integer", "index": 0}}}
SCRIPT = """
    import os, time
    from model_service.model_service import SingleNodeService

    class Same(SingleNodeService):
        def _preprocess(self, data):
            return data

        def _inference(self, data):
            time.sleep(float(os.environ.get("PAUSE", "0.003")))
            if data["n"] == 7:
                raise ValueError("seven")
            return data

        def _postprocess(self, data):
            return data
"""


class World:
    """A stack with a preloaded control plane, and one model."""

    def __init__(self, stack: Stack, control: Preloaded, model_id: str) -> None:
        self.stack, self.control, self.model_id = stack, control, model_id
        self.made = 0

    def job(self, source: str = "rows", **envs: str) -> Json:
        return {
            "model_id": self.model_id,
            "specification": "modelarts.vm.cpu.2u",
            "instance_count": 1,
            "envs": envs,
            "src_path": f"obs://inbox/{source}/",
            "dest_path": f"obs://outbox/res-{self.made}/",
            "req_uri": "/",
            "mapping_type": "csv",
            "mapping_rule": RULE,
        }

    def ask_create(self, **envs: str) -> httpx.Response:
        self.made += 1
        body = {
            "service_name": f"batch-{self.made}",
            "infer_type": "batch",
            "config": [self.job(**envs)],
        }
        return self.stack.client.post(path(self.stack), json=body)

    def named(self) -> str:
        """The id of the latest service; empty when there is none."""
        found = get(self.stack, path(self.stack), service_name=f"batch-{self.made}")["services"]
        names = {one["service_name"]: str(one["service_id"]) for one in found}
        return names.get(f"batch-{self.made}", "")

    def created(self, **envs: str) -> str:
        answer = self.ask_create(**envs)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["service_id"])

    def runs(self, service_id: str) -> list[Json]:
        found: list[Json] = get(self.stack, path(self.stack, service_id, "runs"))["runs"]
        return found

    def running(self) -> str:
        """One whose run takes longer than a control plane to come back."""
        service_id = self.created(PAUSE="0.1")
        until(lambda: self.runs(service_id)[0]["processed"] > 0, 60, lambda: self.told(service_id))
        return service_id

    def finished(self) -> str:
        service_id = self.created()
        self.wait(service_id, "finished")
        return service_id

    def wait(self, service_id: str, status: str) -> None:
        def reached() -> bool:
            return bool(show(self.stack, service_id)["status"] == status)

        until(reached, 90, lambda: self.told(service_id))

    def told(self, service_id: str) -> str:
        return str([show(self.stack, service_id)["status"], *events(self.stack, service_id)[:6]])

    def drivers(self) -> list[str]:
        """Task ids of the runs whose driver lives."""
        folders = (self.stack.home / "batch").iterdir()
        return [one.name for one in folders if read_record(one / "driver.json")]

    def folders(self) -> list[str]:
        return [one.name for one in (self.stack.home / "batch").iterdir()]

    def judge_output(self, run: Json) -> None:
        """Each input is there once, in its order."""
        [manifest] = get(
            self.stack,
            path(self.stack, self.named(), f"runs/{run['task_id']}"),
        )["manifests"]
        bucket, _, key = manifest.removeprefix("obs://").partition("/")
        objects = self.stack.home / "objects"
        [line] = (objects / bucket / key).read_text().splitlines()
        bucket, _, key = json.loads(line)["inference-loc"].removeprefix("obs://").partition("/")
        lines = [json.loads(one) for one in (objects / bucket / key).read_text().splitlines()]
        expected = [{"n": n} for n in range(1, ROWS + 1)]
        assert [one for one in lines if "n" in one] == [one for one in expected if one["n"] != 7]
        assert "error_code" in lines[6]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("batch-crash")
    with Stack(env={"MODELYARD_DRAIN_GRACE": "5"}) as stack:
        api = {
            "url": "/",
            "method": "post",
            "request": {"Content-type": "application/json", "data": SCHEMA},
        }
        package = write_package(folder, "1.0.0", SCRIPT, apis=[api])
        model_id = stack.import_model(package, "same", "1.0.0")
        for name in ("rows", "others"):
            inbox = stack.home / "objects" / "inbox" / name
            inbox.mkdir(parents=True)
            (inbox / "table.csv").write_text("".join(f"{n}\n" for n in range(1, ROWS + 1)))
        with Preloaded(stack) as control:
            yield World(stack, control, model_id)
        # The stack's end looks for a control plane as `up` starts it.
        stack.up()


def die(world: World, step: Step, nth: int, ask: Callable[[], httpx.Response]) -> bool:
    """Ask, die at the step, start again; whether the call was answered."""
    world.control.arm(step, nth)
    try:
        answered = ask().status_code == 200
    except httpx.TransportError:
        answered = False
    assert world.control.ended(timeout=60) == -signal.SIGKILL, f"it did not die at {step}"
    world.control.start()
    return answered


def judge(world: World, service_id: str, status: str, outcomes: list[str]) -> None:
    """The service is as it would be, nothing of its runs is left running, and it is said once."""
    world.wait(service_id, status)
    until(lambda: not world.drivers(), 30, lambda: str(world.drivers()))
    runs = world.runs(service_id)
    assert [run["status"] for run in runs] == outcomes
    for run in runs:
        if run["status"] == "finished":
            world.judge_output(run)
    told = [one for one in events(world.stack, service_id) if one.startswith("batch executed")]
    assert len(told) == outcomes.count("finished")
    logs = get(world.stack, path(world.stack, service_id, "logs"))["logs"]
    assert "RUNNING" not in {log["result"] for log in logs}


BEGIN = (S.RUN_PREPARE, S.RUN_POINT, S.RUN_RECORD, S.RUN_START, S.PASS_SETTLE)


@pytest.mark.parametrize(
    ("step", "nth"), [*((step, 1) for step in (S.SERVICE_CREATE, *BEGIN)), (S.PASS_LEASE, 8)]
)
def test_dying_while_a_run_begins_and_goes_on(world: World, step: Step, nth: int) -> None:
    answered = die(world, step, nth, world.ask_create)
    service_id = world.named()
    if not service_id:
        assert not answered
        return
    judge(world, service_id, "finished", ["finished"])
    delete(world.stack, service_id)


@pytest.mark.parametrize("step", [S.SERVICE_UPDATE, S.RUN_END, S.RUN_REMOVE, S.PASS_SETTLE])
def test_dying_while_a_run_is_stopped(world: World, step: Step) -> None:
    service_id = world.running()

    def ask() -> httpx.Response:
        return put(world.stack, service_id, {"status": "stopped"})

    answered = die(world, step, 1, ask)
    if not answered and show(world.stack, service_id)["status"] not in ("stopping", "stopped"):
        assert ask().status_code == 200
    judge(world, service_id, "stopped", ["stopped"])
    assert world.runs(service_id)[0]["task_id"] not in world.folders()
    delete(world.stack, service_id)


@pytest.mark.parametrize("step", [S.SERVICE_DELETE, S.RUN_END, S.PASS_SETTLE])
def test_dying_while_a_run_is_deleted(world: World, step: Step) -> None:
    service_id = world.running()
    url = path(world.stack, service_id)
    answered = die(world, step, 1, lambda: world.stack.client.delete(url))
    if not answered:
        delete(world.stack, service_id)
    until(lambda: world.stack.client.get(url).status_code == 404, 60)
    until(lambda: not world.drivers(), 30, lambda: str(world.drivers()))


@pytest.mark.parametrize("step", [S.SERVICE_UPDATE, S.RUN_END, S.RUN_PREPARE, S.RUN_START])
def test_dying_while_a_run_is_replaced(world: World, step: Step) -> None:
    service_id = world.running()
    config = [world.job("others")]

    def ask() -> httpx.Response:
        return put(world.stack, service_id, {"config": config})

    if not die(world, step, 1, ask) and len(world.runs(service_id)) == 1:
        assert ask().status_code == 200
    judge(world, service_id, "finished", ["finished", "replaced"])
    delete(world.stack, service_id)


@pytest.mark.parametrize("step", [S.SERVICE_UPDATE, S.RUN_PREPARE, S.RUN_START])
def test_dying_while_failures_are_tried_again(world: World, step: Step) -> None:
    service_id = world.finished()
    url = path(world.stack, service_id, "retry-failed")

    def ask() -> httpx.Response:
        return world.stack.client.post(url, json={})

    if not die(world, step, 1, ask) and len(world.runs(service_id)) == 1:
        assert ask().status_code == 200
    judge(world, service_id, "finished", ["finished", "finished"])
    first, second = reversed(world.runs(service_id))
    assert second["retry_of"] == first["task_id"]
    delete(world.stack, service_id)


def test_every_step_of_runs_has_a_point() -> None:
    here = {S.RUN_END, S.RUN_REMOVE, *BEGIN}
    mine = {step for step in Step if step.startswith("run.")}
    assert sorted(mine - here - set(ELSEWHERE)) == []
