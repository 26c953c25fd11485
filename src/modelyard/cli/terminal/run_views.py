"""Show a run of a batch service, once or until it ends."""

from __future__ import annotations

from modelyard.cli.terminal.output import progress, show_facts, show_json
from modelyard.cli.terminal.waits import Wait
from modelyard.client.api_client import Client
from modelyard.client.documents import Document, moment
from modelyard.client.failures import ClientError

_OVER = ("finished", "failed", "stopped", "replaced")
_UNITS = ("bytes", "KB", "MB", "GB", "TB")


def last_task(client: Client, service_id: str) -> str:
    """The task id of the newest run. Raises ``ClientError`` when there is none."""
    answer = client.project("GET", f"/services/{service_id}/runs", query={"limit": 1})
    found = answer.parts("runs")
    if not found:
        raise ClientError("The service has had no run.")
    return found[0].text("task_id")


def watch_run(client: Client, service_id: str, task_id: str | None, timeout_s: float) -> Document:
    """Show the progress of a run (by default the last one) until it ends; returns the run.

    Raises ``ClientError`` unless it has finished.
    """
    chosen = task_id or last_task(client, service_id)
    path = f"/services/{service_id}/runs/{chosen}"
    with progress(f"run {chosen}") as shown:

        def look() -> Document | None:
            run = client.project("GET", path)
            if run.text("status") in _OVER:
                return run
            shown.update(_how_far(run))
            return None

        done = Wait(shown.update, timeout_s).until(look, f"The run {chosen}")
    if done.text("status") == "finished":
        return done
    reason = done.text("error_msg") or "no reason was given"
    raise ClientError(
        f"The run {chosen} was not finished but {done.text('status')}: {reason}",
        f"`modelyard service events {service_id}` shows its history.",
    )


def _how_far(run: Document) -> str:
    if run.text("status") == "waiting":
        return "waiting for instances"
    if not run.raw.get("listed"):
        return f"listing the input: {run.part('files').number('total'):,} files so far"
    progress = (
        f"{run.number('progress')} %: {run.number('processed'):,} {run.text('unit')}, "
        f"{run.number('failed'):,} failed, {run.raw.get('rate', 0):,} per second"
    )
    left = run.raw.get("seconds_left")
    if isinstance(left, int | float):
        progress += f", {_duration(left)} left"
    return " · ".join(part for part in (progress, run.text("message")) if part)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def show_run(run: Document, json: bool) -> None:
    """Print one run on stdout."""
    if json:
        show_json(run.raw)
        return
    rate = f"{run.raw.get('rate', 0):,} {run.text('unit')} per second"
    show_facts(
        {
            "task": run.text("task_id"),
            "status": run.text("status"),
            "error": run.text("error_msg"),
            "retry of": run.text("retry_of"),
            "progress": f"{run.number('progress')} %",
            "processed": f"{run.number('processed'):,} {run.text('unit')}",
            "failed": f"{run.number('failed'):,}",
            "speed": rate if run.text("status") == "running" else "",
            "started": moment(run.number("start_time")) if "start_time" in run else "",
            "finished": moment(run.number("finished_time")) if "finished_time" in run else "",
            "manifest": ", ".join(run.texts("manifests")),
            "failures": run.text("quarantine"),
        }
    )


def amount(found: Document) -> str:
    """Format ``bytes`` of a document with a suitable unit."""
    size, unit = float(found.number("bytes")), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:,.0f} {_UNITS[unit]}" if unit == 0 else f"{size:,.1f} {_UNITS[unit]}"
