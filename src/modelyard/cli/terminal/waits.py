"""Wait for models, services and updates, and show the latest event meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from modelyard.client.api_client import Client
from modelyard.client.documents import Document
from modelyard.client.failures import ApiFailure, ClientError

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wait:
    """Waits at most ``timeout_s`` seconds; ``report`` gets a sentence about each state."""

    report: Report
    timeout_s: float

    def until(self, look: Callable[[], Document | None], what: str) -> Document:
        """Return the first document that ``look`` finds; raises ``ClientError`` at the deadline."""
        deadline = time.monotonic() + self.timeout_s
        pause = _FIRST_PAUSE_S
        while True:
            found = look()
            if found is not None:
                return found
            if time.monotonic() >= deadline:
                raise ClientError(
                    f"{what} is not done after {self.timeout_s:.0f} s.",
                    "It continues; look again later, or wait longer with --timeout.",
                )
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)


def latest_event(client: Client, path: str) -> str:
    """Return the text of the newest event below ``path``; ``""`` when there is none."""
    try:
        events = client.project("GET", f"{path}/events", query={"limit": 1}).parts("events")
    except ApiFailure:
        return ""
    return events[0].text("event_info") if events else ""


def wait_for_model(client: Client, model_id: str, wait: Wait) -> Document:
    """Wait until the model is published. Raises ``ClientError`` with the reason when it failed."""
    path = f"/models/{model_id}"

    def look() -> Document | None:
        model = client.project("GET", path)
        status = model.text("model_status")
        event = latest_event(client, path)
        if status == "published":
            return model
        if status in ("failed", "building_failed"):
            reason = model.text("error_msg") or event or "no reason was given"
            raise ClientError(
                f"The model {_name(model)} was not accepted: {reason}",
                f"Correct the package and import it again; `modelyard model delete {model_id}` "
                "removes this one.",
            )
        wait.report(f"model {_name(model)}: {status}" + (f" · {event}" if event else ""))
        return None

    return wait.until(look, f"The import of model {model_id}")


def _name(model: Document) -> str:
    return f"{model.text('model_name')}:{model.text('model_version')}"


def wait_for_service(client: Client, service_id: str, goal: str, wait: Wait) -> Document:
    """Wait until the service's status is ``goal``. Raises ``ClientError`` if it failed.

    A batch service may have finished before a request could see it running.
    """
    goals = (goal, "finished") if goal == "running" else (goal,)
    path = f"/services/{service_id}"

    def look() -> Document | None:
        service = client.project("GET", path)
        status = service.text("status")
        if status in goals:
            return service
        event = latest_event(client, path)
        name = service.text("service_name")
        if status == "failed":
            reason = service.text("error_msg") or event or "no reason was given"
            raise ClientError(
                f"The service {name} failed: {reason}",
                f"`modelyard service events {name}` shows its history.",
            )
        wait.report(f"service {name}: {status}" + (f" · {event}" if event else ""))
        return None

    return wait.until(look, f"The service {service_id} becoming {goal}")


def wait_for_update(client: Client, service_id: str, update_time: str, wait: Wait) -> Document:
    """Wait until the update is in force. Raises ``ClientError`` if it was rolled back.

    ``update_time`` is the update's key (services.md §9.4); ``""`` means the newest one.
    """
    path = f"/services/{service_id}"

    def look() -> Document | None:
        query = {"update_time": update_time} if update_time else {}
        logs = client.project("GET", f"{path}/logs", query=query).parts("logs")
        result = logs[0].text("result") if logs else "SUCCESS"
        if result == "SUCCESS":
            return client.project("GET", path)
        event = latest_event(client, path)
        if result == "FAIL":
            raise ClientError(
                f"The update failed and was rolled back: {event or 'no reason was given'}",
                f"`modelyard service events {service_id}` shows its history.",
            )
        wait.report("update running" + (f" · {event}" if event else ""))
        return None

    return wait.until(look, f"The update of service {service_id}")


def wait_for_end(client: Client, service_id: str, wait: Wait) -> None:
    """Wait until a deleted service no longer exists."""

    def look() -> Document | None:
        try:
            service = client.project("GET", f"/services/{service_id}")
        except ApiFailure as failure:
            if failure.status == 404:
                return Document({})
            raise
        wait.report(f"service {service.text('service_name')}: {service.text('status')}")
        return None

    wait.until(look, f"The deletion of service {service_id}")
