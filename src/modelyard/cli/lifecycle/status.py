"""What of the platform runs; works with a dead control plane."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from modelyard.cli.lifecycle.parts import answers, find_parts
from modelyard.domain.rollout.instance import InstanceReport
from modelyard.processes import ProcessIdentity
from modelyard.runtime.composite import open_runtime
from modelyard.runtime.limits.instance_limits import InForce, read_in_force
from modelyard.settings import Settings


@dataclass(frozen=True, slots=True)
class PlatformStatus:
    """``answers``: the control plane answered through the gateway just now. ``limits``: what holds
    instances, as the control plane found it when it was started last.
    """

    address: str
    control_plane: ProcessIdentity | None
    gateway: ProcessIdentity | None
    answers: bool
    instances: tuple[InstanceReport, ...]
    limits: InForce

    @property
    def up(self) -> bool:
        return self.control_plane is not None and self.gateway is not None and self.answers

    def document(self) -> dict[str, object]:
        """The documented JSON form."""
        return {
            "address": self.address,
            "control_plane": _part(self.control_plane) | {"answers": self.answers},
            "gateway": _part(self.gateway),
            "limits": {
                "kind": self.limits.kind,
                "users": self.limits.users,
                "warnings": list(self.limits.warnings),
            },
            "instances": [
                {
                    "service_id": report.service_id,
                    "model_id": report.model_id,
                    "pid": report.pid,
                    "port": report.port,
                    "state": str(report.phase),
                    "instance_id": report.instance_id,
                    "message": report.message,
                }
                for report in self.instances
            ],
        }


def _part(process: ProcessIdentity | None) -> dict[str, object]:
    return {"pid": process.pid if process else None, "alive": process is not None}


def look(settings: Settings) -> PlatformStatus:
    """Look at records and processes; reads only."""
    parts = find_parts(settings)
    up = parts.control_plane is not None and parts.gateway is not None
    return PlatformStatus(
        address=settings.gateway.address,
        control_plane=parts.control_plane,
        gateway=parts.gateway,
        answers=up and answers(settings),
        instances=tuple(asyncio.run(_instances(settings))),
        limits=read_in_force(settings.layout.run_dir),
    )


async def _instances(settings: Settings) -> list[InstanceReport]:
    if not settings.layout.instances_dir.is_dir():
        return []
    runtime = open_runtime(settings.runtime, settings.layout)
    try:
        reports = await runtime.list()
    finally:
        await runtime.close()
    return sorted(reports, key=lambda report: (report.service_id, report.instance_id))
