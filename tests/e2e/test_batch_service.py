"""Batch services on the real platform: over the API, with real instances and the real driver."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_place import RULE, Place, import_doubler, twice
from live import Json, delete, events, get, path, put, until, wait_status
from modelyard.processes import alive
from stack import Stack


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Stack(env={"MODELYARD_DRAIN_GRACE": "5"}) as stack:
        yield Place(stack, import_doubler(stack, tmp_path_factory.mktemp("doubler")))


def test_rows_come_out_in_their_order(place: Place) -> None:
    source, target = place.rows(500)
    service_id = place.create(place.job(source, target, instance_count=2))
    service = wait_status(place.stack, service_id, "finished")
    run = place.run(service_id)
    task_id = run["task_id"]
    assert place.results(target, task_id) == twice(500)
    [line] = place.read(target, f"infer-result-{task_id}.manifest").splitlines()
    assert json.loads(line)["result"] == "SUCCESSFUL"
    assert run["manifests"] == [f"{target}infer-result-{task_id}.manifest"]

    assert "access_address" not in service
    [entry] = service["config"]
    assert entry["task_id"] == task_id
    assert entry["src_path"] == source
    assert service["progress"] == 100
    assert run["processed"] == 500
    assert run["failed"] == 0
    assert service["publish_at"] <= entry["start_time"] <= entry["finished_time"]
    listed = get(place.stack, path(place.stack), infer_type="batch", status="finished")["services"]
    [summary] = [one for one in listed if one["service_id"] == service_id]
    assert (summary["start_time"], summary["finished_time"]) == (
        entry["start_time"],
        entry["finished_time"],
    )
    told = " ".join(events(place.stack, service_id))
    assert "500 rows processed, 0 failed" in told
    monitor = get(place.stack, path(place.stack, service_id, "monitor"))
    assert monitor["batch"]["processed"] == 500
    until(lambda: not place.driver(task_id), 10)
    assert place.stack.client.post(f"/v1/infers/{service_id}", json={"n": 1}).status_code == 404
    delete(place.stack, service_id)


def test_failures_are_listed_and_can_be_tried_again(place: Place) -> None:
    source, target = place.rows(40, bad=(7, 9))
    service_id = place.create(place.job(source, target))
    wait_status(place.stack, service_id, "finished")
    first = place.run(service_id)
    assert (first["processed"], first["failed"], first["can_retry"]) == (40, 2, True)
    quarantine = place.read(target, first["quarantine"].removeprefix(target)).splitlines()
    assert len(quarantine) == 2
    before = place.results(target, first["task_id"])
    assert [n for n, line in enumerate(before, 1) if "error_code" in line] == [7, 9]
    # Other instances for the same work: the run that computes the failures has the mended model.
    config = [place.job(source, target, envs={"MENDED": "1"})]
    stopped = put(place.stack, service_id, {"config": config})
    assert stopped.status_code == 200, stopped.text
    place.stack.wait_for(lambda: place.run(service_id)["task_id"] != first["task_id"])
    wait_status(place.stack, service_id, "finished")
    url = path(place.stack, service_id, "retry-failed")
    answer = place.stack.client.post(url, json={"task_id": first["task_id"]})
    assert answer.status_code == 200, answer.text
    wait_status(place.stack, service_id, "finished")
    again = place.run(service_id)
    assert (again["retry_of"], again["failed"]) == (first["task_id"], 0)
    mended = place.results(target, again["task_id"])
    assert [line["twice"] for line in mended] == [
        -2 * n if n in (7, 9) else 2 * n for n in range(1, 41)
    ]
    assert place.stack.client.post(url, json={}).status_code == 400
    delete(place.stack, service_id)


def test_a_dry_run_counts_and_shows_and_does_nothing(place: Place) -> None:
    source, target = place.rows(5)
    config = [place.job(source, target)]
    body = {"service_name": "only-asked", "infer_type": "batch", "config": config}
    answer = place.stack.client.post(path(place.stack), json=body, params={"dry_run": "true"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["input"]["files"], told["input"]["complete"]) == (1, True)
    assert [one["body"] for one in told["requests"]] == [{"n": 1}, {"n": 2}, {"n": 3}]
    listed = get(place.stack, path(place.stack), service_name="only-asked")
    assert listed["count"] == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"src_path": "obs://inbox/nothing-here/"}, "3551"),
        ({"src_path": "obs://no-such-bucket/x/"}, "3551"),
        ({"src_path": "ftp://inbox/x/"}, "3572"),
        ({"dest_path": "{source}out/"}, "3572"),
    ],
)
def test_an_unusable_input_is_refused_before_anything_happens(
    place: Place, change: Json, code: str
) -> None:
    source, target = place.rows(3)
    changed = {key: value.format(source=source) for key, value in change.items()}
    body = {
        "service_name": "never-made",
        "infer_type": "batch",
        "config": [place.job(source, target, **changed)],
    }
    answer = place.stack.client.post(path(place.stack), json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, f"ModelArts.{code}")
    assert next(iter(change)) in answer.json()["error_msg"]
    assert get(place.stack, path(place.stack), service_name="never-made")["count"] == 0


def test_stop_and_start_and_delete_while_it_runs(place: Place) -> None:
    source, target = place.rows(400)
    service_id = place.create(place.job(source, target, 0.02))
    first = place.under_way(service_id, 10)
    assert put(place.stack, service_id, {"status": "stopped"}).status_code == 200
    wait_status(place.stack, service_id, "stopped")
    assert place.run(service_id)["status"] == "stopped"
    assert place.written(target) == []
    assert place.driver(first["task_id"]) is None
    assert put(place.stack, service_id, {"status": "running"}).status_code == 200
    second = place.under_way(service_id, 10)
    assert second["task_id"] != first["task_id"]
    delete(place.stack, service_id)
    assert place.driver(second["task_id"]) is None
    assert place.written(target) == []


def test_other_instances_take_over_in_the_middle(place: Place) -> None:
    source, target = place.rows(400)
    service_id = place.create(place.job(source, target, 0.02))
    begun = place.under_way(service_id, 10)
    config = [place.job(source, target, 0.001, instance_count=2)]
    assert put(place.stack, service_id, {"config": config}).status_code == 200
    wait_status(place.stack, service_id, "finished", 90)
    run = place.run(service_id)
    assert run["task_id"] == begun["task_id"]
    assert place.results(target, run["task_id"]) == twice(400)
    delete(place.stack, service_id)


def test_another_input_is_another_run(place: Place) -> None:
    source, target = place.rows(400)
    other, other_target = place.rows(20)
    service_id = place.create(place.job(source, target, 0.02))
    begun = place.under_way(service_id, 10)
    config = [place.job(other, other_target, 0.02)]
    assert put(place.stack, service_id, {"config": config}).status_code == 200
    wait_status(place.stack, service_id, "finished")
    runs = get(place.stack, path(place.stack, service_id, "runs"))["runs"]
    assert [run["status"] for run in runs] == ["finished", "replaced"]
    assert runs[1]["task_id"] == begun["task_id"]
    assert place.results(other_target, runs[0]["task_id"]) == twice(20)
    assert place.written(target) == []
    delete(place.stack, service_id)


def test_nothing_is_lost_when_everything_is_killed(place: Place) -> None:
    source, target = place.rows(4_000)
    service_id = place.create(place.job(source, target, 0.01, instance_count=2))
    run = place.under_way(service_id, 50)
    driver = place.driver(run["task_id"])
    assert driver is not None
    os.kill(driver, signal.SIGKILL)
    until(lambda: place.driver(run["task_id"]) not in (None, driver), 20)
    run = place.under_way(service_id, 300)

    driver = place.driver(run["task_id"])
    killed = place.stack.kill_control_plane()
    assert not alive(killed)
    assert place.driver(run["task_id"]) == driver, "a run goes on without a control plane"
    place.stack.up()
    run = place.under_way(service_id, 600)
    assert place.driver(run["task_id"]) == driver, "it was taken over"

    place.stack.kill_control_plane()
    os.kill(driver or 0, signal.SIGKILL)
    place.stack.up()
    wait_status(place.stack, service_id, "finished", 120)
    assert place.run(service_id)["task_id"] == run["task_id"]
    assert place.results(target, run["task_id"]) == twice(4_000)
    delete(place.stack, service_id)


def test_down_and_up_go_on_with_a_run(place: Place) -> None:
    source, target = place.rows(1_500)
    service_id = place.create(place.job(source, target, 0.01))
    run = place.under_way(service_id, 50)
    place.stack.down()
    assert place.driver(run["task_id"]) is None
    place.stack.up()
    after = place.run(service_id)
    assert (after["task_id"], after["status"]) == (run["task_id"], "running")
    wait_status(place.stack, service_id, "finished", 90)
    assert place.results(target, run["task_id"]) == twice(1_500)
    delete(place.stack, service_id)


def test_a_model_that_cannot_start_fails_the_service(place: Place) -> None:
    source, target = place.rows(3)
    service_id = place.create(place.job(source, target, envs={"BROKEN": "1"}))
    service = wait_status(place.stack, service_id, "failed")
    assert "nothing to load" in service["error_msg"]
    run = place.run(service_id)
    assert (run["status"], run["error_msg"]) == ("failed", service["error_msg"])
    assert place.written(target) == []
    delete(place.stack, service_id)


def test_the_command_line(place: Place, tmp_path: Path) -> None:
    source, target = place.rows(30, bad=(3,))
    rule = tmp_path / "rule.json"
    rule.write_text(json.dumps(RULE))
    options = ("--model", "doubler:1.0.0", "--source", source, "--target", target)
    told = place.stack.run("batch", "preview", "nightly", *options, "--rule", f"@{rule}").stdout
    assert "1 file" in told
    assert '{"n": 1}' in told
    made = place.stack.run("batch", "create", "nightly", *options, "--rule", f"@{rule}")
    assert "finished" in made.stdout
    assert "30 rows" in made.stdout
    [run] = place.stack.json("batch", "runs", "nightly")["runs"]
    assert (run["processed"], run["failed"]) == (30, 1)
    shown = place.stack.json("batch", "show", "nightly", "--task", run["task_id"])
    assert shown["quarantine"]
    assert "finished" in place.stack.run("batch", "watch", "nightly").stdout
    again = place.stack.json("batch", "retry-failed", "nightly")
    assert (again["retry_of"], again["failed"]) == (run["task_id"], 1)
    assert place.stack.run("batch", "start", "nightly").returncode == 0
    assert len(place.stack.json("batch", "runs", "nightly")["runs"]) == 3
    place.stack.run("service", "delete", "nightly")
