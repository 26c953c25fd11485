"""``modelyard batch``: run a model over files, rows or a manifest of the object store."""

from __future__ import annotations

from json import dumps as to_json
from typing import Annotated

import typer

from modelyard.cli.groups import command_group
from modelyard.cli.terminal.options import (
    DryRunOption,
    EnvOption,
    FlavorOption,
    HomeOption,
    JsonOption,
    NameArgument,
    ServiceArgument,
    TimeoutOption,
    WaitOption,
)
from modelyard.cli.terminal.output import note, say, show_json, show_table
from modelyard.cli.terminal.run_views import amount, last_task, show_run, watch_run
from modelyard.client.api_client import Client, connected
from modelyard.client.documents import Document, moment
from modelyard.client.failures import ClientError
from modelyard.client.names import build_config, find_service, parse_choice, read_envs, read_json

app = command_group("Run a model over stored files or rows.")

ModelOption = Annotated[
    str, typer.Option("--model", help="NAME:VERSION, NAME:VERSION=xCOUNT or a model's id.")
]
SourceOption = Annotated[
    str,
    typer.Option(
        "--source", help="What to read: obs://bucket/folder/, or one file that ends in .manifest."
    ),
]
TargetOption = Annotated[
    str, typer.Option("--target", help="Where the results go: obs://bucket/folder/.")
]
RuleOption = Annotated[
    str | None,
    typer.Option(
        "--rule",
        help="mapping_rule as JSON, or @FILE: one request per CSV row. Default: one per file.",
    ),
]
UriOption = Annotated[str, typer.Option("--uri", help="The url of the model's api.")]
TaskOption = Annotated[
    str | None, typer.Option("--task", help="The run's task_id. Default: the last run.")
]
_DAY_S = 86_400.0


def _body(
    client: Client,
    name: str,
    model: str,
    job: dict[str, object],
    flavor: str | None,
    env: list[str] | None,
) -> dict[str, object]:
    [entry] = build_config(client, [parse_choice(model)], flavor, read_envs(env or ()))
    del entry["weight"]
    return {"service_name": name, "infer_type": "batch", "config": [{**entry, **job}]}


def _job(source: str, target: str, rule: str | None, uri: str) -> dict[str, object]:
    job: dict[str, object] = {"src_path": source, "dest_path": target, "req_uri": uri}
    if source.partition("?")[0].endswith(".manifest"):
        job["src_type"] = "ManifestFile"
    if rule is None:
        return {**job, "mapping_type": "file"}
    return {**job, "mapping_type": "csv", "mapping_rule": read_json(rule, "--rule")}


@app.command()
def create(
    name: NameArgument,
    model: ModelOption,
    source: SourceOption,
    target: TargetOption,
    rule: RuleOption = None,
    uri: UriOption = "/",
    flavor: FlavorOption = None,
    env: EnvOption = None,
    dry_run: DryRunOption = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = _DAY_S,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Deploy a batch service; its first run starts at once."""
    with connected(home) as client:
        body = _body(client, name, model, _job(source, target, rule, uri), flavor, env)
        if dry_run:
            _show_preview(client.project("POST", "/services", body, {"dry_run": "true"}), json)
            return
        service_id = client.project("POST", "/services", body).text("service_id")
        if not wait:
            if json:
                show_json({"service_id": service_id})
            else:
                note(f"The batch service {name} ({service_id}) is being deployed.")
            return
        show_run(watch_run(client, service_id, None, timeout), json)


@app.command()
def preview(
    name: NameArgument,
    model: ModelOption,
    source: SourceOption,
    target: TargetOption,
    rule: RuleOption = None,
    uri: UriOption = "/",
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Count the input and show the first requests; the same as create --dry-run."""
    with connected(home) as client:
        body = _body(client, name, model, _job(source, target, rule, uri), None, None)
        _show_preview(client.project("POST", "/services", body, {"dry_run": "true"}), json)


def _show_preview(answer: Document, json: bool) -> None:
    if json:
        show_json(answer.raw)
        return
    found, output = answer.part("input"), answer.part("output")
    most = "" if found.raw.get("complete") else "more than "
    files = found.number("files")
    say(f"{found.text('source')}: {most}{files:,} file{'s' * (files != 1)}, {amount(found)}")
    for request in answer.parts("requests"):
        where = request.text("source")
        if "row" in request:
            where += f" row {request.text('row')}"
        if "error" in request:
            say(f"  {where}: {request.text('error')}")
            continue
        sent = request.raw.get("body", {key: request.text(key) for key in ("field", "filename")})
        shown = to_json(sent, ensure_ascii=False)
        say(f"  POST {request.text('path')} {shown}  ({where})")
    say(f"results below {output.text('results')}")
    say(f"manifest {output.text('manifest')}")


@app.command()
def show(
    service: ServiceArgument,
    task: TaskOption = None,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show the progress or the result of a run."""
    with connected(home) as client:
        service_id = find_service(client, service).text("service_id")
        task_id = task or last_task(client, service_id)
        show_run(client.project("GET", f"/services/{service_id}/runs/{task_id}"), json)


@app.command()
def runs(service: ServiceArgument, json: JsonOption = False, home: HomeOption = None) -> None:
    """List the runs of a batch service, newest first."""
    with connected(home) as client:
        service_id = find_service(client, service).text("service_id")
        found = list(client.pages(f"/services/{service_id}/runs", "runs", {}))
    if json:
        show_json({"count": len(found), "runs": [run.raw for run in found]})
        return
    show_table(
        ("TASK", "STATUS", "PROGRESS", "PROCESSED", "FAILED", "STARTED", "FINISHED", "RETRY OF"),
        [
            (
                run.text("task_id"),
                run.text("status"),
                f"{run.number('progress')} %",
                f"{run.number('processed'):,} {run.text('unit')}",
                f"{run.number('failed'):,}",
                _moment(run, "start_time"),
                _moment(run, "finished_time"),
                run.text("retry_of") or "-",
            )
            for run in found
        ],
        "No runs.",
    )


def _moment(run: Document, key: str) -> str:
    return moment(run.number(key)) if key in run else "-"


@app.command()
def watch(
    service: ServiceArgument,
    task: TaskOption = None,
    timeout: TimeoutOption = _DAY_S,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show a run's progress until it ends.

    The exit code is 1 unless the run has finished.
    """
    with connected(home) as client:
        service_id = find_service(client, service).text("service_id")
        show_run(watch_run(client, service_id, task, timeout), json)


@app.command("retry-failed")
def retry_failed(
    service: ServiceArgument,
    task: TaskOption = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = _DAY_S,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Compute the failures of a run again, and write the results of both runs."""
    with connected(home) as client:
        service_id = find_service(client, service).text("service_id")
        body = {"task_id": task} if task else {}
        client.project("POST", f"/services/{service_id}/retry-failed", body)
        task_id = last_task(client, service_id)
        if wait:
            show_run(watch_run(client, service_id, task_id, timeout), json)
        elif json:
            show_json({"task_id": task_id})
        else:
            note(f"Run {task_id} computes the failures again.")


@app.command()
def start(
    service: ServiceArgument,
    wait: WaitOption = True,
    timeout: TimeoutOption = _DAY_S,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Run the whole input again."""
    with connected(home) as client:
        found = find_service(client, service)
        if found.text("status") in ("running", "concerning", "deploying"):
            raise ClientError(
                f"A run of {service} is still going.",
                f"`modelyard batch watch {service}` shows it.",
            )
        service_id = found.text("service_id")
        client.project("PUT", f"/services/{service_id}", {"status": "running"})
        task_id = last_task(client, service_id)
        if wait:
            show_run(watch_run(client, service_id, task_id, timeout), json)
        elif json:
            show_json({"task_id": task_id})
        else:
            note(f"Run {task_id} has started.")
