"""The service's statuses, what may be done in each, and how one leads to another (services.md §7).

The two tables here are the only source: the checks read them, ``docs/states.md`` and the tests
are generated from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """``status`` of a service; ``finished`` only of a batch service."""

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
    PROPERTY = "property"
    DELETE = "delete"


class Verdict(StrEnum):
    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    SAME = "same"
    """The service already is, or is becoming, what is asked for."""


_YES, _NO, _SAME = Verdict.ALLOWED, Verdict.FORBIDDEN, Verdict.SAME

# Rows and columns as in services.md §7, "What is allowed in each state".
_TABLE: dict[Status, tuple[Verdict, Verdict, Verdict, Verdict, Verdict, Verdict]] = {
    #                   START  STOP   CONFIG DESCRIBE PROPERTY DELETE
    Status.DEPLOYING: (_NO, _YES, _NO, _YES, _NO, _YES),
    Status.RUNNING: (_SAME, _YES, _YES, _YES, _YES, _YES),
    Status.CONCERNING: (_NO, _YES, _YES, _YES, _YES, _YES),
    Status.FAILED: (_YES, _YES, _YES, _YES, _YES, _YES),
    Status.STOPPED: (_YES, _SAME, _YES, _YES, _NO, _YES),
    Status.FINISHED: (_YES, _NO, _YES, _YES, _NO, _YES),
    Status.STOPPING: (_NO, _NO, _NO, _NO, _NO, _NO),
    Status.DELETING: (_NO, _NO, _NO, _NO, _NO, _NO),
    Status.WAITING: (_NO, _YES, _NO, _YES, _NO, _YES),
    Status.PENDING: (_NO, _YES, _NO, _YES, _NO, _YES),
}


def may(status: Status, action: Action) -> Verdict:
    """Whether ``action`` is allowed in ``status``."""
    return _TABLE[status][list(Action).index(action)]


def allowed_in(action: Action) -> tuple[Status, ...]:
    """The statuses that allow ``action``, for messages that say what to wait for."""
    return tuple(status for status in Status if may(status, action) is Verdict.ALLOWED)


@dataclass(frozen=True, slots=True)
class Transition:
    """One way from a status to another. ``by``: ``user`` or ``server``."""

    before: Status
    trigger: str
    after: Status
    by: str


def _asked(action: Action, trigger: str, after: Status) -> tuple[Transition, ...]:
    return tuple(Transition(before, trigger, after, "user") for before in allowed_in(action))


_OTHER_WORK = "config update that changes what a batch run does (a new run)"
_WORKING = (Status.DEPLOYING, Status.RUNNING, Status.CONCERNING)

TRANSITIONS: tuple[Transition, ...] = (
    *_asked(Action.START, "start (status: running)", Status.DEPLOYING),
    Transition(Status.FAILED, "config or property update", Status.DEPLOYING, "user"),
    Transition(Status.FINISHED, "config update (batch: a new run)", Status.DEPLOYING, "user"),
    *(
        Transition(before, _OTHER_WORK, Status.DEPLOYING, "user")
        for before in (Status.RUNNING, Status.CONCERNING)
    ),
    *_asked(Action.STOP, "stop (status: stopped)", Status.STOPPING),
    *_asked(Action.DELETE, "delete", Status.DELETING),
    Transition(Status.DEPLOYING, "every version has its instances", Status.RUNNING, "server"),
    Transition(
        Status.DEPLOYING, "some versions are short of instances", Status.CONCERNING, "server"
    ),
    Transition(Status.DEPLOYING, "a version does not start", Status.FAILED, "server"),
    Transition(Status.RUNNING, "too few instances are ready", Status.CONCERNING, "server"),
    Transition(Status.CONCERNING, "all instances are back", Status.RUNNING, "server"),
    Transition(Status.RUNNING, "the instances keep failing", Status.FAILED, "server"),
    Transition(Status.CONCERNING, "the instances keep failing", Status.FAILED, "server"),
    *(
        Transition(before, "all input is processed (batch)", Status.FINISHED, "server")
        for before in _WORKING
    ),
    *(
        Transition(before, "the run cannot go on (batch)", Status.FAILED, "server")
        for before in _WORKING
    ),
    *(
        Transition(before, "the auto-stop time has come", Status.STOPPING, "server")
        for before in (Status.DEPLOYING, Status.RUNNING, Status.CONCERNING)
    ),
    Transition(Status.STOPPING, "the last instance has ended", Status.STOPPED, "server"),
)
"""Deploying begins a service's life, and a deleted one ends it once nothing of it is left."""


def follows(before: Status, after: Status) -> bool:
    """Whether a service may go from ``before`` to ``after`` in one step."""
    return before is after or any(
        step.before is before and step.after is after for step in TRANSITIONS
    )
