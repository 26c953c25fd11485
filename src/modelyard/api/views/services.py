"""Services as the API shows them (services.md §9); pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.api.views import batch
from modelyard.api.views.versions import config_item, version_status
from modelyard.domain.admission.not_in_force import Pending, ServiceSettings, pending
from modelyard.domain.admission.websocket_upgrade import takes_websockets
from modelyard.domain.service.batch_job import BATCH
from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.lifecycle import Status
from modelyard.domain.service.traffic import LoadBalancerPolicy
from modelyard.iam.claims import Claims
from modelyard.store.tables.batch import BatchRun
from modelyard.store.tables.model import Model
from modelyard.store.tables.service import Event, Instance, Service, UpdateLog

Json = dict[str, Any]
Counts = Mapping[tuple[str, str], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest run of a batch service, with the configuration that it began with."""

    run: BatchRun
    version: VersionConfig | None


@dataclass(frozen=True, slots=True)
class Details:
    """A service with what belongs to it. ``config`` is the configuration in force."""

    service: Service
    config: Sequence[VersionConfig]
    policy: LoadBalancerPolicy
    models: Mapping[str, Model]
    instances: Sequence[Instance]
    counts: Counts
    last_run: LastRun | None = None


def service_summary(
    service: Service, claims: Claims, counts: Counts, last_run: LastRun | None = None
) -> Json:
    """An element of the list (services.md §9.1).

    ``progress`` of a batch service is that of its last run, once the service has been deployed.
    """
    body: Json = {
        "service_id": service.id,
        "service_name": service.name,
        "description": service.description,
        "infer_type": service.infer_type,
        "status": service.status,
        "owner": service.owner,
        "tenant": service.tenant,
        "project": claims.project_name or service.project_id,
        "workspace_id": service.workspace_id,
        "publish_at": service.publish_at,
        "transition_at": service.transition_at,
        "operation_time": service.operation_time,
        **_counters(service, _totals(service.id, counts)),
        "is_shared": False,
        "shared_count": 0,
        "is_free": False,
        "is_opened_sample_collection": "false",
    }
    if service.status == Status.DEPLOYING.value:
        body["progress"] = service.progress
    elif last_run is not None:
        body["progress"] = batch.progress_of(last_run.run, batch.mapping_of(last_run.version))
    body |= batch.times(last_run.run if last_run else None)
    if service.due_time is not None:
        body["due_time"] = service.due_time
    if service.schedule is not None:
        body["schedule"] = [service.schedule]
    if service.additional_properties is not None:
        body["additional_properties"] = service.additional_properties
    return body


def service_details(details: Details, claims: Claims, address: str) -> Json:
    """One service (services.md §9.2).

    Ours are ``revision`` (wanted, serving, live), ``service_secrets`` as they were sent, and
    ``pending``: what was accepted but is not in force here, each with its reason. Both are left out
    when there is nothing to tell.
    """
    service = details.service
    body = service_summary(service, claims, details.counts, details.last_run)
    for key in ("is_opened_sample_collection", "start_time", "finished_time"):
        body.pop(key, None)
    if service.infer_type != BATCH:
        body["load_balancer_policy"] = details.policy.value
        body["access_address"] = f"{address}/v1/infers/{service.id}"
    body |= {
        "update_time": service.update_time,
        "priority": service.priority,
        "config": [_version(details, version) for version in details.config],
        "revision": {
            "desired": service.desired_revision,
            "serving": service.serving_revision,
            "live": service.live_revision,
        },
    }
    optional = {
        "cluster_id": service.cluster_id,
        "pool_name": service.pool_name,
        "service_secrets": service.secrets,
        "pending": [item.to_json() for item in _pending(details)],
    }
    body |= {key: value for key, value in optional.items() if value}
    if service.status == Status.FAILED.value or service.error_msg:
        body["error_msg"] = service.error_msg
    return body


def _pending(details: Details) -> Sequence[Pending]:
    service = details.service
    settings = ServiceSettings(
        service.priority, bool(service.secrets), service.additional_properties
    )
    images = {model.id for model in details.models.values() if model.image}
    return pending(settings, details.config, images)


def _version(details: Details, version: VersionConfig) -> Json:
    counted = details.counts.get((details.service.id, version.model_id), (0, 0))
    return config_item(version, details.models.get(version.model_id)) | {
        "source_type": "",
        "status": version_status(version, details.instances),
        "scaling": False,
        "support_debug": False,
        **_counters(details.service, counted),
        **_run(version, details.last_run),
    }


def _run(version: VersionConfig, last_run: LastRun | None) -> Json:
    """Of a batch service its last run: ``task_id`` (ours), start and end."""
    if version.batch is None or last_run is None:
        return {}
    return {"task_id": last_run.run.task_id, **batch.times(last_run.run)}


def _counters(service: Service, counted: tuple[int, int]) -> Json:
    """Predictions and failures; not shown where most come by WebSocket (services.md §9.3)."""
    if takes_websockets(service.additional_properties):
        return {}
    return {"invocation_times": counted[0], "failed_times": counted[1]}


def update_log(
    log: UpdateLog, config: Sequence[VersionConfig], models: Mapping[str, Model]
) -> Json:
    """One entry of the update logs (services.md §9.4). ``reason`` and ``report`` are ours."""
    body: Json = {
        "update_time": log.update_time,
        "result": log.result,
        "config": [config_item(version, models.get(version.model_id)) for version in config],
        "extend_config": [],
        "cluster_id": next((v.cluster_id for v in config if v.cluster_id), ""),
        "revision": log.revision,
    }
    if log.reason:
        body["reason"] = log.reason
    if log.report:
        body["report"] = log.report
    return body


def event(row: Event) -> Json:
    """One event (services.md §9.5)."""
    return {
        "event_type": row.event_type,
        "event_info": row.event_info,
        "occur_time": row.occur_time,
    }


def _totals(service_id: str, counts: Counts) -> tuple[int, int]:
    own = [pair for (owner, _), pair in counts.items() if owner == service_id]
    return sum(i for i, _ in own), sum(f for _, f in own)
