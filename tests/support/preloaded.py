"""A process that has imported the platform and forks control planes: a restart in 0.3 s, not 2.

The forked process is what ``python -m modelyard.composition`` would be after its imports, in a
session of its own, with the stack's settings. ``python tests/support/preloaded.py`` reads commands
from its standard input: ``start`` answers the new process's id, ``wait ID`` its exit code.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import signal
import subprocess
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from stack import Stack, wait_for


class Preloaded:
    """Starts and ends control planes of a stack that is up; ``crash``: the file that arms one.

    ``with`` takes over from the control plane that runs, and ends its own at the end, so that the
    stack can be brought up or down as usual.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.crash = stack.home / "crash-point"
        self.log = stack.home / "logs" / "control-plane.log"
        environment = {**stack.environment, "MODELYARD_CRASH": f"file:{self.crash}"}
        self._forker = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(self.log)],
            env=environment,
            cwd=stack.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid: int | None = None
        self.starts = 0

    def __enter__(self) -> Self:
        self._read()
        self._stack.kill_control_plane()
        # Its last threads may still hold the home for a moment.
        wait_for(self._home_is_free, 10, "the end of the control plane before")
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            if self.pid is not None:
                self.kill()
        finally:
            self._forker.kill()
            self._forker.wait()
            for pipe in (self._forker.stdin, self._forker.stdout):
                assert pipe is not None
                pipe.close()

    def start(self, *, wait: bool = True) -> None:
        """Start a control plane; with ``wait`` until it answers."""
        assert self.pid is None, "the one before has not ended"
        self.crash.unlink(missing_ok=True)
        self.pid = int(self._ask("start"))
        self.starts += 1
        if wait:
            wait_for(self._up_or_dead, 60, "an answer of the control plane")

    def _up_or_dead(self) -> bool:
        up = self.answers()
        assert up or self.alive, f"the control plane ended: {self.ended()}"
        return up

    def _home_is_free(self) -> bool:
        with (self._stack.home / "run" / "control-plane.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def answers(self) -> bool:
        """Whether the control plane answers through the public address."""
        connection = HTTPConnection("127.0.0.1", self._stack.port, timeout=3)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status in (200, 300)
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def arm(self, step: str, nth: int = 1) -> None:
        """The control plane is to die right after the ``nth`` time of ``step`` from now on."""
        aside = self.crash.with_suffix(".new")
        aside.write_text(f"after:{step}:{nth}")
        aside.replace(self.crash)

    def kill(self) -> None:
        """``kill -9``."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGKILL)
        assert self.ended() == -signal.SIGKILL

    def ended(self, timeout: float = 20) -> int:
        """Wait for the control plane to end; gives its exit code, negative for a signal."""
        assert self.pid is not None
        wait_for(lambda: not self.alive, timeout, "the end of the control plane")
        code = int(self._ask(f"wait {self.pid}"))
        self.pid = None
        return code

    @property
    def forker(self) -> int:
        """The id of the process that forks."""
        return self._forker.pid

    @property
    def alive(self) -> bool:
        if self.pid is None:
            return False
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def _ask(self, command: str) -> str:
        assert self._forker.stdin is not None
        self._forker.stdin.write(command + "\n")
        self._forker.stdin.flush()
        return self._read()

    def _read(self) -> str:
        assert self._forker.stdout is not None
        line = self._forker.stdout.readline()
        assert line, f"the forking process ended: {self._forker.poll()}"
        return str(json.loads(line))


def _fork(log: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        with log.open("ab") as out, Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        from modelyard.composition import main

        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            os.write(2, end.code.encode())
        os._exit(end.code if isinstance(end.code, int) else 1)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _serve(commands: IO[str], log: Path) -> None:
    import modelyard.composition  # noqa: F401

    # A collection in a forked process would copy every page that holds an object.
    gc.collect()
    gc.freeze()

    print(json.dumps("ready"), flush=True)
    for line in commands:
        command, _, argument = line.strip().partition(" ")
        if command == "start":
            answer = _fork(log)
        else:
            _, status = os.waitpid(int(argument), 0)
            answer = os.waitstatus_to_exitcode(status)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve(sys.stdin, Path(sys.argv[1]))
