"""A service's configuration as canonical frozen values (services.md §3.3, §3.4, §6)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from modelyard.domain.service.affinity import Affinity
from modelyard.domain.service.batch_job import BatchJob
from modelyard.domain.service.flavors import find_flavor
from modelyard.domain.service.pools import PoolRef
from modelyard.domain.service.resources import Resources
from modelyard.domain.service.volumes import LogVolume, PersistentVolume

JsonObject = dict[str, Any]

DEFAULT_DEPLOY_TIMEOUT_S = 1200
DEFAULT_GRACE_S = 60


@dataclass(frozen=True, slots=True)
class CustomSpec:
    """Own resources (services.md §3.4): ``cpu`` cores, ``memory`` MB, accelerators in cards."""

    cpu: float
    memory: int
    gpu_p4: float = 0.0
    ascend_a310: int = 0

    def to_json(self) -> JsonObject:
        body: JsonObject = {"cpu": self.cpu, "memory": self.memory}
        if self.gpu_p4:
            body["gpu_p4"] = self.gpu_p4
        if self.ascend_a310:
            body["ascend_a310"] = self.ascend_a310
        return body


@dataclass(frozen=True, slots=True)
class VersionConfig:
    """One element of ``config`` (services.md §3.3).

    ``max_surge`` and ``max_unavailable``: below 1 a fraction of ``instance_count``, from 1 on a
    count (services.md §5.2). ``deploy_timeout_s`` bounds the start of one instance,
    ``grace_s`` its drain. ``additional_properties`` is echoed as it was sent. ``shadow``: percent
    of the predictions that a version of weight 0 gets a copy of. ``slot``: see ``slots.py``.
    ``pool``: where it runs, None for the shared pool; ``cluster_id`` and ``pool_name`` as they
    were sent with the version. ``batch``: what the runs of a batch service do; its ``weight`` is
    100, since all its instances work on one run.
    """

    model_id: str
    specification: str
    instance_count: int
    weight: int
    envs: Mapping[str, str] = field(default_factory=dict)
    custom_spec: CustomSpec | None = None
    deploy_timeout_s: int = DEFAULT_DEPLOY_TIMEOUT_S
    max_surge: float = 1.0
    max_unavailable: float = 0.0
    grace_s: int = DEFAULT_GRACE_S
    additional_properties: JsonObject | None = None
    shadow: int = 0
    slot: str = ""
    pool: PoolRef | None = None
    cluster_id: str = ""
    pool_name: str = ""
    persistent_volumes: tuple[PersistentVolume, ...] = ()
    log_volumes: tuple[LogVolume, ...] = ()
    affinity: Affinity | None = None
    batch: BatchJob | None = None

    @property
    def surge(self) -> int:
        """Instances that may be added while replacing; a fraction is rounded up, at least 1."""
        if self.max_surge < 1:
            return max(1, math.ceil(self.max_surge * self.instance_count))
        return int(self.max_surge)

    @property
    def resources(self) -> Resources:
        """What one instance takes (resources.md §4)."""
        if self.custom_spec:
            spec = self.custom_spec
            return Resources(spec.cpu, spec.memory, spec.gpu_p4, spec.ascend_a310)
        flavor = find_flavor(self.specification)
        if flavor is None:
            return Resources(cpu=1.0, memory_mb=2048)
        return Resources(float(flavor.cpu), flavor.memory_gb * 1024, flavor.gpu, flavor.npu)

    @property
    def fingerprint(self) -> str:
        """What an instance is made of: two configurations that share it can share instances."""
        flavor = find_flavor(self.specification)
        made_of: JsonObject = {
            "model_id": self.model_id,
            # One flavor has several names; calling it otherwise restarts nothing.
            "specification": flavor.name if flavor else self.specification,
            "custom_spec": self.custom_spec.to_json() if self.custom_spec else None,
            "envs": dict(self.envs),
        }
        volumes = [v.to_json() for v in self.persistent_volumes]
        volumes += [v.to_json() for v in self.log_volumes]
        mounts = sorted(volumes, key=lambda mount: str(mount["mount_path"]))
        # Left out when there are none, so that what ran before there were any keeps running.
        if mounts:
            made_of["mounts"] = mounts
        if self.pool:
            made_of["pool"] = self.pool.to_json()
        text = json.dumps(made_of, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> JsonObject:
        """As stored in a revision; the member names are the API's."""
        body: JsonObject = {
            "model_id": self.model_id,
            "specification": self.specification,
            "instance_count": self.instance_count,
            "weight": self.weight,
            "envs": dict(self.envs),
            "deploy_timeout_in_seconds": self.deploy_timeout_s,
            "max_surge": self.max_surge,
            "max_unavailable": self.max_unavailable,
            "termination_grace_period_seconds": self.grace_s,
            "shadow": self.shadow,
            "slot": self.slot,
        }
        if self.custom_spec:
            body["custom_spec"] = self.custom_spec.to_json()
        if self.additional_properties is not None:
            body["additional_properties"] = self.additional_properties
        if self.pool:
            body["pool"] = self.pool.to_json()
        if self.persistent_volumes:
            body["persistent_volumes"] = [v.to_json() for v in self.persistent_volumes]
        if self.log_volumes:
            body["log_volume"] = [v.to_json() for v in self.log_volumes]
        if self.affinity:
            body["affinity"] = self.affinity.to_json()
        if self.batch:
            body |= self.batch.to_json()
        named = {"cluster_id": self.cluster_id, "pool_name": self.pool_name}
        return body | {key: name for key, name in named.items() if name}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``; for stored revisions, which are valid."""
        custom, pool, affinity = (body.get(k) for k in ("custom_spec", "pool", "affinity"))
        volumes, logs = body.get("persistent_volumes", ()), body.get("log_volume", ())
        return cls(
            model_id=body["model_id"],
            specification=body["specification"],
            instance_count=body["instance_count"],
            weight=body["weight"],
            envs=body["envs"],
            custom_spec=CustomSpec(**custom) if custom else None,
            deploy_timeout_s=body["deploy_timeout_in_seconds"],
            max_surge=body["max_surge"],
            max_unavailable=body["max_unavailable"],
            grace_s=body["termination_grace_period_seconds"],
            additional_properties=body.get("additional_properties"),
            shadow=body.get("shadow", 0),
            slot=body.get("slot", body["model_id"]),
            pool=PoolRef.from_json(pool) if pool else None,
            cluster_id=body.get("cluster_id", ""),
            pool_name=body.get("pool_name", ""),
            persistent_volumes=tuple(PersistentVolume.from_json(v) for v in volumes),
            log_volumes=tuple(LogVolume.from_json(v) for v in logs),
            affinity=Affinity.from_json(affinity) if affinity else None,
            batch=BatchJob.from_json(body) if "src_path" in body else None,
        )


_UNIT_MS = {"MINUTES": 60_000, "HOURS": 3_600_000, "DAYS": 86_400_000}


@dataclass(frozen=True, slots=True)
class Schedule:
    """Stop the service ``duration`` × ``time_unit`` after it started (services.md §6)."""

    time_unit: str
    duration: int
    type: str = "stop"

    @property
    def length_ms(self) -> int:
        return self.duration * _UNIT_MS[self.time_unit]

    def to_json(self) -> JsonObject:
        return {"type": self.type, "time_unit": self.time_unit, "duration": self.duration}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        return cls(time_unit=body["time_unit"], duration=body["duration"], type=body["type"])
