"""Bringing the platform up: whatever part is dead is started, what runs is left alone."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelyard.cli.lifecycle.parts import (
    Parts,
    answers,
    control_plane_log,
    control_plane_record,
    find_parts,
    last_lines,
    port_is_free,
)
from modelyard.cli.lifecycle.wanted import LifecycleTarget, exclusive, read_wanted, write_wanted
from modelyard.client.failures import ClientError
from modelyard.processes import (
    ProcessIdentity,
    alive,
    read_record,
    reap,
    spawn_detached,
    write_record,
)
from modelyard.settings import Settings

_POLL_S = 0.1

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Started:
    """How ``up`` found things: ``started`` is False when all ran already."""

    control_plane: ProcessIdentity
    started: bool


class StartFailed(ClientError):
    """It was started but does not answer. ``fresh``: nothing of the platform ran before."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.fresh = False


def bring_up(settings: Settings, say: Say, timeout_s: float) -> Started:
    """Start every part of the platform that does not run, and wait until it answers.

    ``say`` gets a sentence about each step. Raises ``StartFailed`` if the platform does not answer
    within ``timeout_s`` seconds or the control plane ends early, with the end of its log, and
    ``ClientError`` if the port is taken or the platform runs with other settings.
    """
    try:
        settings.layout.prepare_home()
    except OSError as error:
        raise ClientError(
            f"The home {settings.home} cannot be used: {error}.",
            "Name another folder with --home or MODELYARD_HOME.",
        ) from error
    wanted = LifecycleTarget.of(settings)
    with exclusive(settings):
        _refuse_other_settings(settings, find_parts(settings), wanted)
        return _start(settings, wanted, say, timeout_s)


def bring_back(settings: Settings, say: Say, timeout_s: float) -> Started | None:
    """As ``bring_up`` for a watcher: None when the platform was taken down meanwhile."""
    with exclusive(settings):
        wanted = read_wanted(settings)
        return None if wanted is None else _start(settings, wanted, say, timeout_s)


def _start(settings: Settings, wanted: LifecycleTarget, say: Say, timeout_s: float) -> Started:
    parts = find_parts(settings)
    fresh = parts.control_plane is None and parts.gateway is None
    if fresh:
        _refuse_taken_port(settings)
    write_wanted(settings, wanted)
    log_starts_at = _size(settings)
    process = parts.control_plane
    if process is None:
        say("starting the control plane")
        process = spawn_control_plane(settings, wanted)
    try:
        _wait_for_answer(settings, process, say, timeout_s, log_starts_at)
    except StartFailed as failure:
        failure.fresh = fresh
        raise
    return Started(process, started=parts.control_plane is None or parts.gateway is None)


def spawn_control_plane(settings: Settings, wanted: LifecycleTarget) -> ProcessIdentity:
    """Start the control plane in a session of its own and leave its record.

    Raises ``ClientError`` when no process can be made.
    """
    try:
        process = spawn_detached(
            [sys.executable, "-m", "modelyard.composition"],
            env={**os.environ, **wanted.environment(settings.home), "PYTHONUNBUFFERED": "1"},
            cwd=settings.home,
            log=control_plane_log(settings),
        )
    except OSError as error:
        raise ClientError(
            f"The control plane cannot be started: {error}.", "Check memory and process limits."
        ) from error
    # It writes its own record soon; until then nobody may start a second one.
    record = control_plane_record(settings)
    if read_record(record) is None:
        write_record(record, process)
    return process


def _refuse_other_settings(settings: Settings, parts: Parts, wanted: LifecycleTarget) -> None:
    running = read_wanted(settings)
    if running is None or (parts.control_plane is None and parts.gateway is None):
        return
    difference = running.difference(wanted)
    if difference:
        raise ClientError(
            f"The platform in {settings.home} runs with other settings ({difference}).",
            "Run `modelyard down` first to change them, or take another --home.",
        )


def _refuse_taken_port(settings: Settings) -> None:
    if not port_is_free(settings):
        raise ClientError(
            f"Port {settings.gateway.port} on {settings.gateway.host} is taken by another program.",
            "Stop that program, or choose a port with --port or MODELYARD_PORT.",
        )


def _size(settings: Settings) -> int:
    try:
        return control_plane_log(settings).stat().st_size
    except OSError:
        return 0


def _wait_for_answer(
    settings: Settings, process: ProcessIdentity, say: Say, timeout_s: float, log_starts_at: int
) -> None:
    log = control_plane_log(settings)
    deadline = time.monotonic() + timeout_s
    while True:
        reap(process.pid)
        if not alive(process):
            raise StartFailed(
                "The control plane ended before it answered.", _last_words(log, log_starts_at)
            )
        parts = find_parts(settings)
        if parts.gateway is None:
            say("waiting for the gateway")
        elif answers(settings):
            return
        else:
            say(f"waiting for an answer at {settings.gateway.address}")
        if time.monotonic() >= deadline:
            raise StartFailed(
                f"The platform does not answer at {settings.gateway.address} "
                f"after {timeout_s:.0f} s.",
                _last_words(log, log_starts_at),
            )
        time.sleep(_POLL_S)


def _last_words(path: Path, since: int) -> str:
    lines = last_lines(path, since=since)
    return f"The end of {path}:\n{lines}" if lines else f"Its log is {path}."
