"""Lines of the request log, taken apart (pure). ``access_log.py`` tells Envoy to write them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from modelyard.domain.canary.request_counts import (
    BOUNDS_MS,
    RequestRecord,
    Tally,
    VersionKey,
    bucket,
    is_lost,
)
from modelyard.gateway.config.resources import names
from modelyard.gateway.config.resources.access_log import BREAK_MARK

_LINE = re.compile(
    r"(?P<cluster>\S+) (?P<ended>\d+) (?P<us>\d+|-) (?P<status>\d+) (?P<flags>\S+) "
    r"(?P<attempts>\d+|-) (?P<revision>\S+) (?P<instance>\S+) (?P<id>\S+) (?P<route>\S+)"
)
_ENDED = re.compile(rb"\S+ (\d+) ")
# A WebSocket (101) is no prediction: it lasts for as long as it likes, and ends as it likes.
_SPENT = rb" (\d+) (\d+|-) (?!101 )(\d+) (\S+) (\d+|-) "


def ended_at(line: bytes) -> int | None:
    """When the prediction of a line ended, ms since 1970; None for what is no line."""
    match = _ENDED.match(line)
    return int(match[1]) if match else None


def parse(line: str) -> RequestRecord | None:
    """The prediction that a line tells of; None for a line of another kind, or a broken one."""
    match = _LINE.fullmatch(line)
    if match is None or match["cluster"].startswith(BREAK_MARK):
        return None
    cluster = names.parse_cluster(match["cluster"])
    if cluster is None:
        if not match["route"].startswith(names.UNSERVED):
            return None
        cluster = names.ClusterName(match["route"].removeprefix(names.UNSERVED), "")
    duration_ms = int(match["us"]) / 1000 if match["us"] != "-" else 0.0
    return RequestRecord(
        at=int(match["ended"]) - round(duration_ms),
        duration_ms=duration_ms,
        status=int(match["status"]),
        flags=_flags(match["flags"]),
        request_id=match["id"],
        service_id=cluster.service_id,
        model_id=cluster.model_id,
        variant=cluster.variant,
        revision=int(match["revision"]) if match["revision"].isdecimal() else None,
        instance_id=match["instance"] if match["instance"] != "-" else "",
        attempts=int(match["attempts"]) if match["attempts"] != "-" else 0,
    )


def _flags(text: str) -> tuple[str, ...]:
    return () if text == "-" else tuple(text.split(","))


_NEVER = -1


class Entry(NamedTuple):
    """What a tally needs of one line. ``broke``: it tells of a connection, not of a prediction.
    ``micros``: ``_NEVER`` when the answer was not sent to its end.
    """

    ended: int
    version: bytes
    broke: bool
    micros: int
    status: int
    flags: bytes
    attempts: int


class ServiceLines:
    """Finds the lines of one service. Patterns begin with literal bytes, so that what belongs to
    other services is skipped at the speed of a plain search.
    """

    def __init__(self, service_id: str) -> None:
        name = re.escape(service_id.encode())
        mark = re.escape(BREAK_MARK.encode())
        unserved = re.escape(f"{names.UNSERVED}{service_id}".encode())
        self._predictions = re.compile(rb"\n" + name + rb"/(\S+)" + _SPENT)
        self._breaks = re.compile(rb"\n" + mark + name + rb"/(\S+) (\d+) ")
        self._unserved = re.compile(rb"\n-" + _SPENT + rb"\S+ \S+ \S+ " + unserved + rb"(?=\n)")

    def entries(self, lines: bytes) -> Iterator[Entry]:
        """Of whole lines, each with its line feed."""
        block = b"\n" + lines
        for version, ended, micros, status, flags, attempts in self._predictions.findall(block):
            yield _entry(version, ended, micros, status, flags, attempts)
        for version, ended in self._breaks.findall(block):
            yield Entry(int(ended), version, True, 0, 0, b"", 0)
        for ended, micros, status, flags, attempts in self._unserved.findall(block):
            yield _entry(b"", ended, micros, status, flags, attempts)


def _entry(
    version: bytes, ended: bytes, micros: bytes, status: bytes, flags: bytes, attempts: bytes
) -> Entry:
    spent = int(micros) if micros != b"-" else _NEVER
    tries = int(attempts) if attempts != b"-" else 0
    return Entry(int(ended), version, False, spent, int(status), flags, tries)


class _Sum:
    """A tally in the making."""

    __slots__ = ("errors", "latencies", "longest", "lost", "requests", "resets", "retried")

    def __init__(self) -> None:
        self.requests = self.errors = self.lost = self.resets = self.retried = self.longest = 0
        self.latencies = [0] * (len(BOUNDS_MS) + 1)


class Counts:
    """Adds entries up, by version."""

    def __init__(self) -> None:
        self._sums: dict[bytes, _Sum] = {}

    def add(self, entry: Entry) -> None:
        found = self._sums.get(entry.version)
        if found is None:
            found = self._sums[entry.version] = _Sum()
        if entry.broke:
            found.resets += 1
            return
        found.requests += 1
        if entry.micros != _NEVER:
            found.latencies[bucket(entry.micros / 1000)] += 1
        if entry.micros > found.longest:
            found.longest = entry.micros
        if entry.attempts > 1:
            found.retried += 1
        if entry.status >= 500 or entry.flags != b"-":
            lost = not entry.version or is_lost(_flags(entry.flags.decode()))
            found.lost += lost
            found.errors += lost or entry.status >= 500

    def tallies(self) -> Mapping[VersionKey, Tally]:
        result: dict[VersionKey, Tally] = {}
        for version, found in self._sums.items():
            model_id, _, variant = version.decode().partition("@")
            result[VersionKey(model_id, variant)] = Tally(
                requests=found.requests,
                errors=found.errors,
                lost=found.lost,
                resets=found.resets,
                retried=found.retried,
                longest_ms=-(-found.longest // 1000),
                latencies=tuple(found.latencies),
            )
        return result
