"""One request to the model, from the queue to its answer."""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """Who is told what became of its work; once for each."""

    def done(self, work: Work, status: int, body: bytes) -> None:
        """The answer; ``status`` 0: there is none, and ``body`` says why."""


class Work:
    """``kind``: content type of ``body``. ``losses``: how often its connection was lost,
    ``refusals``: how often an instance would not compute it. ``late``: its instance seemed to hang.
    """

    __slots__ = ("body", "kind", "late", "losses", "refusals", "sink")

    def __init__(self, sink: Sink, kind: str, body: bytes) -> None:
        self.sink = sink
        self.kind = kind
        self.body = body
        self.losses = 0
        self.refusals = 0
        self.late = False
