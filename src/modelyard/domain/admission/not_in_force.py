"""What is accepted and kept, but not in force on this runtime, and why; pure.

A local process has no mounts, no second node and no rank among processes; a container has mounts
and is held to its limits. Such settings are stored with the service for the day when it runs
elsewhere, and shown as pending until then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.domain.service.config import VersionConfig

JsonObject = dict[str, Any]

_NO_MOUNTS = "local processes have no mounts: the instance sees the machine's own files"
_NOT_LENT = "no folder of this machine is lent to a container; its log is what it prints"
_ONE_NODE = "all instances run on this machine, which is not one of the pool's nodes"
_ONE_MACHINE = "it is accounted for; the instances run on this machine, as those of every pool do"
_NOT_ISOLATED = "it is accounted for; every instance sees all accelerators of this machine"
_NO_RANK = "no service is pre-empted here: what has no room is refused instead"
_NO_SECRETS = "there is no secret store to mount from"
_NO_TOPICS = "there is no notification service; GET …/events tells the same"
_NO_CHANNELS = "there is no log service; the instances' logs stay on this machine"


@dataclass(frozen=True, slots=True)
class Pending:
    """``field``: its dotted name in the request. ``reason``: why it has no effect yet."""

    field: str
    reason: str

    def to_json(self) -> JsonObject:
        return {"field": self.field, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What a service has beside its revisions; ``secrets``: whether there are any."""

    priority: int = 1
    secrets: bool = False
    additional_properties: Mapping[str, Any] | None = None


def pending(
    service: ServiceSettings, config: Sequence[VersionConfig], images: Collection[str] = ()
) -> tuple[Pending, ...]:
    """Everything accepted that is not in force, in the order of the request.

    ``images``: ids of the models that run as containers.
    """
    versions = (
        found
        for index, version in enumerate(config)
        for found in _of_version(index, version, version.model_id in images)
    )
    return (*_of_service(service), *versions)


def _of_service(service: ServiceSettings) -> Iterator[Pending]:
    if service.priority > 1:
        yield Pending("priority", _NO_RANK)
    if service.secrets:
        yield Pending("service_secrets", _NO_SECRETS)
    properties = service.additional_properties or {}
    for key, reason in (("smn_notification", _NO_TOPICS), ("log_report_channels", _NO_CHANNELS)):
        if properties.get(key) not in (None, "", "{}", "[]", {}, []):
            yield Pending(f"additional_properties.{key}", reason)


def _of_version(index: int, version: VersionConfig, contained: bool) -> Iterator[Pending]:
    name = f"config[{index}]"
    if version.pool:
        key = "cluster_id" if version.pool.generation == "v1" else "pool_name"
        own = version.cluster_id or version.pool_name
        yield Pending(f"{name}.{key}" if own else key, _ONE_MACHINE)
    resources = version.resources
    if resources.gpu or resources.npu:
        key = "specification"
        if version.custom_spec:
            key = "custom_spec.gpu_p4" if resources.gpu else "custom_spec.ascend_a310"
        yield Pending(f"{name}.{key}", _NOT_ISOLATED)
    if version.persistent_volumes and not contained:
        yield Pending(f"{name}.additional_properties.persistent_volumes", _NO_MOUNTS)
    if version.log_volumes:
        reason = _NOT_LENT if contained else _NO_MOUNTS
        yield Pending(f"{name}.additional_properties.log_volume", reason)
    if version.affinity:
        yield Pending(f"{name}.affinity", _ONE_NODE)
