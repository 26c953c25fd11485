"""Admitting a change of a service, before anything is written (services.md §3, §4, §7).

``admit`` returns a value: the row, the desired state, and the revision that would be next. The
update writes it, the preview shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

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
from modelyard.domain.rollout.state import Desired
from modelyard.domain.service.batch_job import BATCH
from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.lifecycle import Action, Status, Verdict, allowed_in, may
from modelyard.domain.service.rollout_policy import Rollout
from modelyard.domain.service.slots import assign_slots
from modelyard.errors import InvalidRequest, NotFound, Problem, StateForbids, refuse
from modelyard.settings import Settings
from modelyard.store.database import Session
from modelyard.store.service import revisions, update_logs
from modelyard.store.service import services as store
from modelyard.store.service.desired import StoredRevision, desired_of, read_revisions
from modelyard.store.tables.service import Service

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Author:
    """The user who makes a change. ``is_admin``: of the project."""

    project_id: str
    user_id: str
    domain_id: str
    is_admin: bool = False


class ChangeKind(StrEnum):
    """The calls that change a service (services.md §1; the last two are extensions)."""

    UPDATE = "update"
    PATCH = "patch"
    PROPERTY = "property"
    ROLLBACK = "rollback"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A request: ``body`` as JSON; for a rollback the number of the revision, for a retry what
    names the run.
    """

    kind: ChangeKind
    body: object


@dataclass(frozen=True, slots=True)
class AdmittedChange:
    """A change that would be accepted.

    ``present``: the revision asked for last, ``desired``: the desired state without the change.
    ``new``: the next revision, or None when the configuration is left alone. ``retry_of``: the run
    whose failures are to be computed again.
    """

    request: ChangeRequest
    service: Service
    update: ServiceUpdate
    desired: Desired
    present: StoredRevision
    new: store.NewRevision | None
    retry_of: str = ""


@dataclass(frozen=True, slots=True)
class _WholeUpdate:
    """A request of any kind, as the body of a whole update.

    ``names`` translates a problem of that body to the fields that were sent. ``exact``: versions to
    be taken as they are where the body leaves them alone, by index. ``guarded``: whether the new
    revision has the canary steps of the service.
    """

    body: object
    names: Callable[[Problem], Problem] = lambda problem: problem
    exact: Sequence[VersionConfig | None] = ()
    origin: int | None = None
    guarded: bool = True


async def admit(
    session: Session,
    settings: Settings,
    author: Author,
    service_id: str,
    request: ChangeRequest,
    *,
    lock: bool = True,
) -> AdmittedChange:
    """Check the change and return it as it would be written.

    With ``lock`` nothing that it rests on changes until the session ends. Raises ``NotFound``,
    ``InvalidRequest`` (with all problems) or ``StateForbids``.
    """
    service = await get_service(session, author.project_id, service_id, lock=lock)
    known = await read_revisions(session, service)
    present = known[service.desired_revision]
    whole = await _whole_update(session, service, known, request)
    facts = await gather_facts(session, settings, author.project_id, whole.body, service, lock=lock)
    update, problems = read_update(whole.body, facts)
    if update is None:
        raise refuse([whole.names(problem) for problem in problems])
    retries = request.kind is ChangeKind.RETRY
    retry_of = await run_to_retry(session, service, request.body) if retries else ""
    _check_state(service, update, request.kind, strict=settings.api.strict_same_status or retries)
    if request.kind is ChangeKind.PROPERTY and await update_logs.update_runs(session, service.id):
        raise StateForbids(
            "status: an update of the service is under way, and what is being scaled cannot be "
            "scaled. Wait for its end, or send a whole update, which takes its place.",
            field="status",
        )
    new = _next_revision(service, present, update, whole) if update.configures else None
    desired = desired_of(service, known)
    return AdmittedChange(request, service, update, desired, present, new, retry_of)


async def get_service(
    session: Session, project_id: str, service_id: str, *, lock: bool = True
) -> Service:
    """Find the service; with ``lock`` it stays as it is until the session ends.

    Raises ``NotFound``.
    """
    service = await store.find_service(session, project_id, service_id, lock=lock)
    if service is None:
        raise not_found(service_id)
    return service


def not_found(service_id: str) -> NotFound:
    """Return the answer for an unknown service, and for another project's (services.md §10)."""
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
    """Raises ``InvalidRequest`` 3540 for another user's service (iam.md §4)."""
    if service.owner != author.user_id and not author.is_admin:
        raise InvalidRequest(
            f"service_id: {service.name!r} belongs to another user. Ask its owner, or an "
            "administrator of the project.",
            code="3540",
            field="service_id",
        )


def _check_state(
    service: Service, update: ServiceUpdate, kind: ChangeKind, *, strict: bool
) -> None:
    if update.configures:
        require(service, Action.PROPERTY if kind is ChangeKind.PROPERTY else Action.CONFIGURE)
    if update.status is not None:
        action = Action.START if update.status == "running" else Action.STOP
        require(service, action, strict=strict)
    if update.describes:
        require(service, Action.DESCRIBE)


async def _whole_update(
    session: Session,
    service: Service,
    known: Mapping[int, StoredRevision],
    request: ChangeRequest,
) -> _WholeUpdate:
    present = known[service.desired_revision]
    match request.kind:
        case ChangeKind.UPDATE:
            return _WholeUpdate(request.body)
        case ChangeKind.PATCH:
            return _patched(service, known, request.body)
        case ChangeKind.PROPERTY:
            _require_real_time(service)
            return _scaled(present, request.body)
        case ChangeKind.RETRY:
            return _WholeUpdate({"status": "running"})
        case ChangeKind.ROLLBACK:
            return await _rolled_back(session, service, request.body)


def _require_real_time(service: Service) -> None:
    """Raises ``InvalidRequest`` (services.md §4)."""
    if service.infer_type == BATCH:
        raise InvalidRequest(
            f"service_id: {service.name!r} is a batch service, and this call is for real-time "
            "ones. Send an update with another instance_count, or a PATCH.",
            code="3518",
            field="service_id",
        )


def _patched(service: Service, known: Mapping[int, StoredRevision], body: object) -> _WholeUpdate:
    present = known[service.desired_revision]
    items = [as_body(version) for version in present.config]
    if service.live_revision not in (None, service.desired_revision):
        _require_same_versions(known[service.live_revision], present)
    changed, problems = patch_config(items, body)
    if problems:
        raise refuse(problems)
    return _WholeUpdate({"config": changed}, pointed, _untouched(present, items, changed))


def _require_same_versions(live: StoredRevision, present: StoredRevision) -> None:
    """Pointers count the versions that Show lists: the live ones, until an update is complete."""
    if [v.model_id for v in live.config] != [v.model_id for v in present.config]:
        raise StateForbids(
            "status: an update that changes the model versions is under way, so that a pointer "
            "could mean another version than the one that is shown. Wait for its end, or send "
            "the whole config.",
            field="status",
        )


def _scaled(present: StoredRevision, body: object) -> _WholeUpdate:
    items = [as_body(version) for version in present.config]
    changed, names, problems = scale_config(items, body)
    if problems:
        raise refuse(problems)
    exact = _untouched(present, items, changed)
    return _WholeUpdate({"config": changed}, lambda problem: renamed(problem, names), exact)


def _untouched(
    present: StoredRevision, before: list[JsonObject], after: list[JsonObject]
) -> tuple[VersionConfig | None, ...]:
    pairs = zip(present.config, before, after, strict=True)
    return tuple(version if old == new else None for version, old, new in pairs)


async def _rolled_back(session: Session, service: Service, number: object) -> _WholeUpdate:
    found = await revisions.find_revision(session, service.id, number)
    if found is None:
        raise no_revision(number)
    content = found.content
    body: JsonObject = {"config": [as_body(version) for version in content.config]}
    if service.infer_type != BATCH:
        body["load_balancer_policy"] = content.policy.value
    # A revision that has served in full needs no canary; one only stored for a start has not.
    reached = found.number == 1 or found.result == Result.SUCCESS.value
    proven = reached and await revisions.has_served(session, service.id, found.number)
    return _WholeUpdate(
        body,
        lambda problem: restored(problem, found.number),
        exact=content.config,
        origin=found.number,
        guarded=not proven,
    )


def no_revision(number: object) -> NotFound:
    """Return the answer for a revision that the service never had."""
    return NotFound(
        f"revision: the service has no revision {str(number)[:20]!r}. "
        "List them with GET …/revisions.",
        code="3502",
        field="revision",
    )


def _next_revision(
    service: Service, present: StoredRevision, update: ServiceUpdate, whole: _WholeUpdate
) -> store.NewRevision:
    """Lay what is asked for over the present revision; what is not named stays."""
    config: Sequence[VersionConfig] = present.config
    if update.config is not None:
        exact = whole.exact or (None,) * len(update.config)
        chosen = tuple(kept or read for kept, read in zip(exact, update.config, strict=True))
        config = assign_slots(present.config, chosen)
    rollout = _rollout(service, update)
    if not whole.guarded:
        rollout = replace(rollout, guard=None)
    return store.NewRevision(config, update.policy or present.policy, rollout, whole.origin)


def _rollout(service: Service, update: ServiceUpdate) -> Rollout:
    """Read how the service's additional_properties want its revisions to be reached."""
    if update.rollout is not None:
        return update.rollout
    if update.additional_properties is not None:
        return Rollout()
    member = (service.additional_properties or {}).get("rollout")
    return read_rollout(member, "additional_properties.rollout", Problems()) or Rollout()
