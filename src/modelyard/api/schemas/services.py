"""Services as the API shows them (services.md §9); pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.control.wishes import Accepted
from modelyard.domain.config import VersionConfig
from modelyard.domain.flavors import CUSTOM
from modelyard.domain.lifecycle import Status
from modelyard.domain.observed import Stage
from modelyard.domain.traffic import LoadBalancerPolicy
from modelyard.iam.claims import Claims
from modelyard.store.tables.model import Model
from modelyard.store.tables.service import Event, Instance, Service, UpdateLog

Json = dict[str, Any]
Counts = Mapping[tuple[str, str], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Details:
    """A service with what belongs to it. ``config`` is the configuration in force."""

    service: Service
    config: Sequence[VersionConfig]
    policy: LoadBalancerPolicy
    models: Mapping[str, Model]
    instances: Sequence[Instance]
    counts: Counts


def service_summary(service: Service, claims: Claims, counts: Counts) -> Json:
    """An element of the list (services.md §9.1)."""
    invocations, failures = _totals(service.id, counts)
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
        "invocation_times": invocations,
        "failed_times": failures,
        "is_shared": False,
        "shared_count": 0,
        "is_free": False,
        "is_opened_sample_collection": "false",
    }
    if service.status == Status.DEPLOYING.value:
        body["progress"] = service.progress
    if service.due_time is not None:
        body["due_time"] = service.due_time
    if service.schedule is not None:
        body["schedule"] = [service.schedule]
    if service.additional_properties is not None:
        body["additional_properties"] = service.additional_properties
    return body


def service_details(details: Details, claims: Claims, address: str) -> Json:
    """One service (services.md §9.2). ``revision`` is ours: wanted, serving, live."""
    service = details.service
    body = service_summary(service, claims, details.counts)
    del body["is_opened_sample_collection"]
    body |= {
        "update_time": service.update_time,
        "load_balancer_policy": details.policy.value,
        "priority": 1,
        "access_address": f"{address}/v1/infers/{service.id}",
        "config": [_version(details, version) for version in details.config],
        "revision": {
            "desired": service.desired_revision,
            "serving": service.serving_revision,
            "live": service.live_revision,
        },
    }
    if service.status == Status.FAILED.value or service.error_msg:
        body["error_msg"] = service.error_msg
    return body


def _version(details: Details, version: VersionConfig) -> Json:
    invocations, failures = details.counts.get((details.service.id, version.model_id), (0, 0))
    return config_item(version, details.models.get(version.model_id)) | {
        "source_type": "",
        "status": _version_status(version, details.instances),
        "scaling": False,
        "support_debug": False,
        "invocation_times": invocations,
        "failed_times": failures,
    }


def config_item(version: VersionConfig, model: Model | None) -> Json:
    """A model version as shows and update logs list it; weights come out as integers."""
    body: Json = {
        "model_id": version.model_id,
        "model_name": model.name if model else "",
        "model_version": model.version if model else "",
        "specification": version.specification,
        "instance_count": version.instance_count,
        "weight": version.weight,
        "envs": dict(version.envs),
    }
    if version.specification == CUSTOM and version.custom_spec:
        body["custom_spec"] = version.custom_spec.to_json()
    if version.additional_properties is not None:
        body["additional_properties"] = version.additional_properties
    return body


def _version_status(version: VersionConfig, instances: Sequence[Instance]) -> str:
    """``ready`` (all instances up), ``concerning`` (part) or ``notReady`` (none)."""
    ready = sum(1 for i in instances if i.model_id == version.model_id and i.stage == Stage.READY)
    if ready >= version.instance_count:
        return "ready"
    return "concerning" if ready else "notReady"


def resource_ids(accepted: Accepted) -> list[str]:
    """One id per deployed model (services.md §2.1)."""
    return [f"INF-{version.fingerprint[:6]}@{accepted.at}" for version in accepted.config]


def update_log(
    log: UpdateLog, config: Sequence[VersionConfig], models: Mapping[str, Model]
) -> Json:
    """One entry of the update logs (services.md §9.4). ``reason`` is ours."""
    body: Json = {
        "update_time": log.update_time,
        "result": log.result,
        "config": [config_item(version, models.get(version.model_id)) for version in config],
        "extend_config": [],
        "cluster_id": "",
        "revision": log.revision,
    }
    if log.reason:
        body["reason"] = log.reason
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
