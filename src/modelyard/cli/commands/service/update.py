"""``modelyard service update``: change a live service."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.cli.commands.service.config import VersionOptions, entries_of
from modelyard.cli.commands.service.views import show_answer, show_service
from modelyard.cli.terminal.change_preview import Terms, show_preview
from modelyard.cli.terminal.options import (
    TIMEOUT_S,
    ConfigOption,
    DescriptionOption,
    DryRunOption,
    EnvOption,
    FlavorOption,
    GraceOption,
    HomeOption,
    IfMatchOption,
    JsonOption,
    ModelsOption,
    PlanOption,
    ServiceArgument,
    StopAfterOption,
    SurgeOption,
    TimeoutOption,
    UnavailableOption,
    WaitOption,
)
from modelyard.cli.terminal.output import progress
from modelyard.cli.terminal.waits import Wait, wait_for_update
from modelyard.client.api_client import Client, connected
from modelyard.client.documents import Document
from modelyard.client.failures import ClientError
from modelyard.client.names import find_service, read_schedule


def update(
    service: ServiceArgument,
    model: ModelsOption = None,
    config: ConfigOption = None,
    flavor: FlavorOption = None,
    env: EnvOption = None,
    max_surge: SurgeOption = None,
    max_unavailable: UnavailableOption = None,
    grace: GraceOption = None,
    description: DescriptionOption = None,
    stop_after: StopAfterOption = None,
    dry_run: DryRunOption = False,
    plan: PlanOption = None,
    if_match: IfMatchOption = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = TIMEOUT_S,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Change a live service: versions, weights, counts, flavor, environment, schedule, limits."""
    options = VersionOptions(model, config, flavor, env, max_surge, max_unavailable, grace)
    with connected(home) as client:
        present = find_service(client, service)
        body = _body(client, present, options, description, stop_after)
        way = _Way(dry_run, Terms(plan, if_match), wait, timeout, json)
        _carry_out(client, service, present, body, way)


@dataclass(frozen=True, slots=True)
class _Way:
    """The options that say how the change is made."""

    dry_run: bool
    terms: Terms
    wait: bool
    timeout: float
    json: bool


def _body(
    client: Client,
    present: Document,
    options: VersionOptions,
    description: str | None,
    stop_after: str | None,
) -> dict[str, object]:
    """Raises ``ClientError`` when there is nothing to send."""
    body: dict[str, object] = {}
    entries = entries_of(client, options, present)
    if entries is not None:
        body["config"] = entries
    if description is not None:
        body["description"] = description
    if stop_after is not None:
        body["schedule"] = read_schedule(stop_after)
    if not body:
        raise ClientError(
            "No change was given.",
            "Use --model, --config, --flavor, --env, --max-surge, --max-unavailable, --grace, "
            "--description or --stop-after.",
        )
    return body


def _carry_out(
    client: Client, name: str, present: Document, body: dict[str, object], way: _Way
) -> None:
    service_id = present.text("service_id")
    path = f"/services/{service_id}"
    if way.dry_run:
        show_preview(client, "PUT", path, body, way.terms, json=way.json)
        return
    answer = client.project("PUT", path, body, way.terms.query, way.terms.headers)
    if not way.wait:
        show_answer(answer, f"The update of {name} was accepted.", way.json)
        return
    if "config" not in body or present.text("status") in ("stopped", "stopping"):
        show_service(client.project("GET", path), way.json)
        return
    with progress(f"updating {name}") as shown:
        wait_at_most = Wait(shown.update, way.timeout)
        done = wait_for_update(client, service_id, answer.text("update_time"), wait_at_most)
    show_service(done, way.json)
