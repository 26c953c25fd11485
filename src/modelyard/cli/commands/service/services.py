"""``modelyard service create|list|show|start|stop|delete|logs|events``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from modelyard.cli.commands.service.config import VersionOptions, entries_of
from modelyard.cli.commands.service.views import short_version, show_answer, show_service
from modelyard.cli.terminal.change_preview import Terms, show_preview
from modelyard.cli.terminal.options import (
    TIMEOUT_S,
    ConfigOption,
    DescriptionOption,
    DryRunOption,
    EnvOption,
    FlavorOption,
    HomeOption,
    JsonOption,
    ModelsOption,
    NameArgument,
    PlanOption,
    ServiceArgument,
    StopAfterOption,
    TimeoutOption,
    WaitOption,
)
from modelyard.cli.terminal.output import progress, show_json, show_table
from modelyard.cli.terminal.waits import Wait, wait_for_end, wait_for_service
from modelyard.client.api_client import Client, connected
from modelyard.client.documents import Document, moment
from modelyard.client.failures import ClientError
from modelyard.client.names import find_service, read_schedule


def create(
    name: NameArgument,
    model: ModelsOption = None,
    config: ConfigOption = None,
    flavor: FlavorOption = None,
    env: EnvOption = None,
    description: DescriptionOption = None,
    stop_after: StopAfterOption = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = TIMEOUT_S,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Deploy a real-time service with one or more model versions."""
    with connected(home) as client:
        entries = entries_of(client, VersionOptions(model, config, flavor, env))
        if entries is None:
            raise ClientError("No model was given.", "Use --model NAME:VERSION, or --config @FILE.")
        body: dict[str, object] = {
            "service_name": name,
            "infer_type": "real-time",
            "config": entries,
        }
        if description is not None:
            body["description"] = description
        if stop_after is not None:
            body["schedule"] = read_schedule(stop_after)
        answer = client.project("POST", "/services", body)
        service_id = answer.text("service_id")
        if not wait:
            show_answer(answer, f"The service {name} ({service_id}) is being deployed.", json)
            return
        with progress(f"deploying {name}") as shown:
            service = wait_for_service(client, service_id, "running", Wait(shown.update, timeout))
        show_service(service, json)


def list_services(
    name: Annotated[str | None, typer.Option(help="Part of the name.")] = None,
    status: Annotated[str | None, typer.Option(help="Only services in this status.")] = None,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """List the project's services, newest first."""
    query: dict[str, str | int] = {}
    if name is not None:
        query["service_name"] = name
    if status is not None:
        query["status"] = status
    with connected(home) as client:
        services = list(client.pages("/services", "services", query))
    if json:
        show_json({"count": len(services), "services": [service.raw for service in services]})
        return
    show_table(
        ("NAME", "ID", "STATUS", "DEPLOYED", "CALLS", "FAILED", "DESCRIPTION"),
        [
            (
                service.text("service_name"),
                service.text("service_id"),
                service.text("status"),
                moment(service.number("publish_at")),
                service.text("invocation_times"),
                service.text("failed_times"),
                service.text("description"),
            )
            for service in services
        ],
        "No services. `modelyard service create NAME --model MODEL:VERSION` deploys one.",
    )


def show(service: ServiceArgument, json: JsonOption = False, home: HomeOption = None) -> None:
    """Show one service."""
    with connected(home) as client:
        show_service(find_service(client, service), json)


def start(
    service: ServiceArgument,
    dry_run: DryRunOption = False,
    plan: PlanOption = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = TIMEOUT_S,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Start a stopped service."""
    with connected(home) as client:
        _change_status(client, service, "running", _Way(dry_run, plan, wait, timeout, json))


def stop(
    service: ServiceArgument,
    dry_run: DryRunOption = False,
    plan: PlanOption = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = TIMEOUT_S,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Stop a service; it keeps its configuration."""
    with connected(home) as client:
        _change_status(client, service, "stopped", _Way(dry_run, plan, wait, timeout, json))


@dataclass(frozen=True, slots=True)
class _Way:
    """The options that say how a status is changed."""

    dry_run: bool
    plan: str | None
    wait: bool
    timeout: float
    json: bool


def _change_status(client: Client, name: str, status: str, way: _Way) -> None:
    service_id = find_service(client, name).text("service_id")
    path, body = f"/services/{service_id}", {"status": status}
    if way.dry_run:
        show_preview(client, "PUT", path, body, Terms(way.plan), json=way.json)
        return
    answer = client.project("PUT", path, body, Terms(way.plan).query)
    if not way.wait:
        show_answer(answer, f"{name} will be {status}.", way.json)
        return
    with progress(f"waiting until {name} is {status}") as shown:
        service = wait_for_service(client, service_id, status, Wait(shown.update, way.timeout))
    show_service(service, way.json)


def delete(
    services: Annotated[list[str], typer.Argument(metavar="SERVICE...", help="Names or ids.")],
    wait: WaitOption = True,
    timeout: TimeoutOption = TIMEOUT_S,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Delete services and stop their instances."""
    with connected(home) as client:
        ids = [find_service(client, name).text("service_id") for name in services]
        answer = client.project("DELETE", f"/services/{','.join(ids)}")
        if wait:
            with progress(f"deleting {', '.join(services)}") as shown:
                for service_id in ids:
                    wait_for_end(client, service_id, Wait(shown.update, timeout))
        show_answer(answer, f"Deleted: {', '.join(services)}.", json)


def logs(service: ServiceArgument, json: JsonOption = False, home: HomeOption = None) -> None:
    """Show the service's updates and their results, newest first."""
    with connected(home) as client:
        service_id = find_service(client, service).text("service_id")
        answer = client.project("GET", f"/services/{service_id}/logs")
    if json:
        show_json(answer.raw)
        return
    show_table(
        ("UPDATE", "AT", "RESULT", "CONFIG", "PREDICTIONS MEANWHILE"),
        [
            (
                log.text("update_time"),
                moment(log.number("update_time")),
                log.text("result"),
                ", ".join(short_version(entry) for entry in log.parts("config")),
                _meanwhile(log.part("report")),
            )
            for log in answer.parts("logs")
        ],
        "No updates so far.",
    )


def _meanwhile(report: Document) -> str:
    """The result of an update's report, which appears a moment after the update has ended."""
    verdict = report.text("verdict")
    return f"{report.number('requests'):,}, {verdict}" if verdict else "-"


def events(
    service: ServiceArgument,
    kind: Annotated[
        str | None, typer.Option("--type", help="Only `normal` or only `abnormal` events.")
    ] = None,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show what happened to the service, newest first."""
    query: dict[str, str | int] = {} if kind is None else {"event_type": kind}
    with connected(home) as client:
        service_id = find_service(client, service).text("service_id")
        found = list(client.pages(f"/services/{service_id}/events", "events", query))
    if json:
        show_json({"count": len(found), "events": [event.raw for event in found]})
        return
    show_table(
        ("AT", "TYPE", "EVENT"),
        [
            (
                moment(event.number("occur_time")),
                event.text("event_type"),
                event.text("event_info"),
            )
            for event in found
        ],
        "No events.",
    )
