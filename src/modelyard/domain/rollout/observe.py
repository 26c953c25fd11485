"""From what a runtime reports to what the planner believes; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from modelyard.domain.rollout.instance import InstanceReport, Phase
from modelyard.domain.rollout.state import Failure, Instance, Stage
from modelyard.domain.text import storable_text


@dataclass(frozen=True, slots=True)
class Ended:
    """An instance that is no more; ``failure`` None when it was meant to end."""

    instance: Instance
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class Observation:
    """``alive`` with their stages brought up to date, and those that have ended."""

    alive: tuple[Instance, ...]
    ended: tuple[Ended, ...]


def observe(
    known: Iterable[Instance], reports: Mapping[str, InstanceReport | None], now: int
) -> Observation:
    """Compare the instances on record with what the runtime says of them at ``now`` (ms)."""
    alive: list[Instance] = []
    ended: list[Ended] = []
    for instance in known:
        report = reports.get(instance.instance_id)
        stage = _stage(instance, report)
        if stage is None:
            ended.append(Ended(instance, _failure(instance, report, now)))
        elif stage is instance.stage:
            alive.append(instance)
        else:
            alive.append(replace(instance, stage=stage, since=now))
    return Observation(tuple(alive), tuple(ended))


def _stage(instance: Instance, report: InstanceReport | None) -> Stage | None:
    """The stage an instance is in now; None when it is no more."""
    if report is None or report.phase is Phase.GONE:
        return None
    if instance.stage is Stage.DRAINING or report.phase is Phase.DRAINING:
        return Stage.DRAINING
    if report.phase is Phase.FAILED:
        return None
    return Stage.READY if report.phase is Phase.READY else Stage.STARTING


def _failure(instance: Instance, report: InstanceReport | None, now: int) -> Failure | None:
    if instance.stage is Stage.DRAINING:
        return None
    if report is None:
        # Recorded but never started, because the control plane died in between; or ended by us.
        never = instance.stage is Stage.STARTING
        return None if never else Failure(instance.fingerprint, now, "it stopped answering")
    message = storable_text(report.message) or "the process ended without a word"
    return Failure(instance.fingerprint, now, message)


_TAIL = 1_500
"""Characters of a log that a cause is told with."""


def with_log(message: str, tail: str) -> str:
    """The cause, and the last lines of the instance's log that are not in it yet."""
    lines = [line.rstrip() for line in storable_text(tail[-_TAIL:]).splitlines() if line.strip()]
    if not lines or all(line.strip() in message for line in lines):
        return message
    return "\n".join([message, "The last lines of its log:", *lines])
