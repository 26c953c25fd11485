"""``modelyard up`` in the foreground: keep the control plane alive until told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from modelyard.cli.lifecycle.parts import control_plane_log, last_lines
from modelyard.cli.lifecycle.start import bring_back
from modelyard.cli.lifecycle.wanted import read_wanted
from modelyard.client.failures import ClientError
from modelyard.processes import ProcessIdentity, watch_exit
from modelyard.settings import Settings
from modelyard_instance.backoff import delay

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 15.0
_STEADY_S = 60.0

Say = Callable[[str], None]


def keep_up(settings: Settings, process: ProcessIdentity, say: Say, timeout_s: float) -> bool:
    """Start the control plane again whenever it dies; returns on a signal or a ``down``.

    True when a signal (Ctrl-C, SIGTERM, SIGHUP) ended it and the platform still runs; False when
    someone else took the platform down.
    """
    return asyncio.run(_keep_up(settings, process, say, timeout_s))


async def _keep_up(
    settings: Settings, process: ProcessIdentity, say: Say, timeout_s: float
) -> bool:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, told.set)
    deaths = 0
    while True:
        began = loop.time()
        if await _ended_or_told(process, told):
            return True
        if read_wanted(settings) is None:
            return False
        deaths = 1 if loop.time() - began > _STEADY_S else deaths + 1
        say("The control plane died; predictions go on. Its last words:")
        say(last_lines(control_plane_log(settings), count=3) or "(none)")
        if await _told_within(told, delay(deaths, _FIRST_PAUSE_S, _LONGEST_PAUSE_S)):
            return True
        back = await _again(settings, say, timeout_s)
        if back is not None:
            process = back


async def _again(settings: Settings, say: Say, timeout_s: float) -> ProcessIdentity | None:
    """The new control plane; None when none could be started, or none is wanted any more."""
    try:
        started = await asyncio.to_thread(bring_back, settings, lambda _: None, timeout_s)
    except ClientError as failure:
        say(failure.sentence())
        return None
    if started is None:
        return None
    say(f"The control plane runs again (pid {started.control_plane.pid}).")
    return started.control_plane


async def _ended_or_told(process: ProcessIdentity, told: asyncio.Event) -> bool:
    """Wait; True when told to stop, False when the process ended first."""
    ended = asyncio.Event()
    forget = watch_exit(process, ended.set)
    waits = [asyncio.create_task(event.wait()) for event in (told, ended)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        forget()
        for wait in waits:
            wait.cancel()
    return told.is_set()


async def _told_within(told: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(told.wait(), seconds)
    except TimeoutError:
        return False
    return True
