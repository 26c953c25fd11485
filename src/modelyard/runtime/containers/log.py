"""A container's output, copied into the instance's log while it runs.

The log's lines carry the engine's time stamps, so that a later control plane goes on where this one
stopped: what was said in between is still in the engine.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from modelyard.runtime import logfiles
from modelyard.runtime.containers.container import EngineError
from modelyard.runtime.containers.engine import ContainerEngine
from modelyard_instance.logs import RotatingLog

_SOURCE = "model"
_AGAIN_S = 1.0
_LINES = 200
_LONGEST_LINE = 64 * 1024
# What the engine says (nanoseconds), and what the log keeps of it (milliseconds).
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d) ?")


def parse_line(line: bytes) -> tuple[str, bytes]:
    """The time of a line from the engine, as the log has it ("" when it has none), and its text.

    >>> parse_line(b"2026-01-02T03:04:05.678901234Z hello")
    ('2026-01-02T03:04:05.678Z', b'hello')
    """
    found = _STAMP.match(line)
    if found is None:
        return "", line
    second, fraction, zone = (part.decode() for part in found.groups(b""))
    text = line[found.end() :]
    if zone == "Z":
        return f"{second}.{fraction[:3].ljust(3, '0')}Z", text
    moment = datetime.fromisoformat(f"{second}.{fraction[:6].ljust(6, '0')}{zone}")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z", text


class Resume:
    """Which lines the log has already, by its last ones."""

    def __init__(self, log_file: Path) -> None:
        said = logfiles.tail(log_file, _LINES)
        said = said or logfiles.tail(log_file.with_name(f"{log_file.name}.1"), _LINES)
        lines = [line.split(" ", 2) for line in said.splitlines()]
        own = [(words[0], words[-1]) for words in lines if len(words) == 3 and words[1] == _SOURCE]
        self._last = own[-1][0] if own else ""
        # Some engines tell whole seconds only, in which the same may be said several times.
        self._seen = Counter(text for stamp, text in own if stamp == self._last)

    @property
    def since(self) -> int:
        """From when on to ask, in seconds since 1970."""
        with contextlib.suppress(ValueError):
            return int(datetime.fromisoformat(self._last).timestamp())
        return 0

    def knows(self, stamp: str, text: bytes) -> bool:
        """Whether the line is there; to be asked of each line once, in their order."""
        if not stamp or stamp > self._last:
            return False
        said = text.decode("utf-8", "replace")
        self._seen[said] -= 1
        return stamp < self._last or self._seen[said] >= 0


class LogCapture:
    """Copies until the container has ended, or ``close``; ``alive`` tells a lost connection from
    the container's end. A full disk or a dead engine loses lines and nothing else.
    """

    def __init__(
        self, engine: ContainerEngine, name: str, log_file: Path, alive: Callable[[], bool]
    ) -> None:
        self._engine = engine
        self._name = name
        self._log_file = log_file
        self._alive = alive
        self._closing = threading.Event()
        self._end: Callable[[], None] | None = None
        self._thread = threading.Thread(target=self._run, name=f"log {name}", daemon=True)
        self._thread.start()

    def finish(self, timeout_s: float) -> None:
        """Wait until all that an ended container has said is in the log. Blocks."""
        # Some engines notice an end under a reader only after a while: read what is there instead.
        self._cut()
        self._thread.join(timeout_s)

    def close(self) -> None:
        """Stop copying."""
        self._closing.set()
        self._cut()

    def _cut(self) -> None:
        if self._end is not None:
            # The socket may be gone with the engine.
            with contextlib.suppress(Exception):
                self._end()

    def _run(self) -> None:
        while not self._closing.is_set():
            # Asked before: what a container says last may come after it has ended.
            lives = self._alive()
            # The connection's library has errors of many families; none may end the copying.
            with contextlib.suppress(Exception):
                self._copy(follow=lives)
            if not lives:
                return
            self._closing.wait(_AGAIN_S if self._alive() else 0)

    def _copy(self, *, follow: bool) -> None:
        resume = Resume(self._log_file)
        try:
            stream, self._end = self._engine.output(self._name, resume.since, follow=follow)
        except EngineError:
            return
        log = RotatingLog(self._log_file)
        try:
            for line in _lines(stream):
                stamp, text = parse_line(line)
                if not resume.knows(stamp, text):
                    log.write(_SOURCE, text or b" ", stamp)
        finally:
            log.close()


def _lines(stream: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines; those without an end are cut."""
    held = b""
    for piece in stream:
        *whole, held = (held + piece).split(b"\n")
        yield from (line.rstrip(b"\r") for line in whole)
        if len(held) > _LONGEST_LINE:
            yield held
            held = b""
    if held:
        yield held
