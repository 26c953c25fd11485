"""What a load run measures, and the handle that tests and benchmarks hold on one."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_CHECKER = Path(__file__).with_name("load.py")
_KEPT_FAILURES = 20


@dataclass(frozen=True, slots=True)
class Record:
    """One request. ``start_ms`` wall clock; ``status`` 0 when there was no answer, ``error`` why.

    ``ended_ms`` is when the last byte of the answer arrived.
    """

    start_ms: float
    ended_ms: float
    status: int
    version: str
    revision: str
    error: str

    @property
    def took_ms(self) -> float:
        return self.ended_ms - self.start_ms

    @property
    def ok(self) -> bool:
        return self.status == 200 and not self.error

    def line(self) -> str:
        error = self.error.replace("\t", " ").replace("\n", " ")
        return (
            f"{self.start_ms:.3f}\t{self.ended_ms:.3f}\t{self.status}\t{self.version}"
            f"\t{self.revision}\t{error}\n"
        )

    @classmethod
    def parse(cls, line: str) -> Record:
        start, ended, status, version, revision, error = line.rstrip("\n").split("\t")
        return cls(float(start), float(ended), int(status), version, revision, error)


@dataclass(slots=True)
class Summary:
    """What a run, or a window of it, came to. Times in milliseconds."""

    sent: int = 0
    ok: int = 0
    failed_count: int = 0
    skipped: int = 0
    seconds: float = 0.0
    per_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    failed: list[dict[str, Any]] = field(default_factory=list)

    def share(self, version: str) -> float:
        """Per cent of the good answers that ``version`` gave."""
        return 100.0 * self.versions.get(version, 0) / self.ok if self.ok else 0.0


def summarise(records: Sequence[Record], skipped: int = 0) -> Summary:
    """Count ``records``; the first failures are kept whole."""
    if not records:
        return Summary(skipped=skipped)
    times = sorted(r.took_ms for r in records)
    good = [r for r in records if r.ok]
    bad = [r for r in records if not r.ok]
    seconds = (max(r.ended_ms for r in records) - min(r.start_ms for r in records)) / 1000
    return Summary(
        sent=len(records),
        ok=len(good),
        failed_count=len(bad),
        skipped=skipped,
        seconds=seconds,
        per_second=len(records) / seconds if seconds else 0.0,
        p50_ms=times[len(times) // 2],
        p99_ms=times[min(len(times) - 1, int(len(times) * 0.99))],
        max_ms=times[-1],
        statuses=dict(Counter(str(r.status) for r in records)),
        versions=dict(Counter(r.version for r in good)),
        revisions=dict(Counter(r.revision for r in good)),
        failed=[asdict(r) for r in bad[:_KEPT_FAILURES]],
    )


class LoadRun:
    """A running checker. Use as a context manager; ``stop`` gives the summary.

    ``folder`` takes the record file; ``rate`` in requests/s (0: closed loop), ``seconds`` the
    longest run, ``count`` the number of requests to end after (0: no limit).
    """

    def __init__(
        self,
        url: str,
        *,
        folder: Path,
        token: str = "",
        body: str = "{}",
        rate: float = 600,
        connections: int = 8,
        seconds: float = 600,
        timeout: float = 45,
        count: int = 0,
    ) -> None:
        self._records = folder / f"load-{time.monotonic_ns()}.tsv"
        options = {
            "url": url,
            "token": token,
            "body": body,
            "rate": rate,
            "connections": connections,
            "seconds": seconds,
            "timeout": timeout,
            "count": count,
            "records": self._records,
        }
        argv = [sys.executable, str(_CHECKER)]
        argv += [f"--{name}={value}" for name, value in options.items()]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self._summary: Summary | None = None
        self._changed = threading.Condition()
        self.counters: dict[str, int] = {"sent": 0, "done": 0, "failed": 0}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            with self._changed:
                if "summary" in said:
                    self._summary = Summary(**said["summary"])
                else:
                    self.counters = said
                self._changed.notify_all()

    def wait_done(self, count: int, timeout: float = 60) -> None:
        """Wait until ``count`` requests have been answered in all."""
        with self._changed:
            reached = self._changed.wait_for(lambda: self.counters["done"] >= count, timeout)
        assert reached, f"only {self.counters} of {count} requests within {timeout} s"

    def wait_more(self, count: int, timeout: float = 60) -> None:
        """Wait for ``count`` further answers."""
        self.wait_done(self.counters["done"] + count, timeout)

    def records(self, start_ms: float = 0, end_ms: float = float("inf")) -> list[Record]:
        """The requests that were *sent* in the window, so far written."""
        return [r for r in self._lines() if start_ms <= r.start_ms < end_ms]

    def _lines(self) -> Iterator[Record]:
        text = self._records.read_text(encoding="utf-8")
        for line in text[: text.rfind("\n") + 1].splitlines():
            yield Record.parse(line)

    def finish(self, timeout: float = 900) -> Summary:
        """Wait for the run to end by itself."""
        try:
            self._process.wait(timeout)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        self._reader.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        assert self._summary is not None, f"load checker ended with {self._process.returncode}"
        return self._summary

    def stop(self) -> Summary:
        """End the load (requests in flight are waited for) and count."""
        if self._summary is None and self._process.poll() is None:
            self._process.terminate()
        return self.finish(timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None or self._reader.is_alive():
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                self.stop()
