"""Predictions on their way, and how many of them a worker is given at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from modelyard_instance.replies import Reply

MOST_AHEAD = 128
HORIZON_S = 0.002
"""What lies in a worker's socket should be done within this time; more waits in the front, from
where it can be taken back and given to another worker."""
_FORGETS = 0.2


class Caller(Protocol):
    """Who asked, and is owed exactly one answer; ``http.Exchange`` in real life.

    ``done``: answered, or nobody is there any more. ``flow`` is told False while the caller takes
    pieces too slowly.
    """

    done: bool
    flow: Callable[[bool], None] | None

    def answer(self, reply: Reply) -> None:
        """The whole answer."""

    def answer_json(self, body: bytes) -> None:
        """200 with a JSON body."""

    def begin(self, status: int, content_type: bytes) -> None:
        """Start an answer in pieces."""

    def chunk(self, data: bytes) -> None:
        """One piece."""

    def end(self, whole: bool = True, error: bytes = b"") -> None:
        """The end of an answer in pieces; not ``whole``: broken off, by ``error`` if known."""

    def cut(self) -> None:
        """Break the answer off at once, whatever has been sent of it."""


class Job:
    """One prediction. ``deadline``: monotonic time at which its caller has waited long enough.

    ``alone``: it was in a batch whose worker died, and must not take another batch with it.
    """

    __slots__ = ("alone", "body", "caller", "deadline", "header")

    def __init__(self, caller: Caller, header: bytes, body: bytes, deadline: float) -> None:
        self.caller = caller
        self.header = header
        self.body = body
        self.deadline = deadline
        self.alone = False


class Pacing:
    """How long one prediction of a worker takes; quick to believe in slowness, slow in speed."""

    __slots__ = ("recent_s",)

    def __init__(self) -> None:
        self.recent_s = HORIZON_S

    def note(self, seconds: float, answers: int) -> None:
        """``answers`` came ``seconds`` after the first of them was begun."""
        each = seconds / answers
        self.recent_s = max(each, self.recent_s + _FORGETS * (each - self.recent_s))

    def room(self, batch: int, sent: int, *, ahead: bool) -> int:
        """How many more predictions the worker may be given. Pure.

        ``batch``: how many it computes at once; ``sent``: how many it has. An idle worker gets a
        batch. Beyond that (``ahead``) only as many as it will have done within ``HORIZON_S``:
        reading ahead spares two changes of process per prediction, and must not hold anyone up.
        """
        least = batch if sent == 0 else 0
        if not ahead:
            return least
        depth = min(MOST_AHEAD, int(HORIZON_S / max(self.recent_s, 1e-6)))
        return max(least, depth - sent)


def next_batch(queue: deque[Job], room: int, *, idle: bool) -> list[Job]:
    """Take up to ``room`` predictions off ``queue``, leaving out those nobody waits for.

    One that must be computed alone is taken only for an idle worker, and by itself.
    """
    taken: list[Job] = []
    while queue and len(taken) < room:
        job = queue[0]
        if job.caller.done:
            queue.popleft()
        elif not job.alone:
            taken.append(queue.popleft())
        elif idle and not taken:
            return [queue.popleft()]
        else:
            break
    return taken
