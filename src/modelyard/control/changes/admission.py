"""Judging what a caller asks of a service, before anything is written (services.md §3, §4, §7).

``judge`` gives a value: the row, what was wanted last, and the revision that would be next. The
update writes it down, the preview shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.control import events
from modelyard.control.batch.retry import run_to_retry
from modelyard.control.changes.facts import gather_facts
from modelyard.domain.admission.patch import (
    as_body,
    patch_config,
    pointed,
    renamed,
    restored,
    scale_config,
)
from modelyard.domain.admission.requests import ServiceUpdate
from modelyard.domain.admission.rollout_policy_body import read_rollout
from modelyard.domain.admission.service_body import read_update
from modelyard.domain.body_reader import Problems
from modelyard.domain.rollout.outcome import Result
from modelyard.domain.service.batch_job import BATCH
from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.lifecycle import Action, Status, Verdict, allowed_in, may
from modelyard.domain.service.rollout_policy import Rollout
from modelyard.domain.service.slots import assign_slots
from modelyard.errors import InvalidRequest, NotFound, Problem, StateForbids, refuse
from modelyard.settings import Settings
from modelyard.store.service import revisions
from modelyard.store.service import services as store
from modelyard.store.service.state import StoredRevision
from modelyard.store.tables.service import Service

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Author:
    """On whose behalf a wish is written. ``is_admin``: of the project."""

    project_id: str
    user_id: str
    domain_id: str
    is_admin: bool = False


class ChangeKind(StrEnum):
    """The calls that change a service (services.md §1; the last two are ours)."""

    UPDATE = "update"
    PATCH = "patch"
    PROPERTY = "property"
    ROLLBACK = "rollback"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """What was sent: ``body`` as JSON; for a rollback the number of the revision, for a retry
    what names the run.
    """

    form: ChangeKind
    body: object


@dataclass(frozen=True, slots=True)
class AdmittedChange:
    """What would be accepted.

    ``asked``: what was sent. ``present``: the revision asked for last. ``new``: the next one, or
    None when the configuration is left alone. ``retry_of``: the run whose failures are to be
    computed again.
    """

    asked: ChangeRequest
    service: Service
    wish: ServiceUpdate
    present: StoredRevision
    new: store.NewRevision | None
    retry_of: str = ""


@dataclass(frozen=True, slots=True)
class _Whole:
    """Any form, as the body of a whole update.

    ``names`` puts a problem of that body into the words of what was sent. ``exact``: versions to
    be taken as they are where the body leaves them alone, by index.
    """

    body: object
    names: Callable[[Problem], Problem] = lambda problem: problem
    exact: Sequence[VersionConfig | None] = ()
    origin: int | None = None
    guarded: bool = True


async def judge(
    session: AsyncSession,
    settings: Settings,
    author: Author,
    service_id: str,
    asked: ChangeRequest,
    *,
    lock: bool = True,
) -> AdmittedChange:
    """The change as it would be written; with ``lock`` nobody else changes what it rests on.

    Raises ``NotFound``, ``InvalidRequest`` (with all problems) or ``StateForbids``.
    """
    service = await get_service(session, author.project_id, service_id, lock=lock)
    present = await store.get_revision(session, service.id, service.desired_revision)
    whole = await _whole(session, service, present, asked)
    facts = await gather_facts(session, settings, author.project_id, whole.body, service, lock=lock)
    wish, problems = read_update(whole.body, facts)
    if wish is None:
        raise refuse([whole.names(problem) for problem in problems])
    retries = asked.form is ChangeKind.RETRY
    retry_of = await run_to_retry(session, service, asked.body) if retries else ""
    _judge_state(service, wish, asked.form, strict=settings.api.strict_same_status or retries)
    if asked.form is ChangeKind.PROPERTY and await events.update_runs(session, service.id):
        raise StateForbids(
            "status: an update of the service is under way, and what is being scaled cannot be "
            "scaled. Wait for its end, or send a whole update, which takes its place.",
            field="status",
        )
    new = _next_revision(service, present, wish, whole) if wish.configures else None
    return AdmittedChange(asked, service, wish, present, new, retry_of)


async def get_service(
    session: AsyncSession, project_id: str, service_id: str, *, lock: bool = True
) -> Service:
    """The service; with ``lock`` it is ours until the session ends. Raises ``NotFound``."""
    service = await store.find_service(session, project_id, service_id, lock=lock)
    if service is None:
        raise not_found(service_id)
    return service


def not_found(service_id: str) -> NotFound:
    """The answer for an unknown service, and for another project's (services.md §10)."""
    return NotFound(f"service_id: service {service_id[:64]!r} does not exist.", code="3502")


def require(service: Service, action: Action, *, strict: bool = False) -> None:
    """Raises ``StateForbids`` when the service's status does not allow ``action``."""
    verdict = may(Status(service.status), action)
    if verdict is Verdict.ALLOWED or (verdict is Verdict.SAME and not strict):
        return
    states = ", ".join(allowed_in(action))
    raise StateForbids(
        f"status: the service is {service.status}, which does not allow {action.value}. "
        f"It is allowed when the service is {states}.",
        field="status",
    )


def require_owner(service: Service, author: Author) -> None:
    """Raises ``InvalidRequest`` 3540 for anybody else's service (iam.md §4)."""
    if service.owner != author.user_id and not author.is_admin:
        raise InvalidRequest(
            f"service_id: {service.name!r} belongs to another user. Ask its owner, or an "
            "administrator of the project.",
            code="3540",
            field="service_id",
        )


def _judge_state(service: Service, wish: ServiceUpdate, form: ChangeKind, *, strict: bool) -> None:
    if wish.configures:
        require(service, Action.PROPERTY if form is ChangeKind.PROPERTY else Action.CONFIGURE)
    if wish.status is not None:
        action = Action.START if wish.status == "running" else Action.STOP
        require(service, action, strict=strict)
    if wish.describes:
        require(service, Action.DESCRIBE)


async def _whole(
    session: AsyncSession, service: Service, present: StoredRevision, asked: ChangeRequest
) -> _Whole:
    match asked.form:
        case ChangeKind.UPDATE:
            return _Whole(asked.body)
        case ChangeKind.PATCH:
            return await _patched(session, service, present, asked.body)
        case ChangeKind.PROPERTY:
            _require_real_time(service)
            return _scaled(present, asked.body)
        case ChangeKind.RETRY:
            return _Whole({"status": "running"})
        case ChangeKind.ROLLBACK:
            return await _brought_back(session, service, asked.body)


def _require_real_time(service: Service) -> None:
    """Raises ``InvalidRequest`` (services.md §4)."""
    if service.infer_type == BATCH:
        raise InvalidRequest(
            f"service_id: {service.name!r} is a batch service, and this call is for real-time "
            "ones. Send an update with another instance_count, or a PATCH.",
            code="3518",
            field="service_id",
        )


async def _patched(
    session: AsyncSession, service: Service, present: StoredRevision, body: object
) -> _Whole:
    items = [as_body(version) for version in present.config]
    if service.live_revision not in (None, service.desired_revision):
        await _same_versions_shown(session, service, present)
    changed, problems = patch_config(items, body)
    if problems:
        raise refuse(problems)
    return _Whole({"config": changed}, pointed, _untouched(present, items, changed))


async def _same_versions_shown(
    session: AsyncSession, service: Service, present: StoredRevision
) -> None:
    """Pointers count the versions that Show lists: the live ones, until an update is through."""
    assert service.live_revision is not None
    live = await store.get_revision(session, service.id, service.live_revision)
    if [v.model_id for v in live.config] != [v.model_id for v in present.config]:
        raise StateForbids(
            "status: an update that changes the model versions is under way, so that a pointer "
            "could mean another version than the one that is shown. Wait for its end, or send "
            "the whole config.",
            field="status",
        )


def _scaled(present: StoredRevision, body: object) -> _Whole:
    items = [as_body(version) for version in present.config]
    changed, names, problems = scale_config(items, body)
    if problems:
        raise refuse(problems)
    exact = _untouched(present, items, changed)
    return _Whole({"config": changed}, lambda problem: renamed(problem, names), exact)


def _untouched(
    present: StoredRevision, before: list[JsonObject], after: list[JsonObject]
) -> tuple[VersionConfig | None, ...]:
    pairs = zip(present.config, before, after, strict=True)
    return tuple(version if old == new else None for version, old, new in pairs)


async def _brought_back(session: AsyncSession, service: Service, number: object) -> _Whole:
    found = await revisions.find_revision(session, service.id, number)
    if found is None:
        raise no_revision(number)
    content = found.content
    body: JsonObject = {"config": [as_body(version) for version in content.config]}
    if service.infer_type != BATCH:
        body["load_balancer_policy"] = content.policy.value
    # What has served in full needs no trial; what was only stored for a start has not.
    reached = found.number == 1 or found.result == Result.SUCCESS.value
    tried = reached and await revisions.has_served(session, service.id, found.number)
    return _Whole(
        body,
        lambda problem: restored(problem, found.number),
        exact=content.config,
        origin=found.number,
        guarded=not tried,
    )


def no_revision(number: object) -> NotFound:
    """The answer for a revision that the service never had."""
    return NotFound(
        f"revision: the service has no revision {str(number)[:20]!r}. "
        "List them with GET …/revisions.",
        code="3502",
        field="revision",
    )


def _next_revision(
    service: Service, present: StoredRevision, wish: ServiceUpdate, whole: _Whole
) -> store.NewRevision:
    """What is asked for over what was asked for last; what is not named stays."""
    config: Sequence[VersionConfig] = present.config
    if wish.config is not None:
        exact = whole.exact or (None,) * len(wish.config)
        chosen = tuple(kept or read for kept, read in zip(exact, wish.config, strict=True))
        config = assign_slots(present.config, chosen)
    rollout = _rollout(service, wish)
    if not whole.guarded:
        rollout = replace(rollout, guard=None)
    return store.NewRevision(config, wish.policy or present.policy, rollout, whole.origin)


def _rollout(service: Service, wish: ServiceUpdate) -> Rollout:
    """How the service's additional_properties want its revisions to be reached."""
    if wish.rollout is not None:
        return wish.rollout
    if wish.additional_properties is not None:
        return Rollout()
    member = (service.additional_properties or {}).get("rollout")
    return read_rollout(member, "additional_properties.rollout", Problems()) or Rollout()
