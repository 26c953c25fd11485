"""Records what a client of one service saw, and judges it against a small model (quality.md R3).

The model: the accepted updates form one line of revisions. A request without an answer may or may
not have been accepted; the update logs tell afterwards. From the moment an update is sent until a
client has seen that it succeeded, the revision before it and every one since may answer; then only
it and later ones. What has failed for good answers no more either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile

NEVER = float("inf")
SLACK_MS = 50.0
"""How far apart the clocks of two processes of one machine may read what happened at once."""

Version = tuple[str, int, int]
"""(model id, weight, count)"""
Config = tuple[Version, ...]


@dataclass(frozen=True, slots=True)
class Put:
    """An update. ``sent`` in ms; ``status`` is HTTP's, 0 when no answer came.

    ``update_time``: from the answer.
    """

    sent: float
    config: Config
    status: int = 0
    update_time: int = 0

    @property
    def accepted(self) -> bool:
        return self.status == 200

    @property
    def unanswered(self) -> bool:
        """Neither accepted nor refused, as far as the client knows."""
        return self.status == 0 or self.status >= 500


@dataclass(frozen=True, slots=True)
class Log:
    """One update log as shown. ``overtaken``: it failed because a later one took its place."""

    update_time: int
    revision: int
    result: str
    config: Config
    overtaken: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What the API showed: the logs (answered by ``logged``, ms), then the service (``shown``).

    ``whole``: all logs, not only the newest. ``settled``: a failed update is rolled back in full.
    """

    logged: float
    shown: float
    logs: tuple[Log, ...]
    config: Config
    live: int
    whole: bool = True
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """One good prediction: who gave it, by which revision."""

    sent: float
    ended: float
    version: str
    revision: int


@dataclass(slots=True)
class History:
    """All of one service. ``first``: what it was created with. ``versions``: model id → version."""

    first: Config
    versions: Mapping[str, str]
    puts: list[Put] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)


@dataclass(slots=True)
class _Revision:
    """Times in ms: ``opened`` when it was sent, ``ruling`` when it was seen to have succeeded,
    ``closed`` when it was seen to have failed for good.
    """

    number: int
    config: Config
    opened: float
    ruling: float = NEVER
    closed: float = NEVER


def check(history: History, *, finished: bool = False) -> list[str]:
    """Every contradiction found, in words; none for a history that can be.

    ``finished``: the last look was made at rest, so the last accepted update must be in force.
    """
    told = [*_illegal_weights(history), *_changed_logs(history.looks)]
    revisions, puzzles = _line(history)
    told += puzzles
    told += [w for look in history.looks for w in _judge_look(look)]
    told += _judge_answers(history, revisions)
    if finished and history.looks[-1].live != revisions[-1].number:
        told.append(f"in the end {history.looks[-1].live} is live, not {revisions[-1].number}")
    return told


def _illegal_weights(history: History) -> Iterable[str]:
    shown = [(log.config, f"log of {log.update_time}") for o in history.looks for log in o.logs]
    shown += [(look.config, f"show at {look.shown:.0f}") for look in history.looks]
    for config, where in dict.fromkeys(shown):
        weights = [weight for _, weight, _ in config]
        if sum(weights) != 100 or not all(0 <= weight <= 100 for weight in weights):
            yield f"{where}: weights {weights}"


def _changed_logs(looks: Sequence[Look]) -> Iterable[str]:
    """What a log says once it is closed stays, and none disappears."""
    known: dict[int, Log] = {}
    for look in looks:
        now = {log.update_time: log for log in look.logs}
        for update_time, before in known.items():
            after = now.get(update_time)
            if after is None:
                if look.whole:
                    yield f"the log of {update_time} disappeared at {look.logged:.0f}"
            elif before.config != after.config or before.revision != after.revision:
                yield f"the log of {update_time} tells of another update at {look.logged:.0f}"
            elif before.result not in ("RUNNING", after.result):
                yield f"the log of {update_time} went from {before.result} to {after.result}"
        known |= now


def _line(history: History) -> tuple[list[_Revision], list[str]]:
    """The accepted revisions, oldest first, each with the request that made it."""
    told: list[str] = []
    line = [_Revision(1, history.first, -NEVER, ruling=-NEVER)]
    puts, position = history.puts, -1
    by_time = {put.update_time: i for i, put in enumerate(puts) if put.accepted}
    known = {log.update_time: log for look in history.looks for log in look.logs}
    for update_time, log in sorted(known.items()):
        candidates = [
            i
            for i in ([by_time[update_time]] if update_time in by_time else range(len(puts)))
            if i > position
            and (update_time in by_time or puts[i].unanswered)
            and _same(puts[i].config, log.config)
        ]
        if not candidates:
            told.append(f"nobody asked at that time for the update of {update_time}: {log.config}")
            continue
        if log.revision <= line[-1].number:
            told.append(f"revision {log.revision} follows {line[-1].number}")
        position = candidates[0]
        line.append(_Revision(log.revision, log.config, puts[position].sent))
    for update_time in sorted(set(by_time) - set(known)):
        told.append(f"the update of {update_time} was accepted, but no log tells of it")
    _date(line, history.looks)
    return line, told


def _same(one: Config, other: Config) -> bool:
    return sorted(one) == sorted(other)


def _date(line: Sequence[_Revision], looks: Sequence[Look]) -> None:
    """When a client first saw each revision succeed or fail for good."""
    by_number = {revision.number: revision for revision in line}
    for look in looks:
        for log in look.logs:
            revision = by_number.get(log.revision)
            if revision is None:
                continue
            if log.result == "SUCCESS":
                revision.ruling = min(revision.ruling, look.logged)
            elif log.result == "FAIL" and not log.overtaken and look.settled:
                revision.closed = min(revision.closed, look.shown)


def _judge_look(look: Look) -> Iterable[str]:
    newest = max(look.logs, key=lambda log: log.update_time, default=None)
    if any(log.result == "RUNNING" and log is not newest for log in look.logs):
        yield f"at {look.logged:.0f} an update runs that another one followed"
    if newest and newest.result == "SUCCESS" and look.live < newest.revision:
        yield f"at {look.shown:.0f} {newest.revision} had succeeded, but {look.live} was live"
    shown = {log.revision: log.config for log in look.logs}
    if look.live in shown and not _same(look.config, shown[look.live]):
        yield f"at {look.shown:.0f} the service shows {look.config}, not what its revision is"


def _judge_answers(history: History, line: Sequence[_Revision]) -> Iterable[str]:
    """``line`` is in the order of time, so a window of it moves along with the answers."""
    rulings = sorted((r.ruling, place) for place, r in enumerate(line) if r.ruling < NEVER)
    first = seen = 0
    for answer in sorted(history.answers, key=lambda one: one.sent):
        since, until = answer.sent - SLACK_MS, answer.ended + SLACK_MS
        while seen < len(rulings) and rulings[seen][0] <= since:
            first = max(first, rulings[seen][1])
            seen += 1
        sent = takewhile(lambda r, until=until: r.opened <= until, islice(line, first, None))
        allowed = [r for r in sent if r.closed > since]
        names = {history.versions[m] for r in allowed for m, weight, _ in r.config if weight}
        numbers = {revision.number for revision in allowed}
        if answer.revision not in numbers or answer.version not in names:
            yield (
                f"at {answer.sent:.0f} {answer.version} answered for revision {answer.revision}; "
                f"allowed were {sorted(names)} of {sorted(numbers)}"
            )
