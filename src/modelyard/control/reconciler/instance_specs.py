"""Build what a runtime needs to carry out a planned start; pure."""

from __future__ import annotations

from pathlib import Path

from modelyard.domain.rollout.instance import InstanceSpec
from modelyard.domain.rollout.scale_up import Start
from modelyard.domain.service.config import VersionConfig
from modelyard.packages.config.images import CUSTOM, PACKAGE_PLACE
from modelyard.settings import Settings
from modelyard.store.service.state import ServiceState
from modelyard.store.tables.model import Model


def container_order(model: Model, config: VersionConfig) -> dict[str, object]:
    """Build a container's order: what the model declares, the service's volumes, the package.

    A volume belongs to the project, whichever of its services name it. ``folders``: folders of this
    machine by their path in the container, read only.
    """
    volumes = [
        {
            "name": f"{model.project_id}/{volume.name or volume.source_address}",
            "mount_path": volume.mount_path,
        }
        for volume in config.persistent_volumes
    ]
    folders = {}
    if model.model_type == CUSTOM:
        folders[PACKAGE_PLACE] = str(Path(model.package_dir) / "model")
    return {**model.container, "volumes": volumes, "folders": folders}


def instance_spec(
    state: ServiceState, instance_id: str, start: Start, settings: Settings
) -> InstanceSpec:
    """Build the instance that ``start`` asks for; the flavor sets cores and memory."""
    config = next(c for c in state.revisions[start.revision].config if c.model_id == start.model_id)
    model = state.models[start.model_id]
    resources = config.resources
    return InstanceSpec(
        instance_id=instance_id,
        service_id=state.service.id,
        project_id=state.service.project_id,
        model_id=model.id,
        model_name=model.name,
        model_version=model.version,
        model_type=model.model_type,
        package_dir=model.package_dir,
        envs=config.envs,
        cpu=resources.cpu,
        memory_mb=resources.memory_mb,
        request_timeout_s=settings.predictions.prediction_timeout,
        body_limit=settings.predictions.prediction_body_limit,
        drain_grace_s=float(config.grace_s),
        python=settings.layout.environment_python(model.environment),
        image=model.image,
        container=container_order(model, config) if model.image else {},
    )
