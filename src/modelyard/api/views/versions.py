"""Model versions of a service as the API shows them (services.md §9.2); pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard.domain.rollout.state import Stage
from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.flavors import CUSTOM
from modelyard.store.tables.model import Model
from modelyard.store.tables.service import Instance

Json = dict[str, Any]


def config_item(version: VersionConfig, model: Model | None) -> Json:
    """A model version as shows and update logs list it; weights come out as integers."""
    body: Json = {
        "model_id": version.model_id,
        "model_name": model.name if model else "",
        "model_version": model.version if model else "",
        "specification": version.specification,
        "instance_count": version.instance_count,
        **({"weight": version.weight} if version.batch is None else {}),
        "envs": dict(version.envs),
        "deploy_timeout_in_seconds": version.deploy_timeout_s,
    }
    named = {"cluster_id": version.cluster_id, "pool_name": version.pool_name}
    body |= {key: name for key, name in named.items() if name}
    if version.specification == CUSTOM and version.custom_spec:
        body["custom_spec"] = version.custom_spec.to_json()
    if version.additional_properties is not None:
        body["additional_properties"] = version.additional_properties
    if version.affinity:
        body["affinity"] = version.affinity.to_json()
    return body | (version.batch.sent() if version.batch else {})


def version_status(version: VersionConfig, instances: Sequence[Instance]) -> str:
    """``ready`` (all instances up), ``concerning`` (part) or ``notReady`` (none)."""
    ready = sum(1 for i in instances if i.model_id == version.model_id and i.stage == Stage.READY)
    if ready >= version.instance_count:
        return "ready"
    return "concerning" if ready else "notReady"
