"""Restore the gateway's traffic when a control plane starts, from records and live instances."""

from __future__ import annotations

from collections.abc import Mapping

from modelyard.clock import Clock
from modelyard.control.ports import Runtime
from modelyard.control.reconciler.traffic import traffic_of
from modelyard.domain.rollout.instance import InstanceReport, Phase
from modelyard.domain.rollout.observe import observe
from modelyard.domain.rollout.planner import present_split
from modelyard.domain.rollout.state import Observed
from modelyard.domain.service.traffic import ServiceTraffic
from modelyard.settings import Settings
from modelyard.store.database import Database
from modelyard.store.service.services import addressed_services
from modelyard.store.service.state import load_state
from modelyard.store.tables.service import Service


async def present_traffic(
    settings: Settings, database: Database, clock: Clock, runtime: Runtime
) -> list[ServiceTraffic]:
    """Return the traffic of every service as it was in force, without instances that died since.

    Without it a gateway that survived the control plane would lose all of its routes.
    """
    reports = {report.instance_id: report for report in await runtime.list()}
    async with database.read() as session:
        services = await addressed_services(session)
    return [await _traffic(settings, database, clock, service, reports) for service in services]


async def _traffic(
    settings: Settings,
    database: Database,
    clock: Clock,
    service: Service,
    reports: Mapping[str, InstanceReport],
) -> ServiceTraffic:
    if service.serving_revision is None:
        return ServiceTraffic(
            service.id, service.project_id, service.desired_revision, serving=False
        )
    now = clock.now_ms()
    async with database.read() as session:
        state = await load_state(session, service, now)
    seen = observe(state.instances, reports, now)
    split = present_split(state.desired, Observed(seen.alive), now)
    addresses = {
        report.instance_id: (report.host, report.port)
        for report in reports.values()
        if report.phase is Phase.READY and report.port
    }
    return traffic_of(state, split, addresses, settings)
