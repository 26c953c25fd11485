"""A guarded rollout's step: look at what it has shown, say what becomes of it, write that down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite

from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.control import events
from modelyard.control.check_scripts import Checks
from modelyard.control.ports import Requests
from modelyard.domain.canary.analysis import Decision, Verdict, judge, worst
from modelyard.domain.canary.request_counts import Tally
from modelyard.domain.rollout.canary_pairs import Comparison, comparisons, counted
from modelyard.domain.rollout.state import RevisionTarget
from modelyard.domain.service.rollout_policy import Guard
from modelyard.store.service.state import ServiceState
from modelyard.store.tables.service import Service


@dataclass(frozen=True, slots=True)
class GuardedStep:
    """The step that is in force. ``since``: ms since 1970 when the gateway acknowledged its split.

    ``labels``: how each model of the target revision is called.
    """

    service_id: str
    serving: RevisionTarget
    target: RevisionTarget
    guard: Guard
    step: int
    since: int
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def percent(self) -> int:
        return self.guard.steps[self.step]


@dataclass(frozen=True, slots=True)
class Look:
    """What becomes of the step; ``reason`` is a sentence. ``anew``: its time begins again."""

    decision: Decision
    reason: str
    anew: bool = False


def guarded_step(state: ServiceState) -> GuardedStep | None:
    """The step in force, or None: no guard, no new version, not yet acknowledged, or refused."""
    service, desired = state.service, state.desired
    guard = state.revisions[desired.target.number].rollout.guard
    if guard is None or desired.serving is None or service.rollout_since is None:
        return None
    if service.rollout_rejected or service.rollout_step >= len(guard.steps):
        return None
    return GuardedStep(
        service_id=service.id,
        serving=desired.serving,
        target=desired.target,
        guard=guard,
        step=service.rollout_step,
        since=service.rollout_since,
        labels={m.id: f"[{m.name} {m.version}]" for m in state.models.values()},
    )


async def look(requests: Requests, checks: Checks, step: GuardedStep, now: int) -> Look:
    """Compare the new versions with the stable ones over the step so far, and ask the script.

    Quick, whatever the script does; safe to repeat.
    """
    if not requests.on:
        reason = "the gateway counts no predictions (MODELYARD_REQUEST_LOG_MB is 0)"
        return Look(Decision.ROLL_BACK, reason)
    until = max(step.since, now - requests.lag_ms)
    tallies = await requests.tallies(step.service_id, step.since, until)
    if not await requests.complete(step.service_id, step.since):
        return Look(Decision.HOLD, "part of the gateway's request log is gone", anew=True)
    found = comparisons(step.serving, step.target, step.percent)
    sides = [(c, counted(tallies, c.stable), counted(tallies, c.candidate)) for c in found]
    held_ms = until - step.since
    judgements = [
        _named(
            judge(
                stable,
                candidate,
                step.guard,
                held_ms,
                share=comparison.share,
                candidates=len(found),
            ),
            step.labels.get(comparison.version.model_id, comparison.version.model_id),
        )
        for comparison, stable, candidate in sides
    ]
    judgement = worst(judgements)
    if judgement.decision is Decision.CONTINUE and step.guard.check:
        return _ask(checks, step, _document(step, held_ms, sides, judgements), judgement)
    return Look(judgement.decision, judgement.reason)


def take(session: AsyncSession, service: Service, guard: Guard, found: Look, now: int) -> None:
    """Write a look's outcome into the service's row and tell its owner.

    Going on opens the next step, whose time begins when its split is acknowledged
    (``rollout_since`` is set then); behind the last one ``rollout_step`` is ``len(guard.steps)``.
    """
    ahead = service.rollout_since is not None and service.rollout_since > now
    if found.anew or ahead:
        # Counts are lost, or the clock was set back: the step is measured from here.
        service.rollout_since = now
    if found.decision is Decision.HOLD:
        return
    where = f"step {service.rollout_step + 1} of {len(guard.steps)}"
    info = f"guarded rollout: {where} {found.decision}: {found.reason}"
    if found.decision is Decision.CONTINUE:
        service.rollout_step += 1
        service.rollout_since = None
        events.event(session, service.id, info, now)
    else:
        service.rollout_rejected = found.reason
        events.event(session, service.id, info, now, events.ABNORMAL)


def began(session: AsyncSession, service: Service, guard: Guard, now: int) -> None:
    """The gateway has acknowledged the split of ``rollout_step``: its time begins."""
    service.rollout_since = now
    number = service.rollout_step
    info = (
        f"guarded rollout: step {number + 1} of {len(guard.steps)},"
        f" {guard.steps[number]} % of the traffic"
    )
    events.event(session, service.id, info, now)


def _named(judgement: Verdict, label: str) -> Verdict:
    """The judgement with its version's name in the sentence."""
    return replace(judgement, reason=f"{label} {judgement.reason}")


def _ask(
    checks: Checks, step: GuardedStep, document: Mapping[str, object], judgement: Verdict
) -> Look:
    key = (step.target.number, step.step, step.since)
    name = step.guard.check
    answer = checks.ask(step.service_id, key, name, document)
    if answer is None:
        return Look(Decision.HOLD, f"check {name} is running")
    if answer.decision is Decision.CONTINUE:
        return Look(answer.decision, f"{judgement.reason}; {answer.reason}")
    return Look(answer.decision, answer.reason)


def _document(
    step: GuardedStep,
    held_ms: int,
    sides: list[tuple[Comparison, Tally, Tally]],
    judgements: list[Verdict],
) -> dict[str, object]:
    """What a check script reads (docs/rollouts.md)."""
    return {
        "service_id": step.service_id,
        "serving_revision": step.serving.number,
        "target_revision": step.target.number,
        "step": step.step + 1,
        "steps": list(step.guard.steps),
        "since": step.since,
        "held_ms": held_ms,
        "versions": [
            {
                "model_id": comparison.version.model_id,
                "name": step.labels.get(comparison.version.model_id, ""),
                "stable_model_ids": [key.model_id for key in comparison.stable],
                "candidate": _told(candidate),
                "stable": _told(stable),
                "error_evidence": _number(judgement.errors),
                "slowness_evidence": _number(judgement.slowness),
                "evidence_needed": _number(judgement.needed),
            }
            for (comparison, stable, candidate), judgement in zip(sides, judgements, strict=True)
        ],
    }


def _told(tally: Tally) -> dict[str, object]:
    return {
        "requests": tally.requests,
        "errors": tally.errors,
        "lost": tally.lost,
        "resets": tally.resets,
        "retried": tally.retried,
        "longest_ms": tally.longest_ms,
        "latencies": list(tally.latencies),
    }


def _number(value: float) -> float | None:
    """JSON knows no infinity."""
    return value if isfinite(value) else None
