"""``modelyard service patch`` and ``tag``: changes of single values."""

from __future__ import annotations

import json as codec
from typing import Annotated

import typer

from modelyard.cli.terminal.change_preview import Terms, show_preview
from modelyard.cli.terminal.options import (
    TIMEOUT_S,
    DryRunOption,
    HomeOption,
    IfMatchOption,
    JsonOption,
    PlanOption,
    ServiceArgument,
    TimeoutOption,
    WaitOption,
)
from modelyard.cli.terminal.output import note, progress, show_json, show_table
from modelyard.cli.terminal.waits import Wait, wait_for_update
from modelyard.client.api_client import connected
from modelyard.client.failures import ClientError
from modelyard.client.names import find_service


def patch(
    service: ServiceArgument,
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="POINTER=VALUE...", help="For example /config/0/weight=30 /config/1/weight=70."
        ),
    ],
    dry_run: DryRunOption = False,
    plan: PlanOption = None,
    if_match: IfMatchOption = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = TIMEOUT_S,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Replace single values of the configuration, which JSON pointers name."""
    operations = [_operation(text) for text in changes]
    with connected(home) as client:
        present = find_service(client, service)
        service_id = present.text("service_id")
        path, terms = f"/services/{service_id}", Terms(plan, if_match)
        if dry_run:
            show_preview(client, "PATCH", path, operations, terms, json=json)
            return
        answer = client.project("PATCH", path, operations, terms.query, terms.headers)
        if wait and present.text("status") not in ("stopped", "stopping"):
            with progress(f"updating {service}") as shown:
                wait_at_most = Wait(shown.update, timeout)
                wait_for_update(client, service_id, answer.text("update_time"), wait_at_most)
    if json:
        show_json(answer.raw)
    else:
        note(f"{service} is {'updated' if wait else 'being updated'}.")


def _operation(text: str) -> dict[str, object]:
    """Raises ``ClientError`` for what is no pointer and value."""
    path, equals, value = text.partition("=")
    if not equals or not path.startswith("/"):
        raise ClientError(f"{text!r} names no change.", "Write /config/0/weight=30.")
    try:
        return {"op": "replace", "path": path, "value": codec.loads(value)}
    except ValueError:
        return {"op": "replace", "path": path, "value": value}


def tag(
    service: ServiceArgument,
    tags: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE...]", help="Tags to set; KEY alone has no value."),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", help="A key to remove; repeat it for more.")
    ] = None,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Set and remove tags, and show all tags of the service."""
    put = [dict(zip(("key", "value"), text.split("=", 1), strict=False)) for text in tags or ()]
    with connected(home) as client:
        service_id = find_service(client, service).text("service_id")
        if remove:
            gone = {"tags": [{"key": key} for key in remove]}
            client.project("DELETE", f"/services/{service_id}/tags/delete", gone)
        if put:
            client.project("POST", f"/services/{service_id}/tags/create", {"tags": put})
        shown = client.project("GET", f"/services/{service_id}")
    if json:
        show_json({"tags": shown.raw.get("tags", [])})
        return
    show_table(
        ("KEY", "VALUE"),
        [(one.text("key"), one.text("value")) for one in shown.parts("tags")],
        "No tags.",
    )
