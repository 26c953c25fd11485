"""The service's statuses and what may be done in each (services.md §7)."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """``status`` of a real-time service."""

    DEPLOYING = "deploying"
    RUNNING = "running"
    CONCERNING = "concerning"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DELETING = "deleting"
    FINISHED = "finished"
    PENDING = "pending"
    WAITING = "waiting"


class Action(StrEnum):
    """What a caller asks for."""

    START = "status=running"
    STOP = "status=stopped"
    CONFIGURE = "config"
    DESCRIBE = "description/schedule"
    DELETE = "delete"


class Verdict(StrEnum):
    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    SAME = "same"
    """The service already is, or is becoming, what is asked for."""


_YES, _NO, _SAME = Verdict.ALLOWED, Verdict.FORBIDDEN, Verdict.SAME

# Rows and columns as in services.md §7, "What is allowed in each state".
_TABLE: dict[Status, tuple[Verdict, Verdict, Verdict, Verdict, Verdict]] = {
    #                   START  STOP   CONFIGURE DESCRIBE DELETE
    Status.DEPLOYING: (_NO, _YES, _NO, _YES, _YES),
    Status.RUNNING: (_SAME, _YES, _YES, _YES, _YES),
    Status.CONCERNING: (_NO, _YES, _YES, _YES, _YES),
    Status.FAILED: (_YES, _YES, _YES, _YES, _YES),
    Status.STOPPED: (_YES, _SAME, _YES, _YES, _YES),
    Status.FINISHED: (_YES, _NO, _YES, _YES, _YES),
    Status.STOPPING: (_NO, _NO, _NO, _NO, _NO),
    Status.DELETING: (_NO, _NO, _NO, _NO, _NO),
    Status.WAITING: (_NO, _YES, _NO, _YES, _YES),
    Status.PENDING: (_NO, _YES, _NO, _YES, _YES),
}


def may(status: Status, action: Action) -> Verdict:
    """Whether ``action`` is allowed in ``status``."""
    return _TABLE[status][list(Action).index(action)]


def allowed_in(action: Action) -> tuple[Status, ...]:
    """The statuses that allow ``action``, for messages that say what to wait for."""
    return tuple(status for status in Status if may(status, action) is Verdict.ALLOWED)
