"""What failed starts mean: when to try again, when to give a revision up; pure."""

from __future__ import annotations

from modelyard.domain.rollout.state import Desired, Failure, Observed, Stage, VersionTarget
from modelyard_instance.backoff import delay, jitter_at

START_ATTEMPTS = 2
"""Failed starts of one version after which a revision that was never live is given up."""

BACKOFF_FIRST_MS = 500
BACKOFF_MAX_MS = 60_000


def rollout_failure(desired: Desired, observed: Observed) -> str:
    """Why the target is beyond reach; empty while it is not.

    What a live revision is made of has proven itself: its failures are repaired, until the
    restart budget of a service that serves nothing any more is used up.
    """
    if desired.rejected and not _is_live(desired):
        return desired.rejected
    for version in desired.target.versions:
        if not proven_before(version, desired):
            failed = _failures(version, observed, desired.since)
            if len(failed) >= START_ATTEMPTS or any(f.decisive for f in failed):
                return failed[-1].message
    return _why_exhausted(desired, observed)


def proven_before(version: VersionTarget, desired: Desired) -> bool:
    """Whether the live revision is made of it."""
    return desired.live is not None and desired.live.makes(version.model_id, version.fingerprint)


def _is_live(desired: Desired) -> bool:
    return desired.live is not None and desired.live.number == desired.target.number


def _why_exhausted(desired: Desired, observed: Observed) -> str:
    budget = desired.restart_budget
    if not budget or not _is_live(desired):
        return ""
    if any(i.stage is Stage.READY for i in observed.instances):
        return ""
    failed = [f for v in desired.target.versions for f in _failures(v, observed, desired.since)]
    if len(failed) < budget:
        return ""
    last = max(failed, key=lambda f: f.at)
    return f"no instance is ready after {len(failed)} failures within an hour: {last.message}"


def _failures(version: VersionTarget, observed: Observed, since: int) -> list[Failure]:
    found = [f for f in observed.failures if f.fingerprint == version.fingerprint and f.at >= since]
    return sorted(found, key=lambda f: f.at)


def not_before(version: VersionTarget, observed: Observed) -> int:
    """When (ms) the next start may happen: at once after one failure, then 0.5 s, 1 s … 60 s,
    shortened by jitter.
    """
    failed = _failures(version, observed, 0)
    if len(failed) < 2:
        return 0
    last = failed[-1].at
    wait = delay(len(failed) - 1, BACKOFF_FIRST_MS, BACKOFF_MAX_MS, jitter_at(last))
    return last + round(wait)
