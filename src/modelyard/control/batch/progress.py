"""How far a batch run is, as its row and its driver's words tell; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from modelyard.batch.spec import Progress
from modelyard.domain.service.batch_job import CSV

JsonObject = dict[str, Any]

MILESTONES = (25, 50, 75)
"""Percents that an event tells of."""
BACKOFF_FIRST_MS = 1_000
BACKOFF_MAX_MS = 30_000
STEADY_MS = 60_000
"""A driver that ran for so long has not failed at once: its loss counts as a first one."""
LOSSES_AT_MOST = 12
"""Drivers lost in a row, each within ``STEADY_MS`` and without any progress, after which a run is
given up.
"""


class RunOutcome(StrEnum):
    """``outcome`` of a run's row."""

    OPEN = ""
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    REPLACED = "replaced"
    """A configuration update took its place."""


@dataclass(frozen=True, slots=True)
class Driver:
    """What is known of a run's driver: see ``store/tables/batch.py``. Times in ms."""

    since: int | None = None
    losses: int = 0
    due: int = 0

    def seen(self, alive: bool, now: int) -> Driver:
        """After a look at it: one that was there and is not is lost, and may start again later."""
        if alive:
            return self if self.since is not None else Driver(now, self.losses, self.due)
        if self.since is None:
            return self
        losses = 1 if now - self.since >= STEADY_MS else self.losses + 1
        return Driver(None, losses, now + backoff_ms(losses))

    def after(self, before: Progress, progress: Progress) -> Driver:
        """It has told of ``progress``. Where that is further than ever, no loss was in vain."""
        gets_on = work_done(progress) > work_done(before)
        return Driver(self.since, 0, self.due) if gets_on else self

    @property
    def hopeless(self) -> bool:
        return self.losses >= LOSSES_AT_MOST


def work_done(progress: Progress) -> tuple[int, int]:
    """Files and rows that are settled; what a driver that was lost does anew comes here again."""
    return progress.files_done, progress.rows_done


def backoff_ms(losses: int) -> int:
    """How long to wait after so many losses in a row: 0, 1, 2, 4 … 30 s.

    >>> [backoff_ms(n) for n in (1, 2, 3, 4, 7, 50)]
    [0, 1000, 2000, 4000, 30000, 30000]
    """
    if losses < 2:
        return 0
    return min(BACKOFF_FIRST_MS << min(losses - 2, 16), BACKOFF_MAX_MS)


def to_json(progress: Progress) -> JsonObject:
    """As the row keeps it."""
    return asdict(progress)


def from_json(body: Mapping[str, Any]) -> Progress:
    """The inverse of ``to_json``; of a driver before ours, as far as it is known."""
    known = {field.name for field in fields(Progress)}
    return Progress(**{name: value for name, value in body.items() if name in known})


def percent(progress: Progress, outcome: RunOutcome, mapping_type: str) -> int:
    """0 to 100; below 100 while the run goes on, for results are still to be delivered."""
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
    """In rows for a CSV, else in files."""
    if mapping_type == CSV:
        return Counts("rows", progress.rows_done, progress.rows_failed)
    return Counts("files", progress.files_done, progress.files_failed)


def failures(progress: Progress) -> int:
    """How many rows or files there are to compute again."""
    return progress.rows_failed + progress.files_failed


def milestone(before: int, after: int) -> int | None:
    """The last milestone that was passed from one percentage to another."""
    passed = [mark for mark in MILESTONES if before < mark <= after]
    return passed[-1] if passed else None
