"""``modelyard up``, ``down`` and ``status``: the platform on this machine."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from modelyard.cli.lifecycle.settings import started_settings
from modelyard.cli.lifecycle.start import Say, Started, StartFailed, bring_up
from modelyard.cli.lifecycle.status import PlatformStatus, look
from modelyard.cli.lifecycle.stop import take_down
from modelyard.cli.lifecycle.watch import keep_up
from modelyard.cli.terminal.options import HomeOption, JsonOption
from modelyard.cli.terminal.output import note, progress, say, show_facts, show_json, show_table
from modelyard.settings import Settings

START_LIMIT_S = 60.0
NOT_UP = 3
"""Exit code of ``status`` when the platform is not (wholly) up."""


def up(
    home: HomeOption = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. [env: MODELYARD_HOST; 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="The one public port. [env: MODELYARD_PORT; 8700]")
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(help="SQLAlchemy URL. [env: MODELYARD_DATABASE_URL; SQLite in the home]"),
    ] = None,
    object_store: Annotated[
        str | None,
        typer.Option(help="Folder or S3 endpoint. [env: MODELYARD_OBJECT_STORE; a folder there]"),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return as soon as the platform answers.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1, help="Longest start, in seconds.")
    ] = START_LIMIT_S,
) -> None:
    """Start the platform; Ctrl-C stops all of it, unless --detach was given."""
    settings = started_settings(
        home, host=host, port=port, database_url=database_url, object_store=object_store
    )
    if detach:
        _start(settings, home, timeout)
        return
    with _interrupted_by_any_signal():
        try:
            started = _start(settings, home, timeout)
            note("Ctrl-C stops it.")
            interrupted = keep_up(settings, started.control_plane, note, timeout)
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        _stop(settings, settings.rollout.drain_grace)
    else:
        note("Another command stopped Modelyard.")


def _start(settings: Settings, home: Path | None, timeout: float) -> Started:
    with progress(f"starting Modelyard at {settings.gateway.address}") as shown:
        started = start_detached(settings, shown.update, timeout)
    say("Modelyard is up." if started.started else "Modelyard is already up.")
    show_facts(
        {
            "address": settings.gateway.address,
            "credentials": str(settings.layout.credentials_file),
            "logs": str(settings.layout.logs_dir),
            "try": _next_command(home),
        }
    )
    return started


def start_detached(settings: Settings, say_so: Say, timeout: float = START_LIMIT_S) -> Started:
    """Start the platform; if nothing ran before and the start fails, stop all of it again.

    Raises ``ClientError``.
    """
    try:
        return bring_up(settings, say_so, timeout)
    except StartFailed as failure:
        if failure.fresh:
            # Half a platform serves nothing, and holds the port.
            take_down(settings, lambda _: None, grace_s=5.0)
        raise


@contextmanager
def _interrupted_by_any_signal() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP like Ctrl-C."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    yield


def _next_command(home: Path | None) -> str:
    return "modelyard quickstart" + (f" --home {home}" if home is not None else "")


def down(
    home: HomeOption = None,
    grace: Annotated[
        float | None, typer.Option(min=0, help="Longest wait for each process, in seconds.")
    ] = None,
) -> None:
    """Stop the platform: control plane, gateway and every instance."""
    settings = started_settings(home)
    _stop(settings, settings.rollout.drain_grace if grace is None else grace)


def _stop(settings: Settings, grace: float) -> None:
    with progress("stopping Modelyard") as shown:
        try:
            ran = take_down(settings, shown.update, grace)
        except KeyboardInterrupt:
            shown.update("stopping at once")
            ran = take_down(settings, shown.update, grace_s=0.0) or True
    note("Modelyard is down." if ran else f"Nothing of Modelyard runs in {settings.home}.")


def status(home: HomeOption = None, json: JsonOption = False) -> None:
    """Show what runs.

    The exit code is 0 if the platform is up, and 3 otherwise.
    """
    found = look(started_settings(home))
    if json:
        show_json(found.document())
    else:
        _show_status(found)
    if not found.up:
        raise typer.Exit(NOT_UP)


def _show_status(found: PlatformStatus) -> None:
    def state(pid: int | None) -> str:
        return f"running, pid {pid}" if pid is not None else "not running"

    control_plane = state(found.control_plane.pid if found.control_plane else None)
    if found.control_plane and not found.answers:
        control_plane += ", does not answer"
    show_facts(
        {
            "address": found.address,
            "control plane": control_plane,
            "gateway": state(found.gateway.pid if found.gateway else None),
            "limits": found.limits.sentence(),
        }
    )
    for warning in found.limits.warnings:
        note(f"Limits: {warning}.")
    show_table(
        ("SERVICE ID", "MODEL ID", "PID", "PORT", "STATE", "MESSAGE"),
        [
            (
                report.service_id,
                report.model_id,
                str(report.pid or "-"),
                str(report.port or "-"),
                str(report.phase),
                report.message,
            )
            for report in found.instances
        ],
        "No instances.",
    )
    if not found.up:
        note("The platform is not up. `modelyard up --detach` starts what is missing.")
