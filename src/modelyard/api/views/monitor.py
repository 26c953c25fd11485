"""The monitor of a service (services.md §9.6); pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard.api.views.batch import run_details
from modelyard.api.views.services import Details, LastRun
from modelyard.domain.rollout.state import Stage
from modelyard.domain.service.config import VersionConfig
from modelyard.monitor.shadows import ShadowMeter, ShadowReading
from modelyard.monitor.usage import UsageMeter
from modelyard.store.tables.service import Instance

Json = dict[str, Any]


def service_monitor(
    details: Details, usage: UsageMeter, shadows: ShadowMeter, per_minute: int
) -> Json:
    """CPU in cores, memory in MB, calls since the service was created, ready instances.

    A version that is a shadow has a member ``shadow``, ours: its percentage, and what became of
    the copies that it got since the gateway started. A batch service has a member ``batch``, ours:
    its last run, with its speed and what is left.
    """
    ready = [i for i in details.instances if i.stage == Stage.READY]
    return {
        "service_id": details.service.id,
        "service_name": details.service.name,
        "service_instance_count": sum(v.instance_count for v in details.config),
        "service_running_instance_count": len(ready),
        "req_count_per_min": per_minute,
        "monitors": [
            _version(details, version, ready, usage)
            | _shadow(version, shadows.of(details.service.id, version.model_id))
            for version in details.config
        ],
        **_batch(details.last_run),
    }


def _batch(last: LastRun | None) -> Json:
    return {"batch": run_details(last.run, last.version)} if last else {}


def _version(
    details: Details, version: VersionConfig, ready: Sequence[Instance], usage: UsageMeter
) -> Json:
    model = details.models.get(version.model_id)
    own = [instance for instance in ready if instance.model_id == version.model_id]
    used = [usage.of(instance.pid) for instance in own]
    total = version.resources * version.instance_count
    invocations, failures = details.counts.get((details.service.id, version.model_id), (0, 0))
    return {
        "model_id": version.model_id,
        "model_name": model.name if model else "",
        "model_version": model.version if model else "",
        "invocation_times": invocations,
        "failed_times": failures,
        "cpu_core_usage": round(sum(u.cpu_cores for u in used), 3),
        "cpu_core_total": total.cpu,
        "cpu_memory_usage": sum(u.memory_mb for u in used),
        "cpu_memory_total": total.memory_mb,
        "gpu_usage": 0.0,
        "gpu_total": float(total.gpu),
        "gpu_memory_usage": 0.0,
        "gpu_memory_total": 0.0,
        "npu_usage": 0.0,
        "npu_total": float(total.npu),
        "npu_memory_usage": 0.0,
        "npu_memory_total": 0.0,
        "model_running_instance_count": len(own),
        "model_instance_count": version.instance_count,
    }


def _shadow(version: VersionConfig, reading: ShadowReading) -> Json:
    if not version.shadow:
        return {}
    return {
        "shadow": {
            "percent": version.shadow,
            "requests": reading.requests,
            "errors": reading.errors,
            "dropped": reading.dropped,
            "p50_ms": reading.p50_ms,
            "p99_ms": reading.p99_ms,
        }
    }
