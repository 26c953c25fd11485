"""Environments that are gone, made again from what their models ask for.

They go when a home is restored from a backup without them, or when the Python that they were made
for leaves the machine. A model keeps its status meanwhile: instances that run are not touched, and
those that cannot start are tried again by the loop until they can.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from modelyard.clock import Clock
from modelyard.errors import ModelyardError, Problem
from modelyard.packages.config.requirements import parse_dependencies, parse_policy
from modelyard.packages.environments.choosing import EnvironmentRequest, choose
from modelyard.packages.environments.fallback_pins import KINDS
from modelyard.packages.environments.manifest import Environment
from modelyard.packages.environments.shared import Environments
from modelyard.steps import Step
from modelyard.store.database import Database
from modelyard.store.models import add_event, in_own_environments, latest_event
from modelyard.store.tables.model import Model

log = structlog.get_logger(__name__)


async def renew(database: Database, clock: Clock, environments: Environments) -> None:
    """Build what published models refer to and cannot run in, one after the other.

    What fails is told by an event of the model, once, and tried again at the next call.
    """
    async with database.read() as session:
        models = await in_own_environments(session)
    for model in models:
        if await environments.is_usable(model.environment):
            continue
        log.warning("environment is gone", model_id=model.id, digest=model.environment)
        try:
            await _renew(model, database, clock, environments)
        except (ModelyardError, OSError) as error:
            log.error("environment cannot be renewed", model_id=model.id, reason=str(error))
            await _tell(model, database, clock, f"cannot be made again: {error}")


async def _renew(
    model: Model, database: Database, clock: Clock, environments: Environments
) -> None:
    """Raises ``ModelyardError`` or ``OSError``."""
    model_dir = Path(model.package_dir) / "model"
    choice = await asyncio.to_thread(choose, _asked(model), model_dir)
    if choice.wanted is None:
        await _tell(model, database, clock, "is the platform's own from now on", ("", None))
        return

    async def unheard(text: str) -> None:
        log.info("environment", model_id=model.id, progress=text)

    digest = environments.digest(choice.wanted)
    with environments.held(digest):
        made = await environments.obtain(choice.wanted, model_dir, unheard)
        await _tell(model, database, clock, "was gone and has been made again", (digest, made))


def _asked(model: Model) -> EnvironmentRequest:
    unused: list[Problem] = []
    installations = parse_dependencies(model.dependencies, "dependencies", unused)
    said = model.requested.get("dependency_policy") or model.config.get("dependency_policy")
    policy = parse_policy(said, "dependency_policy", unused)
    return EnvironmentRequest(model.model_type, model.runtime, installations, policy)


async def _tell(
    model: Model,
    database: Database,
    clock: Clock,
    text: str,
    outcome: tuple[str, Environment | None] | None = None,
) -> None:
    """Put ``outcome`` (digest and environment) in force, if there is one, with an event."""
    async with database.write(Step.ENVIRONMENT_RENEWED) as session:
        row = await session.get(Model, model.id, with_for_update=True)
        if row is None or row.environment != model.environment:
            return
        if outcome is not None:
            row.environment, made = outcome
            found = [one.document() for one in made.findings] if made else []
            row.findings = [one for one in row.findings if one.get("kind") not in KINDS] + found
        told = f"[{row.name} {row.version}] environment {text}"
        if told != await latest_event(session, row.id):
            add_event(session, row.id, clock.now_ms(), told, abnormal=outcome is None)
