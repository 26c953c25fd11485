"""Run the operator's check scripts, which decide last in a canary rollout (docs/rollouts.md).

A script is an executable in the checks folder. It reads one JSON document from its standard input;
its exit status lets the rollout continue (0), pauses it (75) or rolls it back (any other). It runs
beside the reconciler, which never waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
import time
from asyncio.subprocess import STDOUT, Process
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from modelyard.domain.canary.analysis import Decision
from modelyard.domain.text import storable_text

LIMIT_S = 30
ASK_AGAIN_S = 5.0
"""Pause in seconds after a script that asked to wait."""
TEMPFAIL = 75
_KEPT_OUTPUT = 16 * 1024
_LONGEST_LINE = 300
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
# timeout(1) kills a script that does not heed its first signal one second later.
_KILL_DELAY_S = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The decision of a script; ``reason`` is a sentence."""

    decision: Decision
    reason: str


@dataclass(slots=True)
class _Run:
    """``answered_at`` (monotonic, s): when the answer was first given; None: not yet."""

    key: object
    task: asyncio.Task[Answer]
    answered_at: float | None = None


class Checks:
    """Runs the scripts of ``folder``, one at a time for each service.

    ``answered`` is called with the service's id when a script has ended. ``limit_s`` bounds each;
    one that asked to wait is run again after ``pause_s`` seconds.
    """

    def __init__(
        self,
        folder: Path,
        answered: Callable[[str], None] | None = None,
        limit_s: float = LIMIT_S,
        pause_s: float = ASK_AGAIN_S,
    ) -> None:
        self._folder = folder
        self._answered = answered
        self._limit_s = limit_s
        self._pause_s = pause_s
        self._runs: dict[str, _Run] = {}
        self._void: set[asyncio.Task[Answer]] = set()

    def names(self) -> tuple[str, ...]:
        """Return the names of the scripts, in order."""
        try:
            found = sorted(path.name for path in self._folder.iterdir() if _is_script(path))
        except OSError:
            return ()
        return tuple(found)

    def ask(
        self, service_id: str, key: object, name: str, document: Mapping[str, object]
    ) -> Answer | None:
        """The script's answer to the question that ``key`` stands for; None while it runs.

        The first call starts it. That it asks to wait is answered for a while; after any other
        answer the next call starts it anew. A question with another ``key`` ends the script that
        still runs for the service.
        """
        run = self._runs.get(service_id)
        if run is not None and (run.key != key or self._is_stale(run)):
            self._drop(run.task)
            run = None
        if run is None:
            run = _Run(key, self._start(service_id, name, json.dumps(document).encode()))
            self._runs[service_id] = run
        if not run.task.done():
            return None
        answer = run.task.result()
        if answer.decision is not Decision.HOLD:
            del self._runs[service_id]
        elif run.answered_at is None:
            run.answered_at = time.monotonic()
        return answer

    def _is_stale(self, run: _Run) -> bool:
        return run.answered_at is not None and time.monotonic() >= run.answered_at + self._pause_s

    async def close(self) -> None:
        """End the scripts that still run."""
        for run in self._runs.values():
            self._drop(run.task)
        self._runs.clear()
        await asyncio.gather(*self._void, return_exceptions=True)

    def _start(self, service_id: str, name: str, document: bytes) -> asyncio.Task[Answer]:
        work = run_check(self._folder, name, document, self._limit_s)
        task = asyncio.create_task(work, name=f"check {name}")
        if self._answered is not None:
            report = self._answered
            task.add_done_callback(lambda done: None if done.cancelled() else report(service_id))
        return task

    def _drop(self, task: asyncio.Task[Answer]) -> None:
        if not task.done():
            self._void.add(task)
            task.add_done_callback(self._void.discard)
            task.cancel()


async def run_check(folder: Path, name: str, document: bytes, limit_s: float = LIMIT_S) -> Answer:
    """Run one script to its end, in a process group of its own that ends with it.

    It gets neither our environment nor our descriptors. One that is missing, cannot be run or takes
    longer than ``limit_s`` seconds refuses the version.
    """
    path = folder / name
    if not _is_script(path):
        return Answer(Decision.ROLL_BACK, f"check {name} is not in the checks folder any more")
    began = time.monotonic()
    try:
        process, output = await _launch(path, document, limit_s)
    except OSError as error:
        return Answer(Decision.ROLL_BACK, f"check {name} cannot be run: {error.strerror}")
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), limit_s + _KILL_DELAY_S)
        late = time.monotonic() - began >= limit_s
        # What the script left behind ends with it, and with that its output.
        await _end(process)
        message = _last_line(await output)
        return _answer(name, process.returncode, message, limit_s, late=late)
    finally:
        output.cancel()
        await asyncio.gather(output, return_exceptions=True)
        await _end(process)


async def _launch(
    path: Path, document: bytes, limit_s: float
) -> tuple[Process, asyncio.Task[bytes]]:
    """Start the script; returns its process, and the end of what it prints.

    The event loop must not own its pipes: it would take the process to be alive as long as anything
    that it left behind holds one.
    """
    reading, writing = os.pipe()
    pipe = os.fdopen(reading, "rb", buffering=0)
    try:
        # A file need not be fed, and may go unread.
        with tempfile.TemporaryFile() as stdin:
            stdin.write(document)
            stdin.seek(0)
            process = await asyncio.create_subprocess_exec(
                *_command(path, limit_s),
                stdin=stdin,
                stdout=writing,
                stderr=STDOUT,
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
                cwd=path.parent,
                start_new_session=True,
            )
    except BaseException:
        pipe.close()
        raise
    finally:
        os.close(writing)
    return process, asyncio.create_task(_end_of_output(pipe), name=f"output of {path.name}")


async def _end_of_output(pipe: FileIO) -> bytes:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    kept = bytearray()
    try:
        while chunk := await reader.read(4096):
            kept += chunk
            del kept[:-_KEPT_OUTPUT]
    finally:
        transport.close()
    return bytes(kept)


def _command(path: Path, limit_s: float) -> list[str]:
    """With timeout(1) in front, a script ends in time even where we do not live to see it."""
    timeout = shutil.which("timeout")
    return [timeout, "-k", "1", f"{limit_s:g}", str(path)] if timeout else [str(path)]


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _answer(name: str, status: int | None, message: str, limit_s: float, *, late: bool) -> Answer:
    because = f": {message}" if message else ""
    if late:
        return Answer(Decision.ROLL_BACK, f"check {name} did not end within {limit_s:g} s{because}")
    if status == 0:
        return Answer(Decision.CONTINUE, f"check {name} agrees{because}")
    if status == TEMPFAIL:
        return Answer(Decision.HOLD, f"check {name} asks to wait{because}")
    killed = status is not None and status < 0
    ended = f"killed by signal {-(status or 0)}" if killed else f"exit status {status}"
    return Answer(Decision.ROLL_BACK, f"check {name} refuses: {message or ended}")


def _last_line(output: bytes) -> str:
    lines = storable_text(output.decode(errors="replace")[-_LONGEST_LINE * 4 :]).split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return last[:_LONGEST_LINE]


def _is_script(path: Path) -> bool:
    return bool(_NAME.fullmatch(path.name)) and path.is_file() and os.access(path, os.X_OK)
