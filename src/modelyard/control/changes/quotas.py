"""How much a project may have (services.md §2.2, §10: 3520, 3521, 3522). 0 means no limit.

Only the shared pool is counted: a dedicated one has its capacity (``capacity.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from modelyard.domain.service.config import VersionConfig
from modelyard.errors import Problem, refuse
from modelyard.settings import Settings
from modelyard.store.database import Session
from modelyard.store.service.pools import desired_configs, lock_quotas


@dataclass(frozen=True, slots=True)
class Expected:
    """What a service would be: whether it is to run, and by which configuration."""

    service_id: str
    runs: bool
    config: tuple[VersionConfig, ...]


async def check_quotas(session: Session, settings: Settings, project_id: str) -> None:
    """Refuse what the session is about to write when it takes the project over a quota.

    To be called after the change and before the commit. Raises ``InvalidRequest``.
    """
    if _limited(settings):
        await lock_quotas(session, project_id)
    problems = await quota_problems(session, settings, project_id)
    if problems:
        raise refuse(problems)


async def quota_problems(
    session: Session, settings: Settings, project_id: str, expected: Expected | None = None
) -> list[Problem]:
    """The quotas that the project exceeds; if a service were as ``expected``, when given."""
    if not _limited(settings):
        return []
    but = expected.service_id if expected else ""
    found = await desired_configs(session, project_id, but=but)
    if expected is not None:
        found = [*found, (expected.runs, expected.config)]
    shared = [
        (runs, [version for version in config if version.pool is None]) for runs, config in found
    ]
    counted = [(runs, versions) for runs, versions in shared if versions]
    running = [versions for runs, versions in counted if runs]
    instances = sum(version.instance_count for versions in running for version in versions)
    return [
        *_judge("services", len(counted), settings.capacity.max_services, "MAX_SERVICES", "3520"),
        *_judge(
            "running services",
            len(running),
            settings.capacity.max_running_services,
            "MAX_RUNNING_SERVICES",
            "3521",
        ),
        *_judge("instances", instances, settings.capacity.max_instances, "MAX_INSTANCES", "3522"),
    ]


def _limited(settings: Settings) -> bool:
    return bool(
        settings.capacity.max_services
        or settings.capacity.max_running_services
        or settings.capacity.max_instances
    )


def _judge(what: str, found: int, limit: int, setting: str, code: str) -> Iterator[Problem]:
    if limit and found > limit:
        yield Problem(
            "quota",
            f"the project would have {found} {what}, and may have {limit}",
            f"Stop or delete some, or ask the operator to raise MODELYARD_{setting}.",
            code,
        )
