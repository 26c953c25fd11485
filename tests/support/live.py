"""Short words for what the end-to-end tests do to a running platform."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from loadrun import LoadRun
from model_folders import write_package
from stack import Stack

Json = dict[str, Any]

BODY = '{"data": {"req_data": [{"x": 1}]}}'


def import_echo(stack: Stack, folder: Path, name: str, version: str) -> str:
    """Import a package whose model answers its version; gives the model id."""
    return stack.import_model(write_package(folder / f"{name}-{version}", version), name, version)


def entry(model_id: str, weight: int, count: int = 1, **more: Any) -> Json:
    """One element of ``config`` (services.md §3.3)."""
    return {
        "model_id": model_id,
        "weight": weight,
        "specification": "modelarts.vm.cpu.2u",
        "instance_count": count,
        **more,
    }


def path(stack: Stack, service_id: str = "", rest: str = "") -> str:
    tail = "/".join(part for part in (service_id, rest) if part)
    return f"/v1/{stack.project_id}/services" + (f"/{tail}" if tail else "")


def get(stack: Stack, url: str, **query: Any) -> Json:
    """A GET that must succeed."""
    answer = stack.client.get(url, params=query)
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


def show(stack: Stack, service_id: str) -> Json:
    return get(stack, path(stack, service_id))


def put(stack: Stack, service_id: str, body: Json) -> httpx.Response:
    return stack.client.put(path(stack, service_id), json=body)


def update_log(stack: Stack, service_id: str) -> Json:
    """The newest update log."""
    logs = get(stack, path(stack, service_id, "logs"))["logs"]
    newest: Json = max(logs, key=lambda log: int(log["update_time"]))
    return newest


def events(stack: Stack, service_id: str) -> list[str]:
    """Event texts, newest first."""
    body = get(stack, path(stack, service_id, "events"))
    return [str(event["event_info"]) for event in body["events"]]


def until(what: Callable[[], Any], timeout: float, why: Callable[[], str] = str) -> Any:
    """Poll ``what`` until it gives something true; a connection that breaks is asked again."""
    deadline = time.monotonic() + timeout
    last = ""
    while True:
        try:
            found = what()
        except httpx.TransportError as error:
            found, last = None, repr(error)
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {timeout} s. {why()} {last}"
        time.sleep(0.03)


def wait_status(stack: Stack, service_id: str, status: str, timeout: float = 60) -> Json:
    """Wait for the service's status; ``failed`` ends the wait at once."""

    def reached() -> Json | None:
        found = show(stack, service_id)
        if found["status"] == "failed" != status:
            raise AssertionError(f"failed: {found.get('error_msg')} {events(stack, service_id)}")
        return found if found["status"] == status else None

    def why() -> str:
        return f"{show(stack, service_id)['status']}: {events(stack, service_id)[:8]}"

    service: Json = until(reached, timeout, why)
    return service


def wait_update(stack: Stack, service_id: str, timeout: float = 90) -> Json:
    """Wait until the newest update is over; gives its log."""

    def over() -> Json | None:
        log = update_log(stack, service_id)
        return log if log["result"] != "RUNNING" else None

    done: Json = until(over, timeout, lambda: str(events(stack, service_id)[:8]))
    return done


def update(stack: Stack, service_id: str, config: list[Json], timeout: float = 90) -> Json:
    """A config update that must be accepted and succeed."""
    answer = put(stack, service_id, {"config": config})
    assert answer.status_code == 200, answer.text
    log = wait_update(stack, service_id, timeout)
    assert log["result"] == "SUCCESS", (log, events(stack, service_id)[:8])
    return log


def create(stack: Stack, config: list[Json], **more: Any) -> str:
    """Deploy and wait until it runs; gives the service id."""
    body = {
        "service_name": f"t-{uuid.uuid4().hex[:12]}",
        "infer_type": "real-time",
        "config": config,
        **more,
    }
    answer = stack.client.post(path(stack), json=body)
    assert answer.status_code == 200, answer.text
    service_id = str(answer.json()["service_id"])
    wait_status(stack, service_id, "running")
    return service_id


def delete(stack: Stack, service_id: str) -> None:
    """Delete and wait until it is gone."""
    url = path(stack, service_id)
    until(lambda: stack.client.delete(url).status_code in (200, 404), 60)
    until(lambda: stack.client.get(path(stack, service_id)).status_code == 404, 60)


@contextmanager
def service(stack: Stack, config: list[Json], **more: Any) -> Iterator[str]:
    """A running service for the length of a block."""
    service_id = create(stack, config, **more)
    try:
        yield service_id
    finally:
        delete(stack, service_id)


def infer_url(stack: Stack, service_id: str) -> str:
    return f"{stack.address}/v1/infers/{service_id}"


def load(stack: Stack, service_id: str, folder: Path, **options: Any) -> LoadRun:
    """A load checker on the service's address."""
    token = stack.client.headers["X-Auth-Token"]
    return LoadRun(infer_url(stack, service_id), folder=folder, token=token, body=BODY, **options)
