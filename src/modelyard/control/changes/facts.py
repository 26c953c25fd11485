"""The state that a request is judged against, gathered from the database."""

from __future__ import annotations

from typing import Any

from modelyard.batch.rules import ObjectRules
from modelyard.control.changes.capacity import pools_of
from modelyard.control.check_scripts import Checks
from modelyard.domain.admission.requests import Facts, ModelFacts, Present
from modelyard.domain.admission.version_body import CONFIG_LIMIT
from modelyard.domain.service.batch_job import ApiFacts
from modelyard.settings import Settings
from modelyard.store.database import Session
from modelyard.store.models import find_models
from modelyard.store.tables.model import Model
from modelyard.store.tables.service import Service


async def gather_facts(
    session: Session,
    settings: Settings,
    project_id: str,
    body: object,
    service: Service | None = None,
    *,
    lock: bool = True,
) -> Facts:
    """What ``body``, a request to create a service of the project, or to update ``service``, is
    judged against. With ``lock`` nobody deletes its models until the session ends.
    """
    models = await find_models(session, project_id, _model_ids(body), lock=lock)
    return Facts(
        models={model_id: _model(model) for model_id, model in models.items()},
        pools=pools_of(settings),
        present=_present(service),
        checks=Checks(settings.layout.checks_dir).names(),
        counted=settings.gateway.request_log_mb > 0,
        max_instances=settings.capacity.max_instances_per_version,
        default_deploy_timeout_s=settings.rollout.deploy_timeout,
        default_grace_s=int(settings.rollout.drain_grace),
        batch=ObjectRules(),
    )


def _model(model: Model) -> ModelFacts:
    return ModelFacts(
        model_id=model.id,
        name=model.name,
        version=model.version,
        status=model.status,
        install_type=tuple(model.install_type),
        apis=tuple(_api(api) for api in model.apis if isinstance(api, dict)),
    )


def _api(api: dict[str, Any]) -> ApiFacts:
    schema = api.get("input_params")
    return ApiFacts(
        url=str(api.get("url", "/")),
        method=str(api.get("method", "post")),
        content_type=str(api.get("content_type", "")),
        schema=schema if isinstance(schema, dict) else {},
    )


def _present(service: Service | None) -> Present:
    if service is None:
        return Present()
    return Present(
        service.cluster_id,
        service.pool_name,
        service.additional_properties,
        service.infer_type,
    )


def _model_ids(body: object) -> list[str]:
    config = body.get("config") if isinstance(body, dict) else None
    items = config if isinstance(config, list) else []
    named = [item.get("model_id") for item in items[:CONFIG_LIMIT] if isinstance(item, dict)]
    return sorted({model_id for model_id in named if isinstance(model_id, str)})
