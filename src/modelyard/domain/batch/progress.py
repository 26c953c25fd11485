"""How far a batch run is, by its record and its driver's reports; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from modelyard.domain.batch.run import Progress, RunOutcome
from modelyard.domain.service.batch_job import CSV
from modelyard_instance.backoff import delay, jitter_at

JsonObject = dict[str, Any]

MILESTONES = (25, 50, 75)
"""Percentages that an event reports."""
BACKOFF_FIRST_MS = 1_000
BACKOFF_MAX_MS = 30_000
STEADY_MS = 60_000
"""A driver that ran for so long has not failed at once: its loss counts as a first one."""
LOSSES_AT_MOST = 12
"""Drivers lost in a row, each within ``STEADY_MS`` and without any progress, after which a run is
given up.
"""


@dataclass(frozen=True, slots=True)
class Driver:
    """The state of a run's driver (``store/tables/batch.py``). Times in ms."""

    since: int | None = None
    losses: int = 0
    due: int = 0

    def seen(self, alive: bool, now: int) -> Driver:
        """Return the state after a look: a driver that was there and is gone is lost, and may start
        again at ``due``.
        """
        if alive:
            return self if self.since is not None else Driver(now, self.losses, self.due)
        if self.since is None:
            return self
        losses = 1 if now - self.since >= STEADY_MS else self.losses + 1
        return Driver(None, losses, now + backoff_ms(losses, now))

    def after(self, before: Progress, progress: Progress) -> Driver:
        """Return the state after a report of ``progress``; progress forgives earlier losses."""
        gets_on = work_done(progress) > work_done(before)
        return Driver(self.since, 0, self.due) if gets_on else self

    @property
    def hopeless(self) -> bool:
        """Whether too many drivers in a row were lost without progress."""
        return self.losses >= LOSSES_AT_MOST


def work_done(progress: Progress) -> tuple[int, int]:
    """Return the files and rows that are done; after a lost driver some are done again."""
    return progress.files_done, progress.rows_done


def backoff_ms(losses: int, now: int) -> int:
    """Return the pause after so many losses in a row, the last at ``now``: 0, 1, 2, 4 … 30 s,
    shortened by jitter.
    """
    return round(delay(losses - 1, BACKOFF_FIRST_MS, BACKOFF_MAX_MS, jitter_at(now)))


def to_json(progress: Progress) -> JsonObject:
    """Return ``progress`` as the record keeps it."""
    return asdict(progress)


def from_json(body: Mapping[str, Any]) -> Progress:
    """Return the inverse of ``to_json``; members of another build are ignored."""
    known = {field.name for field in fields(Progress)}
    return Progress(**{name: value for name, value in body.items() if name in known})


def percent(progress: Progress, outcome: RunOutcome, mapping_type: str) -> int:
    """Return 0 to 100; below 100 while the run continues: its results are still delivered."""
    if outcome is RunOutcome.FINISHED:
        return 100
    if not progress.listed:
        return 0
    part, whole = progress.files_done, progress.files_total
    if mapping_type == CSV:
        part, whole = progress.bytes_done, progress.bytes_total
    if whole <= 0:
        return 0
    return min(99, 100 * part // whole)


@dataclass(frozen=True, slots=True)
class Counts:
    """What was processed, the failed ones among it; ``what``: ``rows`` or ``files``."""

    what: str
    processed: int
    failed: int

    def __str__(self) -> str:
        return f"{self.processed:,} {self.what} processed, {self.failed:,} failed"


def counts(progress: Progress, mapping_type: str) -> Counts:
    """Count rows for a CSV, else files."""
    if mapping_type == CSV:
        return Counts("rows", progress.rows_done, progress.rows_failed)
    return Counts("files", progress.files_done, progress.files_failed)


def failures(progress: Progress) -> int:
    """Count the rows or files that a retry would compute again."""
    return progress.rows_failed + progress.files_failed


def milestone(before: int, after: int) -> int | None:
    """Return the last milestone between two percentages, or None."""
    passed = [mark for mark in MILESTONES if before < mark <= after]
    return passed[-1] if passed else None
