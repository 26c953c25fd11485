"""The request log: what the gateway saw of each prediction, found and counted.

Envoy appends a line for each prediction (``access_log.py``); it does so without us, too. The log
is bounded: at half of what it may take, the file is put aside in place of the one before it. While
no control plane runs, nobody does that.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import structlog

from modelyard.domain.canary.request_counts import RequestRecord, Tally, VersionKey
from modelyard.gateway.config.resources.access_log import FLUSH_MS
from modelyard.gateway.request_log import files
from modelyard.gateway.request_log.files import Position
from modelyard.gateway.request_log.lines import Counts, Entry, ServiceLines, parse
from modelyard.gateway.stats import Admin

log = structlog.get_logger(__name__)

LAG_MS = 1_000
"""How long after a prediction's end its line is surely there to be read."""

ROTATE_S = 1.0
"""How often the log's size is looked at."""

_MB = 1024 * 1024
_REQUEST_ID = re.compile(r"[0-9A-Za-z-]{8,64}")
# What is asked for again and again is asked for every few seconds.
_FORGET_S = 60.0
_MOST_KEPT = 100_000


class _Reading:
    """The count of one service's predictions from ``since`` (ms) on, as far as it was asked for.

    Remembers where it stopped, so that who asks every second pays for the second only.
    """

    def __init__(self, service_id: str, since: int) -> None:
        self._lines = ServiceLines(service_id)
        self._since = since
        self._counts = Counts()
        self._position: Position | None = None
        self._later: list[Entry] = []
        self._begun = False
        self.until = since
        self.whole = True
        self.used = time.monotonic()

    def read(self, path: Path, until: int) -> Mapping[VersionKey, Tally]:
        """Count what ended before ``until``, which must not be less than the last time. Blocks.

        Who asks of a time long ago pays for that time, not for all that has come since.
        """
        if not self._begun:
            self._position, self.whole = files.lines_since(path, self._since)
            self._begun = True
        self.until = until
        later, self._later = self._later, []
        for entry in later:
            self._take(entry)
        for piece, position, whole in files.read_on(path, self._position):
            self._position, self.whole = position, self.whole and whole
            for entry in self._lines.entries(piece):
                self._take(entry)
            if files.is_past(piece, until):
                break
        return self._counts.tallies()

    @property
    def size(self) -> int:
        """How much it keeps, in entries."""
        return 1 + len(self._later)

    def _take(self, entry: Entry) -> None:
        if entry.ended >= self.until:
            self._later.append(entry)
        elif entry.ended >= self._since:
            self._counts.add(entry)


class RequestLog:
    """``path`` is the file that Envoy writes; ``limit_mb`` 0: there is no log, nothing is found."""

    lag_ms = LAG_MS

    def __init__(self, path: Path, limit_mb: int, admin: Admin) -> None:
        self._path = path
        self._limit = limit_mb * _MB
        self._admin = admin
        self._readings: dict[tuple[str, int], _Reading] = {}
        self._lock = asyncio.Lock()

    @property
    def on(self) -> bool:
        """Whether predictions are logged at all."""
        return self._limit > 0

    async def find(self, request_id: str) -> RequestRecord | None:
        """The prediction whose answer carried ``request_id``; None when the log has it not.

        Takes a moment longer for an unknown id: the line of a fresh one may be on its way.
        """
        if not self.on or not _REQUEST_ID.fullmatch(request_id):
            return None
        needle = f" {request_id} ".encode()
        line = await asyncio.to_thread(files.search_back, self._path, needle)
        if line is None:
            await asyncio.sleep(2 * FLUSH_MS / 1000)
            line = await asyncio.to_thread(files.search_back, self._path, needle)
        return parse(line) if line is not None else None

    async def tallies(
        self, service_id: str, from_ms: int, until_ms: int
    ) -> Mapping[VersionKey, Tally]:
        """Predictions of the service that ended in [``from_ms``, ``until_ms``), by version.

        Final once ``until_ms`` is ``LAG_MS`` ago. Asking again with the same ``from_ms`` and a
        later ``until_ms`` reads only what has come since, and keeps what is rotated away
        meanwhile.
        """
        if not self.on or until_ms <= from_ms:
            return {}
        async with self._lock:
            reading = self._reading(service_id, from_ms, until_ms)
            found = await asyncio.to_thread(reading.read, self._path, until_ms)
            self._forget()
            return found

    async def complete(self, service_id: str, from_ms: int) -> bool:
        """Whether the log still has all of the service's predictions since ``from_ms``, or they
        have been counted by ``tallies`` with this ``from_ms``.
        """
        if not self.on:
            return False
        reading = self._readings.get((service_id, from_ms))
        if reading is not None:
            return reading.whole
        return (await asyncio.to_thread(files.lines_since, self._path, from_ms))[1]

    async def rotate(self) -> None:
        """Put the file aside when it is large enough, and have Envoy begin a new one."""
        if not self.on:
            return
        aside = files.former(self._path)
        try:
            if self._path.stat().st_size < self._limit // 2:
                return
            self._path.replace(aside)
        except FileNotFoundError:
            if not aside.exists():
                return  # Envoy has not begun
        try:
            await self._admin.post("/reopen_logs")
        except httpx.HTTPError as error:
            # Envoy goes on in the old file; the next call asks again.
            log.warning("the request log cannot be begun anew", reason=str(error))

    def _reading(self, service_id: str, from_ms: int, until_ms: int) -> _Reading:
        key = (service_id, from_ms)
        found = self._readings.pop(key, None)
        if found is None or found.until > until_ms:
            found = _Reading(service_id, from_ms)
        found.used = time.monotonic()
        self._readings[key] = found  # last in the order of use
        return found

    def _forget(self) -> None:
        """Drop the readings that nobody continues, and the oldest when they are too large."""
        begin = time.monotonic() - _FORGET_S
        kept = sum(reading.size for reading in self._readings.values())
        for key, reading in list(self._readings.items())[:-1]:
            if reading.used >= begin and kept <= _MOST_KEPT:
                return
            kept -= reading.size
            del self._readings[key]
