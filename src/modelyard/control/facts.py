"""The state that a request is judged against, gathered from the database."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.control.capacity import pools_of
from modelyard.control.checks import Checks
from modelyard.domain.requests import Facts, ModelFacts, Present
from modelyard.domain.version_config import CONFIG_LIMIT
from modelyard.settings import Settings
from modelyard.store.models import find_models
from modelyard.store.tables.service import Service


async def gather_facts(
    session: AsyncSession,
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
        models={
            model_id: ModelFacts(model_id, m.name, m.version, m.status, tuple(m.install_type))
            for model_id, m in models.items()
        },
        pools=pools_of(settings),
        present=_present(service),
        checks=Checks(settings.checks_dir).names(),
        counted=settings.request_log_mb > 0,
        max_instances=settings.max_instances_per_version,
        default_deploy_timeout_s=settings.deploy_timeout,
        default_grace_s=int(settings.drain_grace),
    )


def _present(service: Service | None) -> Present:
    if service is None:
        return Present()
    return Present(service.cluster_id, service.pool_name, service.additional_properties)


def _model_ids(body: object) -> list[str]:
    config = body.get("config") if isinstance(body, dict) else None
    items = config if isinstance(config, list) else []
    named = [item.get("model_id") for item in items[:CONFIG_LIMIT] if isinstance(item, dict)]
    return sorted({model_id for model_id in named if isinstance(model_id, str)})
