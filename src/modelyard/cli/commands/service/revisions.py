"""``modelyard service revisions|compare|rollback|served|request``: a service's history."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from modelyard.cli.commands.service.views import short_version
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
from modelyard.cli.terminal.output import note, progress, show_facts, show_json, show_table
from modelyard.cli.terminal.waits import Wait, wait_for_update
from modelyard.client.api_client import connected
from modelyard.client.documents import Document, moment
from modelyard.client.names import find_service


def revisions(service: ServiceArgument, json: JsonOption = False, home: HomeOption = None) -> None:
    """List the revisions of the service's configuration, newest first."""
    with connected(home) as client:
        service_id = find_service(client, service).text("service_id")
        found = list(client.pages(f"/services/{service_id}/revisions", "revisions"))
    if json:
        show_json({"count": len(found), "revisions": [one.raw for one in found]})
        return
    show_table(
        ("REVISION", "AT", "RESULT", "CONFIG", "NOTE"),
        [
            (
                one.text("number"),
                moment(one.number("created_at")),
                one.text("result") or "created",
                ", ".join(short_version(entry) for entry in one.parts("config")),
                _remark(one),
            )
            for one in found
        ],
        "No revisions.",
    )


def _remark(revision: Document) -> str:
    origin = f"brings back {revision.text('origin')}" if "origin" in revision else ""
    return ": ".join(part for part in (origin, revision.text("reason")) if part)


def compare(
    service: ServiceArgument,
    old: Annotated[int, typer.Argument(metavar="FROM", min=1, help="A revision's number.")],
    new: Annotated[int, typer.Argument(metavar="TO", min=1, help="Another revision's number.")],
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show the differences of two revisions, and their effects on instances."""
    with connected(home) as client:
        service_id = find_service(client, service).text("service_id")
        path = f"/services/{service_id}/revisions/compare"
        answer = client.project("GET", path, query={"from": old, "to": new})
    if json:
        show_json(answer.raw)
        return
    show_table(
        ("FIELD", "BEFORE", "AFTER", "EFFECT"),
        [
            (
                change.text("field"),
                change.text("before") or "-",
                change.text("after") or "-",
                change.text("effect"),
            )
            for change in answer.parts("changes")
        ],
        "Nothing differs.",
    )


def rollback(
    service: ServiceArgument,
    revision: Annotated[int, typer.Argument(min=1, help="The revision to apply.")],
    dry_run: DryRunOption = False,
    plan: PlanOption = None,
    if_match: IfMatchOption = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = TIMEOUT_S,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Apply the configuration of an earlier revision, as a new revision."""
    with connected(home) as client:
        present = find_service(client, service)
        service_id = present.text("service_id")
        path = f"/services/{service_id}/revisions/{revision}/rollback"
        terms = Terms(plan, if_match)
        if dry_run:
            show_preview(client, "POST", path, terms=terms, json=json)
            return
        answer = client.project("POST", path, query=terms.query, headers=terms.headers)
        if wait and present.text("status") not in ("stopped", "stopping"):
            with progress(f"bringing revision {revision} of {service} back") as shown:
                wait_at_most = Wait(shown.update, timeout)
                wait_for_update(client, service_id, answer.text("update_time"), wait_at_most)
    if json:
        show_json(answer.raw)
    else:
        note(f"Revision {revision} of {service} is {'back' if wait else 'coming back'}.")


def served(
    service: ServiceArgument,
    at: Annotated[
        str,
        typer.Argument(
            help="ISO 8601 such as 2026-03-01T14:03:00+01:00, UTC without a zone; or milliseconds."
        ),
    ],
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show which revision served predictions at a given time."""
    with connected(home) as client:
        service_id = find_service(client, service).text("service_id")
        answer = client.project("GET", f"/services/{service_id}/served", query={"at": at})
    if json:
        show_json(answer.raw)
        return
    show_table(
        ("REVISION", "SINCE", "UNTIL", "CONFIG"),
        [
            (
                answer.text("revision"),
                moment(answer.number("since")),
                moment(answer.number("until")) if answer.text("until") else "now",
                ", ".join(short_version(entry) for entry in answer.parts("config")),
            )
        ]
        if answer.text("revision")
        else [],
        "Nothing served then.",
    )


def request(
    service: ServiceArgument,
    request_id: Annotated[
        str, typer.Argument(help="`X-Request-Id` of a prediction's answer; `curl -i` shows it.")
    ],
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show which revision, version and instance answered a prediction.

    The request log keeps a prediction for some time.
    """
    with connected(home) as client:
        service_id = find_service(client, service).text("service_id")
        answer = client.project("GET", f"/services/{service_id}/requests/{quote(request_id, '')}")
    if json:
        show_json(answer.raw)
        return
    show_facts(
        {
            "at": moment(answer.number("at")),
            "status": answer.text("status"),
            "took": f"{answer.text('duration_ms')} ms",
            "flags": ", ".join(answer.texts("flags")),
            "attempts": answer.text("attempts"),
            "revision": answer.text("revision"),
            "version": f"{answer.text('model_name')}:{answer.text('model_version')}",
            "variant": answer.text("variant"),
            "instance": answer.text("instance_id"),
        }
    )
