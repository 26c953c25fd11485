"""What callers want of services, written down: create, update, delete.

Each call is one transaction: a new revision, update log and events, or nothing at all. The loop
does the rest; a crash after the answer loses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.clock import Clock
from modelyard.control import journal
from modelyard.control.quotas import judge_quotas
from modelyard.control.stopping import begin_stop
from modelyard.domain.config import Schedule, VersionConfig
from modelyard.domain.lifecycle import Action, Status, Verdict, allowed_in, may
from modelyard.domain.observed import Wanted
from modelyard.domain.outcome import Result
from modelyard.domain.requests import Facts, ModelFacts, ServiceCreate, ServiceUpdate
from modelyard.domain.slots import assign_slots
from modelyard.domain.validation import read_create, read_update
from modelyard.domain.version_config import CONFIG_LIMIT
from modelyard.errors import Conflict, InvalidRequest, NotFound, StateForbids, refuse
from modelyard.settings import Settings
from modelyard.steps import Step
from modelyard.store import services as store
from modelyard.store.database import Database
from modelyard.store.models import find_models
from modelyard.store.tables.service import Service


@dataclass(frozen=True, slots=True)
class Author:
    """On whose behalf a wish is written. ``is_admin``: of the project."""

    project_id: str
    user_id: str
    domain_id: str
    is_admin: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """A configuration that was written down: when (ms), and what it deploys."""

    service_id: str
    at: int
    config: tuple[VersionConfig, ...]


@dataclass(frozen=True, slots=True)
class Wishes:
    """Writes wishes; the caller hints the loop afterwards."""

    settings: Settings
    database: Database
    clock: Clock

    async def create(self, author: Author, body: object) -> Accepted:
        """A new service. Raises ``InvalidRequest`` or ``Conflict`` (services.md §2)."""
        async with self.database.write(Step.SERVICE_CREATE) as session:
            facts = await self._facts(session, author.project_id, body)
            wish, problems = read_create(body, facts)
            if wish is None:
                raise refuse(problems)
            now = self.clock.now_ms()
            service = _new_service(self.clock.new_uuid(), author, wish, now)
            await _add(session, service)
            config = assign_slots((), wish.config)
            revision = store.NewRevision(config, wish.policy, wish.rollout)
            store.add_revision(session, service.id, 1, revision, author.user_id, now)
            journal.event(session, service.id, "start to deploy service", now)
            _tell_auto_stop(session, service, now)
            await session.flush()
            await judge_quotas(session, self.settings, author.project_id)
            return Accepted(service.id, now, wish.config)

    async def update(self, author: Author, service_id: str, body: object) -> Accepted | None:
        """Change a service; None when its configuration was left alone.

        Raises ``NotFound``, ``InvalidRequest`` or ``StateForbids``; then nothing has changed
        (services.md §3, §7, §8).
        """
        async with self.database.write(Step.SERVICE_UPDATE) as session:
            service = await _get(session, author.project_id, service_id)
            facts = await self._facts(session, author.project_id, body)
            wish, problems = read_update(body, facts)
            if wish is None:
                raise refuse(problems)
            self._judge_state(service, wish)
            now = self.clock.now_ms()
            _describe(session, service, wish, now)
            accepted = None
            # A stop comes first: what is configured beside it is for the next start.
            if wish.status == "stopped" and service.status != Status.STOPPED.value:
                await begin_stop(session, service, now, Wanted.STOPPED, "stopping service")
            if wish.configures:
                revision = await _next_revision(session, service, wish)
                at = await _configure(session, service, revision, author, now)
                accepted = Accepted(service_id, at, tuple(revision.config))
            if wish.status == "running" and service.status != Status.RUNNING.value:
                _start(session, service, now)
            if wish.configures or wish.status == "running":
                await session.flush()
                await judge_quotas(session, self.settings, author.project_id)
            return accepted

    async def delete(self, author: Author, service_ids: Sequence[str]) -> None:
        """Delete all or none. Raises ``NotFound`` or ``StateForbids`` (services.md §4)."""
        if not service_ids:
            raise InvalidRequest("service_id: names no service. Send one id or a comma list.")
        async with self.database.write(Step.SERVICE_DELETE) as session:
            # In one order everywhere, so that two such calls cannot wait for each other.
            services = [
                await _get(session, author.project_id, service_id)
                for service_id in sorted(set(service_ids))
            ]
            for service in services:
                _require_owner(service, author)
                _require(service, Action.DELETE)
            now = self.clock.now_ms()
            for service in services:
                await begin_stop(session, service, now, Wanted.DELETED, "deleting service")

    def _judge_state(self, service: Service, wish: ServiceUpdate) -> None:
        if wish.configures:
            _require(service, Action.CONFIGURE)
        if wish.status is not None:
            action = Action.START if wish.status == "running" else Action.STOP
            _require(service, action, strict=self.settings.strict_same_status)
        if wish.describes:
            _require(service, Action.DESCRIBE)

    async def _facts(self, session: AsyncSession, project_id: str, body: object) -> Facts:
        models = await find_models(session, project_id, _model_ids(body), lock=True)
        return Facts(
            models={
                model_id: ModelFacts(model_id, m.name, m.version, m.status, tuple(m.install_type))
                for model_id, m in models.items()
            },
            max_instances=self.settings.max_instances_per_version,
            default_deploy_timeout_s=self.settings.deploy_timeout,
            default_grace_s=int(self.settings.drain_grace),
        )


def _model_ids(body: object) -> list[str]:
    config = body.get("config") if isinstance(body, dict) else None
    items = config if isinstance(config, list) else []
    named = {item.get("model_id") for item in items[:CONFIG_LIMIT] if isinstance(item, dict)}
    return sorted(model_id for model_id in named if isinstance(model_id, str))


async def _add(session: AsyncSession, service: Service) -> None:
    taken = Conflict(
        f"service_name: a service named {service.name!r} exists. Choose another name.",
        field="service_name",
    )
    if await store.name_is_taken(session, service.project_id, service.name):
        raise taken
    session.add(service)
    try:
        await session.flush()
    except IntegrityError:  # Somebody else took the name since we looked.
        raise taken from None


async def _get(session: AsyncSession, project_id: str, service_id: str) -> Service:
    service = await store.find_service(session, project_id, service_id, lock=True)
    if service is None:
        raise not_found(service_id)
    return service


def not_found(service_id: str) -> NotFound:
    """The answer for an unknown service, and for another project's (services.md §10)."""
    return NotFound(f"service_id: service {service_id[:64]!r} does not exist.", code="3502")


def _require(service: Service, action: Action, *, strict: bool = False) -> None:
    verdict = may(Status(service.status), action)
    if verdict is Verdict.ALLOWED or (verdict is Verdict.SAME and not strict):
        return
    states = ", ".join(allowed_in(action))
    raise StateForbids(
        f"status: the service is {service.status}, which does not allow {action.value}. "
        f"It is allowed when the service is {states}.",
        field="status",
    )


def _require_owner(service: Service, author: Author) -> None:
    if service.owner != author.user_id and not author.is_admin:
        raise InvalidRequest(
            f"service_id: {service.name!r} belongs to another user. Ask its owner, or an "
            "administrator of the project.",
            code="3540",
            field="service_id",
        )


def _new_service(service_id: str, author: Author, wish: ServiceCreate, now: int) -> Service:
    return Service(
        id=service_id,
        project_id=author.project_id,
        name=wish.name,
        description=wish.description,
        infer_type="real-time",
        workspace_id=wish.workspace_id,
        owner=author.user_id,
        tenant=author.domain_id,
        additional_properties=wish.additional_properties,
        schedule=wish.schedule.to_json() if wish.schedule else None,
        due_time=now + wish.schedule.length_ms if wish.schedule else None,
        wanted=Wanted.RUNNING.value,
        desired_revision=1,
        wished_at=now,
        status=Status.DEPLOYING.value,
        publish_at=now,
        transition_at=now,
        operation_time=now,
        update_time=now,
    )


def _describe(session: AsyncSession, service: Service, wish: ServiceUpdate, now: int) -> None:
    if wish.describes:
        service.operation_time = now
        service.generation += 1
    if wish.description is not None:
        service.description = wish.description
    if wish.additional_properties is not None:
        service.additional_properties = wish.additional_properties
    if wish.schedule is not None:
        schedule = wish.schedule[0] if wish.schedule else None
        service.schedule = schedule.to_json() if schedule else None
        if wish.status != "stopped":
            _arm(service, now)
        if schedule is None:
            journal.event(session, service.id, "auto stop disabled", now)
        if wish.status != "stopped":
            _tell_auto_stop(session, service, now)


def _arm(service: Service, now: int) -> None:
    """The timer runs while the service is wanted to run (services.md §6)."""
    running = service.wanted == Wanted.RUNNING.value and not service.given_up
    schedule = Schedule.from_json(service.schedule) if service.schedule else None
    service.due_time = now + schedule.length_ms if schedule and running else None


def _tell_auto_stop(session: AsyncSession, service: Service, now: int) -> None:
    if service.due_time is not None:
        seconds = (service.due_time - now) // 1000
        journal.event(session, service.id, f"auto stop enabled, {seconds} seconds left", now)


async def _next_revision(
    session: AsyncSession, service: Service, wish: ServiceUpdate
) -> store.NewRevision:
    """What is asked for over what was asked for last; what is not named stays."""
    last = await store.get_revision(session, service.id, service.desired_revision)
    config = last.config if wish.config is None else assign_slots(last.config, wish.config)
    return store.NewRevision(config, wish.policy or last.policy, wish.rollout or last.rollout)


async def _configure(
    session: AsyncSession,
    service: Service,
    revision: store.NewRevision,
    author: Author,
    now: int,
) -> int:
    update_time = max(now, await store.last_update_time(session, service.id) + 1)
    overtaken = "a later update took its place"
    await journal.close_logs(session, service.id, Result.FAIL, now, overtaken)
    await journal.finish_rollbacks(session, service.id, now)
    number = await store.last_revision(session, service.id) + 1
    store.add_revision(session, service.id, number, revision, author.user_id, update_time)
    journal.open_log(session, service.id, number, update_time)
    await session.flush()
    service.desired_revision = number
    service.wished_at = service.operation_time = now
    service.generation += 1
    if service.wanted == Wanted.STOPPED.value:
        await journal.close_logs(session, service.id, Result.SUCCESS, now)
        service.update_time = update_time
        journal.event(session, service.id, "configuration stored for the next start", now)
        return update_time
    journal.event(session, service.id, "updating service", now)
    if service.status == Status.FAILED.value:
        _deploy(service, now)
    return update_time


def _deploy(service: Service, now: int) -> None:
    service.wanted = Wanted.RUNNING.value
    service.given_up = False
    service.error_msg = ""
    service.status = Status.DEPLOYING.value
    service.progress = 0
    service.publish_at = service.transition_at = now
    service.wished_at = service.operation_time = now
    service.generation += 1
    _arm(service, now)


def _start(session: AsyncSession, service: Service, now: int) -> None:
    _deploy(service, now)
    journal.event(session, service.id, "starting service", now)
    _tell_auto_stop(session, service, now)
