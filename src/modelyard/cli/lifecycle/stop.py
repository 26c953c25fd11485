"""Taking the platform down: control plane, instances, gateway; none left."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from modelyard.batch.supervision import end_all as end_drivers
from modelyard.cli.lifecycle.parts import control_plane_record, find_parts, gateway_record
from modelyard.cli.lifecycle.wanted import exclusive, forget_wanted
from modelyard.domain.rollout.instance import InstanceReport, Phase
from modelyard.processes import ProcessIdentity, kill_group, reap, send, wait_gone
from modelyard.runtime.composite import CompositeRuntime, open_runtime
from modelyard.runtime.limits.instance_limits import take_away
from modelyard.runtime.local.zygotes import end_all as end_zygotes
from modelyard.settings import Settings

_POLL_S = 0.05
_KILLED_WITHIN_S = 10.0

Say = Callable[[str], None]


def take_down(settings: Settings, say: Say, grace_s: float) -> bool:
    """End every process of the platform; False when none ran.

    Each is asked first and killed after ``grace_s`` seconds. Raises ``ClientError`` when another
    ``up`` or ``down`` holds the home.
    """
    if not settings.layout.run_dir.is_dir():
        return False
    with exclusive(settings):
        # From here on no watcher starts the control plane again.
        forget_wanted(settings)
        return asyncio.run(_end_all(settings, say, grace_s))


async def _end_all(settings: Settings, say: Say, grace_s: float) -> bool:
    parts = find_parts(settings)
    ran = False
    if parts.control_plane is not None:
        ran = True
        say(f"stopping the control plane (pid {parts.control_plane.pid})")
        await _end(parts.control_plane, grace_s)
    control_plane_record(settings).unlink(missing_ok=True)
    # Read again: the control plane may just have replaced a dead gateway.
    gateway = find_parts(settings).gateway
    if gateway is not None:
        ran = True
        say(f"stopping the gateway (pid {gateway.pid})")
        await _drain_gateway(settings, grace_s)
    # While their instances still answer, so that little has to be computed again.
    drivers = await end_drivers(settings.layout.runs_dir, grace_s)
    if drivers:
        say(f"stopped {drivers} batch run{'s' * (drivers != 1)}: the next up goes on with them")
    # Before the gateway ends, so that those who have a WebSocket hear of it.
    stopped = await _end_instances(settings, say, grace_s)
    if gateway is not None:
        await _end_gateway(settings)
    gateway_record(settings).unlink(missing_ok=True)
    await end_zygotes(settings.layout.sockets_dir)
    take_away(settings.layout.run_dir)
    settings.layout.forget_sockets()
    return ran or stopped > 0 or drivers > 0


async def _end(process: ProcessIdentity, grace_s: float) -> None:
    send(process, signal.SIGTERM)
    if not await wait_gone(process, grace_s):
        kill_group(process)
        await wait_gone(process, _KILLED_WITHIN_S)
    reap(process.pid)


async def _drain_gateway(settings: Settings, grace_s: float) -> None:
    """Let it answer what it has taken on; the instances are still there to compute it."""
    # Imported here: Envoy's messages take long to load, and every command would wait for them.
    from modelyard.gateway.envoy import EnvoyProcess

    await EnvoyProcess(settings.gateway, settings.layout).drain(grace_s)


async def _end_gateway(settings: Settings) -> None:
    from modelyard.gateway.envoy import EnvoyProcess

    await EnvoyProcess(settings.gateway, settings.layout).end(0)


async def _end_instances(settings: Settings, say: Say, grace_s: float) -> int:
    runtime = open_runtime(settings.runtime, settings.layout)
    try:
        reports = await runtime.list()
        if reports:
            await _drain(runtime, reports, say, grace_s)
            await asyncio.gather(*(runtime.stop(report.instance_id) for report in reports))
        return len(reports)
    finally:
        await runtime.close()


async def _drain(
    runtime: CompositeRuntime, reports: list[InstanceReport], say: Say, grace_s: float
) -> None:
    """Ask all to finish what they compute; returns when they have, or after ``grace_s``."""
    await asyncio.gather(*(runtime.drain(report.instance_id) for report in reports))
    deadline = asyncio.get_running_loop().time() + grace_s
    left = reports
    while left and asyncio.get_running_loop().time() < deadline:
        say(f"draining {_count(left)}")
        await asyncio.sleep(_POLL_S)
        left = [report for report in left if await _runs(runtime, report.instance_id)]


async def _runs(runtime: CompositeRuntime, instance_id: str) -> bool:
    report = await runtime.probe(instance_id)
    return report is not None and report.phase is not Phase.GONE


def _count(reports: list[InstanceReport]) -> str:
    return "1 instance" if len(reports) == 1 else f"{len(reports)} instances"
