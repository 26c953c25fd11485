"""What a judged change turns the wish into, and what differs by it; pure.

The wish is written by ``changing.py``; this says the same of one that is only looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from modelyard.control.batch.runs import work_of
from modelyard.control.changes.admission import AdmittedChange
from modelyard.domain.admission.requests import ServiceUpdate
from modelyard.domain.rollout.state import Desired, DesiredStatus, RevisionTarget, Step
from modelyard.domain.service.batch_job import BATCH
from modelyard.domain.service.lifecycle import Status
from modelyard.domain.service.revision import Change, Effect, diff
from modelyard.store.service.services import NewRevision
from modelyard.store.service.state import version_target
from modelyard.store.tables.service import Service


def desired_after(judged: AdmittedChange, before: Desired, number: int | None, now: int) -> Desired:
    """The wish once ``judged`` is accepted at ``now`` (ms), as the revision ``number`` if any."""
    service, wish, new = judged.service, judged.wish, judged.new
    after = before
    if wish.status == "stopped" and service.status != Status.STOPPED.value:
        after = replace(after, wanted=DesiredStatus.STOPPED, since=now, given_up=False)
    if new is not None and number is not None:
        after = _configured(after, new, number, now)
        if service.infer_type == BATCH and work_of(judged.present.config) != work_of(new.config):
            # A new run, which begins as if nothing ran (``batch_runs.py``).
            after = replace(after, serving=None, live=None)
    if wish.status == "running" and service.status != Status.RUNNING.value:
        after = replace(
            after, wanted=DesiredStatus.RUNNING, since=now, given_up=False, step=None, rejected=""
        )
    return after


def _configured(before: Desired, new: NewRevision, number: int, now: int) -> Desired:
    guard = new.rollout.guard if before.live is not None else None
    versions = tuple(version_target(config) for config in new.config)
    target = RevisionTarget(number, versions, new.rollout.keep_former_s * 1000)
    return replace(
        before,
        target=target,
        since=now,
        given_up=False,
        step=Step(guard.steps[0]) if guard else None,
        rejected="",
    )


def changes_of(judged: AdmittedChange, now: int) -> tuple[Change, ...]:
    """Every difference that the change makes to the service, field by field."""
    configured = diff(judged.present, judged.new) if judged.new else ()
    return (
        *_of_status(judged.service, judged.wish),
        *configured,
        *_of_description(judged.service, judged.wish, now),
    )


def _of_status(service: Service, wish: ServiceUpdate) -> Iterator[Change]:
    if wish.status is not None and wish.status != service.status:
        yield Change("status", service.status, wish.status, Effect.COUNT)


def _of_description(service: Service, wish: ServiceUpdate, now: int) -> Iterator[Change]:
    pairs: list[tuple[str, object, object]] = [
        ("description", service.description, wish.description),
        ("additional_properties", service.additional_properties, wish.additional_properties),
        ("priority", service.priority, wish.priority),
    ]
    if wish.secrets is not None:
        sent = [secret.to_json() for secret in wish.secrets]
        pairs.append(("service_secrets", service.secrets, sent))
    for name, before, after in pairs:
        if after is not None and before != after:
            yield Change(name, before, after, Effect.NONE)
    yield from _of_schedule(service, wish, now)


def _of_schedule(service: Service, wish: ServiceUpdate, now: int) -> Iterator[Change]:
    if wish.schedule is None:
        return
    before = [service.schedule] if service.schedule else []
    after = [schedule.to_json() for schedule in wish.schedule]
    if before != after:
        yield Change("schedule", before, after, Effect.NONE)
    elif after and service.due_time is not None:
        # Sending it again starts its time anew.
        due = now + wish.schedule[0].length_ms
        if due != service.due_time:
            yield Change("due_time", service.due_time, due, Effect.NONE)
