"""One connection that predicts without pause, and tells when an answer of some kind first comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import Self

_PAUSE_S = 0.002
"""Between two predictions: the platform under test shares the machine."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``at``: when it arrived, seconds of ``time.perf_counter``."""

    at: float
    status: int
    version: str
    instance: str


class Prober:
    """Predicts while the ``with`` block lasts; counts those that were not answered with 200."""

    def __init__(self, port: int, path: str, token: str, body: str) -> None:
        self.answered = 0
        self.failed = 0
        self.instances: set[str] = set()
        self._port = port
        self._path = path
        self._headers = {"X-Auth-Token": token, "Content-Type": "application/json"}
        self._body = body.encode()
        self._wanted: Callable[[Answer], bool] | None = None
        self._found: Answer | None = None
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="prober")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping = True
        self._thread.join()

    def watch_for(self, wanted: Callable[[Answer], bool]) -> None:
        """From now on the first answer that ``wanted`` accepts is kept for ``first``."""
        with self._changed:
            self._wanted, self._found = wanted, None

    def first(self, timeout_s: float) -> Answer:
        """The answer watched for. Raises ``RuntimeError`` when it does not come in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._found is not None, timeout_s):
                raise RuntimeError(f"no such answer within {timeout_s} s")
            assert self._found is not None
            return self._found

    def wait_more(self, count: int, timeout_s: float = 60) -> None:
        """Wait for ``count`` further answers."""
        with self._changed:
            until = self.answered + count
            if not self._changed.wait_for(lambda: self.answered >= until, timeout_s):
                raise RuntimeError(f"no {count} answers within {timeout_s} s")

    def _run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._stopping:
            self._note(self._predict(connection))
            time.sleep(_PAUSE_S)
        connection.close()

    def _predict(self, connection: HTTPConnection) -> Answer:
        try:
            connection.request("POST", self._path, self._body, self._headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            connection.close()
            return Answer(time.perf_counter(), 0, "", "")
        return Answer(
            time.perf_counter(),
            answer.status,
            answer.getheader("x-modelyard-model-version") or "",
            answer.getheader("x-modelyard-instance") or "",
        )

    def _note(self, answer: Answer) -> None:
        with self._changed:
            self.answered += 1
            self.failed += answer.status != 200
            if self._found is None and self._wanted is not None and self._wanted(answer):
                self._found = answer
            if answer.instance:
                self.instances.add(answer.instance)
            self._changed.notify_all()
