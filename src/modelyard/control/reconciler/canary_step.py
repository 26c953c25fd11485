"""A canary step: compare what both sides answered, decide what becomes of it, report that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite

from modelyard.control.check_scripts import Checks
from modelyard.control.ports import Requests
from modelyard.domain.canary.analysis import Decision, Verdict, judge, worst
from modelyard.domain.canary.request_counts import Tally
from modelyard.domain.rollout.canary_pairs import Comparison, comparisons, counted
from modelyard.domain.rollout.state import RevisionTarget, Step
from modelyard.domain.rollout.transition import StepDecision
from modelyard.domain.service.rollout_policy import Guard
from modelyard.store import events
from modelyard.store.database import Session
from modelyard.store.service.state import ServiceState


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


def guarded_step(state: ServiceState) -> GuardedStep | None:
    """The step in force, or None: no guard, no new version, not yet acknowledged, or rejected."""
    guard, desired = state.guard, state.desired
    serving, step = desired.serving, desired.step
    if guard is None or serving is None or desired.rejected:
        return None
    if step is None or step.since is None:
        return None
    return GuardedStep(
        service_id=state.service.id,
        serving=serving,
        target=desired.target,
        guard=guard,
        step=guard.steps.index(step.percent),
        since=step.since,
        labels={m.id: f"[{m.name} {m.version}]" for m in state.models.values()},
    )


async def look(requests: Requests, checks: Checks, step: GuardedStep, now: int) -> StepDecision:
    """Compare the new versions with the stable ones over the step so far, and ask the script.

    Quick, whatever the script does; safe to repeat.
    """
    if not requests.on:
        reason = "the gateway counts no predictions (MODELYARD_REQUEST_LOG_MB is 0)"
        return StepDecision(Decision.ROLL_BACK, reason)
    until = max(step.since, now - requests.lag_ms)
    tallies = await requests.tallies(step.service_id, step.since, until)
    if not await requests.complete(step.service_id, step.since):
        return StepDecision(
            Decision.HOLD, "part of the gateway's request log is gone", restart=True
        )
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
    return StepDecision(judgement.decision, judgement.reason)


def report_decision(
    session: Session, service_id: str, guard: Guard, step: Step, found: StepDecision, now: int
) -> None:
    """Report to the service's owner what becomes of ``step``, unless it only holds."""
    if found.decision is Decision.HOLD:
        return
    number = guard.steps.index(step.percent) + 1
    where = f"step {number} of {len(guard.steps)}"
    info = f"guarded rollout: {where} {found.decision}: {found.reason}"
    kind = events.NORMAL if found.decision is Decision.CONTINUE else events.ABNORMAL
    events.record(session, service_id, info, now, kind)


def report_begin(session: Session, service_id: str, guard: Guard, step: Step, now: int) -> None:
    """Report that the gateway has acknowledged the split of ``step``: its time begins."""
    number = guard.steps.index(step.percent) + 1
    info = f"guarded rollout: step {number} of {len(guard.steps)}, {step.percent} % of the traffic"
    events.record(session, service_id, info, now)


def _named(judgement: Verdict, label: str) -> Verdict:
    """The judgement with its version's name in the sentence."""
    return replace(judgement, reason=f"{label} {judgement.reason}")


def _ask(
    checks: Checks, step: GuardedStep, document: Mapping[str, object], judgement: Verdict
) -> StepDecision:
    key = (step.target.number, step.step, step.since)
    name = step.guard.check
    answer = checks.ask(step.service_id, key, name, document)
    if answer is None:
        return StepDecision(Decision.HOLD, f"check {name} is running")
    if answer.decision is Decision.CONTINUE:
        return StepDecision(answer.decision, f"{judgement.reason}; {answer.reason}")
    return StepDecision(answer.decision, answer.reason)


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
