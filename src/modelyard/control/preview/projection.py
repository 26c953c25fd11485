"""The desired state that an admitted change leads to, and what differs by it; pure."""

from __future__ import annotations

from collections.abc import Iterator

from modelyard.control.changes.admission import AdmittedChange
from modelyard.control.changes.update import Numbers, requested_changes
from modelyard.domain.admission.requests import ServiceUpdate
from modelyard.domain.rollout.state import Desired
from modelyard.domain.rollout.transition import accept
from modelyard.domain.service.revision import Change, Effect, diff
from modelyard.store.tables.service import Service


def desired_after(admitted: AdmittedChange, before: Desired, numbers: Numbers, now: int) -> Desired:
    """Return the desired state once ``admitted`` is accepted at ``now`` (ms)."""
    after = before
    for change in requested_changes(admitted, numbers):
        after = accept(after, change, now)
    return after


def changes_of(admitted: AdmittedChange, now: int) -> tuple[Change, ...]:
    """List every difference that the change makes to the service, field by field."""
    configured = diff(admitted.present, admitted.new) if admitted.new else ()
    return (
        *_of_status(admitted.service, admitted.update),
        *configured,
        *_of_description(admitted.service, admitted.update, now),
    )


def _of_status(service: Service, update: ServiceUpdate) -> Iterator[Change]:
    if update.status is not None and update.status != service.status:
        yield Change("status", service.status, update.status, Effect.COUNT)


def _of_description(service: Service, update: ServiceUpdate, now: int) -> Iterator[Change]:
    pairs: list[tuple[str, object, object]] = [
        ("description", service.description, update.description),
        ("additional_properties", service.additional_properties, update.additional_properties),
        ("priority", service.priority, update.priority),
    ]
    if update.secrets is not None:
        sent = [secret.to_json() for secret in update.secrets]
        pairs.append(("service_secrets", service.secrets, sent))
    for name, before, after in pairs:
        if after is not None and before != after:
            yield Change(name, before, after, Effect.NONE)
    yield from _of_schedule(service, update, now)


def _of_schedule(service: Service, update: ServiceUpdate, now: int) -> Iterator[Change]:
    if update.schedule is None:
        return
    before = [service.schedule] if service.schedule else []
    after = [schedule.to_json() for schedule in update.schedule]
    if before != after:
        yield Change("schedule", before, after, Effect.NONE)
    elif after and service.due_time is not None:
        # The same schedule, sent again, begins its time again.
        due = now + update.schedule[0].length_ms
        if due != service.due_time:
            yield Change("due_time", service.due_time, due, Effect.NONE)
