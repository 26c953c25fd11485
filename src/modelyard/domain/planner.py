"""``plan(desired, observed, now) -> Plan``: the next actions for one service; pure.

Traffic moves in one step, when every version of the target is ready to take it: until then the
serving revision keeps all of it. Instances leave only after the split without them is in force,
which is why a plan's parts are carried out in the order of its fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from modelyard.domain.observed import (
    Desired,
    Failure,
    Instance,
    Observed,
    RevisionTarget,
    Split,
    Stage,
    VersionTarget,
    Wanted,
)

START_ATTEMPTS = 2
"""Failed starts of one version after which a revision that was never live is given up."""

BACKOFF_FIRST_MS = 500
BACKOFF_MAX_MS = 60_000
POLL_MS = 50
KILL_MARGIN_MS = 2_000
"""What a draining instance gets beyond its grace before it is killed."""


class Verdict(StrEnum):
    """How far the wish has come."""

    PROGRESSING = "progressing"
    LIVE = "live"
    BROKEN = "broken"
    """The target cannot be reached; ``Plan.cause`` says why."""
    ENDED = "ended"
    """Stopped or deleted, and nothing is left running."""


@dataclass(frozen=True, slots=True)
class Start:
    revision: int
    model_id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Kill:
    """End an instance now. ``failed``: it counts as a failed start, not as a finished drain."""

    instance_id: str
    reason: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in the order of the fields; ``check_at`` (ms) is when to look again.

    ``split`` None: the service answers that it is not started.
    """

    starts: tuple[Start, ...] = ()
    split: Split | None = None
    retire: tuple[str, ...] = ()
    kills: tuple[Kill, ...] = ()
    verdict: Verdict = Verdict.PROGRESSING
    cause: str = ""
    check_at: int | None = None


def plan(desired: Desired, observed: Observed, now: int) -> Plan:
    """The next actions that bring ``observed`` nearer to ``desired`` at ``now`` (ms)."""
    if desired.wanted is not Wanted.RUNNING or desired.given_up:
        return _wind_down(desired, observed, now)
    cause = _why_broken(desired, observed)
    if cause:
        split = split_of(desired.serving, observed)
        return Plan(split=split, verdict=Verdict.BROKEN, cause=cause)
    return _advance(desired, observed, now)


def _wind_down(desired: Desired, observed: Observed, now: int) -> Plan:
    retire = tuple(i.instance_id for i in observed.instances if i.stage is not Stage.DRAINING)
    kills = tuple(_overdue_drains(observed, now))
    ended = not observed.instances
    return Plan(
        retire=retire,
        kills=kills,
        verdict=Verdict.ENDED if ended else Verdict.PROGRESSING,
        check_at=None if ended else now + POLL_MS,
    )


def _advance(desired: Desired, observed: Observed, now: int) -> Plan:
    serving = desired.target if _may_flip(desired, observed) else desired.serving
    retire = tuple(_retire(desired.target, serving, observed))
    kills = (*_overdue_starts(desired, observed, now), *_overdue_drains(observed, now))
    starts, waiting_until = _starts(desired, observed, now)
    live = (
        serving is not None
        and serving.number == desired.target.number
        and _complete(desired.target, observed, set(retire))
    )
    return Plan(
        starts=starts,
        split=split_of(serving, observed, retire),
        retire=retire,
        kills=kills,
        verdict=Verdict.LIVE if live else Verdict.PROGRESSING,
        check_at=_check_at(observed, starts, retire, waiting_until, now),
    )


# -- what must not go on ------------------------------------------------------------------------


def _why_broken(desired: Desired, observed: Observed) -> str:
    """Why the target is beyond reach; empty while it is not.

    What a live revision is made of has proven itself: its failures are repaired, not given up.
    """
    proven = {v.fingerprint for v in desired.live.versions} if desired.live else set()
    for version in desired.target.versions:
        if version.fingerprint in proven:
            continue
        failed = _failures(version.fingerprint, observed, desired.since)
        if len(failed) >= START_ATTEMPTS or any(f.decisive for f in failed):
            return failed[-1].message
    return ""


def _failures(fingerprint: str, observed: Observed, since: int) -> list[Failure]:
    found = [f for f in observed.failures if f.fingerprint == fingerprint and f.at >= since]
    return sorted(found, key=lambda f: f.at)


def _overdue_starts(desired: Desired, observed: Observed, now: int) -> Iterable[Kill]:
    for instance in observed.instances:
        version = _wanted_version(desired, instance)
        if version is None or instance.stage is not Stage.STARTING:
            continue
        if now - instance.since > version.start_timeout_ms:
            seconds = version.start_timeout_ms // 1000
            yield Kill(instance.instance_id, f"not ready within {seconds} s", failed=True)


def _overdue_drains(observed: Observed, now: int) -> Iterable[Kill]:
    for instance in observed.instances:
        if instance.stage is not Stage.DRAINING:
            continue
        if now - instance.since > instance.grace_ms + KILL_MARGIN_MS:
            seconds = instance.grace_ms // 1000
            yield Kill(instance.instance_id, f"still busy after {seconds} s", failed=False)


def _wanted_version(desired: Desired, instance: Instance) -> VersionTarget | None:
    for revision in (desired.target, desired.serving):
        version = revision.version(instance.model_id) if revision else None
        if version and version.fingerprint == instance.fingerprint:
            return version
    return None


# -- what to start ------------------------------------------------------------------------------


def _starts(desired: Desired, observed: Observed, now: int) -> tuple[tuple[Start, ...], int | None]:
    """Instances to start now, and when the next one held back by its back-off may start."""
    starts: list[Start] = []
    held: list[int] = []
    for revision, version, missing in _missing(desired, observed):
        not_before = _not_before(version.fingerprint, observed)
        if missing and not_before > now:
            held.append(not_before)
        else:
            starts += [Start(revision.number, version.model_id, version.fingerprint)] * missing
    return tuple(starts), min(held, default=None)


def _missing(
    desired: Desired, observed: Observed
) -> Iterable[tuple[RevisionTarget, VersionTarget, int]]:
    target, serving = desired.target, desired.serving
    # What serves keeps its strength until the target takes over.
    holding = serving if serving and not _may_flip(desired, observed) else None
    held = {v.model_id: _missing_held(v, target, observed) for v in _versions(holding)}
    for version in target.versions:
        before = holding.version(version.model_id) if holding else None
        missing = _missing_new(version, before, held.get(version.model_id, 0), observed)
        yield target, version, missing
    for version in _versions(holding):
        yield holding or target, version, held[version.model_id]


def _versions(revision: RevisionTarget | None) -> tuple[VersionTarget, ...]:
    return revision.versions if revision else ()


def _missing_held(version: VersionTarget, target: RevisionTarget, observed: Observed) -> int:
    """What a serving version lacks that the target makes otherwise, or not at all."""
    wanted = target.version(version.model_id)
    if wanted is not None and wanted.fingerprint == version.fingerprint:
        return 0
    alive = observed.of(version.model_id, Stage.STARTING, Stage.READY)
    own = [i for i in alive if i.served or i.fingerprint == version.fingerprint]
    return max(0, version.count - len(own))


def _missing_new(
    version: VersionTarget, before: VersionTarget | None, held: int, observed: Observed
) -> int:
    """What the target's version lacks, within its surge over what it replaces."""
    alive = observed.of(version.model_id, Stage.STARTING, Stage.READY)
    current = [i for i in alive if i.fingerprint == version.fingerprint]
    count = version.count
    if before is not None and before.fingerprint == version.fingerprint:
        count = max(count, before.count)
    missing = count - len(current)
    if len(alive) > len(current) or held:
        most = max(count, before.count if before else 0) + version.surge
        missing = min(missing, most - len(alive) - held)
    return max(0, missing)


def _not_before(fingerprint: str, observed: Observed) -> int:
    """When the next start may happen: at once after one failure, then 0.5 s, 1 s, 2 s … 60 s."""
    failed = _failures(fingerprint, observed, 0)
    if len(failed) < 2:
        return 0
    wait = min(BACKOFF_FIRST_MS << min(len(failed) - 2, 16), BACKOFF_MAX_MS)
    return failed[-1].at + wait


# -- who gets traffic ---------------------------------------------------------------------------


def _may_flip(desired: Desired, observed: Observed) -> bool:
    """Whether every version of the target can take its share now."""
    return all(_can_take_over(v, desired.serving, observed) for v in desired.target.versions)


def _can_take_over(
    version: VersionTarget, serving: RevisionTarget | None, observed: Observed
) -> bool:
    """New and grown versions must be there in strength, changed ones must have proven to start."""
    before = serving.version(version.model_id) if serving else None
    own = len(_current(version, observed, Stage.READY))
    if before is None:
        return own >= version.needed
    if before.fingerprint != version.fingerprint:
        return own >= 1 and len(observed.usable(version)) >= version.needed
    if version.count > before.count:
        return own >= version.needed
    return own >= 1 or version.weight <= before.weight


def split_of(
    serving: RevisionTarget | None, observed: Observed, leaving: Iterable[str] = ()
) -> Split | None:
    """The weights of ``serving`` over its ready instances, without those that are leaving."""
    if serving is None:
        return None
    gone = set(leaving)
    endpoints = {
        v.model_id: tuple(
            sorted(i.instance_id for i in observed.usable(v) if i.instance_id not in gone)
        )
        for v in serving.versions
    }
    return Split(serving.number, {v.model_id: v.weight for v in serving.versions}, endpoints)


# -- who leaves ---------------------------------------------------------------------------------


def _retire(
    target: RevisionTarget, serving: RevisionTarget | None, observed: Observed
) -> Iterable[str]:
    if serving is None or serving.number != target.number:
        yield from _useless(target, serving, observed)
        return
    for version in target.versions:
        yield from _leavers(version, observed)
    replaced = all(len(_current(v, observed, Stage.READY)) >= v.needed for v in target.versions)
    for instance in observed.instances:
        removed = target.version(instance.model_id) is None
        if removed and replaced and instance.stage is not Stage.DRAINING:
            yield instance.instance_id


def _useless(
    target: RevisionTarget, serving: RevisionTarget | None, observed: Observed
) -> Iterable[str]:
    """Left over from an update that another one overtook: neither wanted nor carrying traffic."""
    for instance in observed.instances:
        versions = [r.version(instance.model_id) for r in (target, serving) if r]
        wanted = any(v is not None and v.fingerprint == instance.fingerprint for v in versions)
        serves = serving is not None and serving.version(instance.model_id) is not None
        carrying = instance.stage is Stage.READY and instance.served and serves
        if not wanted and not carrying and instance.stage is not Stage.DRAINING:
            yield instance.instance_id


def _leavers(version: VersionTarget, observed: Observed) -> Iterable[str]:
    """Instances made otherwise than wanted, and surplus ones, as far as enough others are ready.

    Outdated ones go first, the oldest of them at once; of surplus ones the youngest.
    """
    alive = observed.of(version.model_id, Stage.STARTING, Stage.READY)
    outdated = [i for i in alive if i.fingerprint != version.fingerprint]
    current = [i for i in alive if i.fingerprint == version.fingerprint]
    by_usefulness = sorted(
        current, key=lambda i: (i.stage is Stage.READY, -i.created_at, i.instance_id)
    )
    surplus = by_usefulness[: max(0, len(current) - version.count)]
    usable = observed.usable(version)
    spare = len(usable) - version.needed
    for instance in (*sorted(outdated, key=lambda i: (i.created_at, i.instance_id)), *surplus):
        if instance not in usable:
            yield instance.instance_id
        elif spare > 0:
            spare -= 1
            yield instance.instance_id


def _current(version: VersionTarget, observed: Observed, *stages: Stage) -> list[Instance]:
    alive = observed.of(version.model_id, *stages)
    return [i for i in alive if i.fingerprint == version.fingerprint]


# -- how far it has come ------------------------------------------------------------------------


def _complete(target: RevisionTarget, observed: Observed, leaving: set[str]) -> bool:
    staying = Observed(
        tuple(
            i
            for i in observed.instances
            if i.stage is not Stage.DRAINING and i.instance_id not in leaving
        )
    )
    return len(staying.instances) == sum(v.count for v in target.versions) and all(
        len(_current(v, staying, Stage.READY)) == v.count for v in target.versions
    )


def _check_at(
    observed: Observed,
    starts: tuple[Start, ...],
    retire: tuple[str, ...],
    waiting_until: int | None,
    now: int,
) -> int | None:
    moving = starts or retire or any(i.stage is not Stage.READY for i in observed.instances)
    if moving:
        return now + POLL_MS
    return waiting_until
