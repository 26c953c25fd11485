"""How a front gets a worker: forked from a fork server where it has one, else started anew."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from modelyard_instance.environment import lend_packages, work_folder, worker_environment
from modelyard_instance.prefork import fork_server
from modelyard_instance.prefork.fork_server import ForkServer
from modelyard_instance.sandbox.confined_launch import hand_over, shut_in
from modelyard_instance.spec import Spec


class Child(Protocol):
    """A worker's process, as far as its front needs to know it."""

    pid: int

    def pidfd(self) -> int:
        """A new descriptor of the process. Raises ``OSError``."""

    def kill(self) -> None:
        """End it and the processes of its group, also when it has ended itself."""

    def wait(self) -> int:
        """The exit status, negative for a signal, once it has ended."""


class _Started:
    """A worker that was started anew."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def pidfd(self) -> int:
        return os.pidfd_open(self.pid)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        return self._process.wait()


class Launcher:
    """Starts workers of ``spec``, the instance in ``folder``, each shut in before it runs.

    ``forks``: one with what the packages of ``spec``'s interpreter import.
    """

    def __init__(self, spec: Spec, folder: Path, forks: ForkServer | None = None) -> None:
        self.folder = folder
        self._spec = spec
        self._fork_server = None if fork_server.too_late(spec.envs) else forks

    def launch(self, number: int, channel: int, output: int, cpu: float) -> Child:
        """Start worker ``number`` with ``cpu`` cores; raises ``OSError`` when there is no way to.

        ``channel``: its socket, ``output``: its pipe for all it prints.

        From the main thread, always: PDEATHSIG follows the thread that made the child.
        """
        work = work_folder(self.folder, number)
        work.mkdir(exist_ok=True)
        plan = hand_over(self.folder, work, output)
        environment = worker_environment(self._spec, self.folder, os.environ, number, cpu)
        if self._spec.python:
            lend_packages(self.folder, self._spec.python)
        if self._fork_server is not None:
            order = {
                "dir": str(self.folder),
                "number": number,
                "environment": environment,
                "threads": max(1, int(cpu)),
                "envs": list(self._spec.envs),
            }
            try:
                return self._fork_server.spawn(order, channel, output)
            except OSError as error:
                # From now on without it; it stays as long as it has workers.
                print(f"no warm starts of workers any more: {error}", file=sys.stderr)
                self._fork_server = None
        own = ["--channel", str(channel), "--front", str(os.getpid()), "--number", str(number)]
        with shut_in(plan, work) as enter:
            return _Started(
                subprocess.Popen(
                    [
                        self._spec.python or sys.executable,
                        *("-m", "modelyard_instance.worker", "--dir", str(self.folder)),
                        *own,
                    ],
                    env=environment,
                    cwd=work,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(channel,),
                    process_group=0,
                    preexec_fn=enter,
                )
            )
