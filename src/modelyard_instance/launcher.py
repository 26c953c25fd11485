"""How a front gets a worker: forked from its nursery where it has one, else started anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from modelyard_instance import nursery
from modelyard_instance.environment import lend_packages, work_folder, worker_environment
from modelyard_instance.nursery import Nursery
from modelyard_instance.shutting import MemoryWatch, shut_in
from modelyard_instance.spec import Spec


class Child(Protocol):
    """A worker's process, as far as its front needs to know it."""

    pid: int

    def wait(self) -> int:
        """The exit status, negative for a signal."""


class Launcher:
    """Starts workers of ``spec``, in ``folder``; numeric libraries get ``threads`` threads."""

    def __init__(self, spec: Spec, folder: Path, forks: Nursery | None = None) -> None:
        self._spec = spec
        self._folder = folder
        self._nursery = forks if not spec.python and nursery.suits(spec.envs) else None

    def memory_watch(self) -> MemoryWatch:
        """For a worker that is about to be launched."""
        return MemoryWatch(self._folder)

    def launch(self, number: int, channel: int, output: int, cpu: float) -> Child:
        """Start worker ``number`` with ``cpu`` cores; raises ``OSError`` when there is no way to.

        From the main thread, always: PDEATHSIG follows the thread that made the child.
        """
        own = work_folder(self._folder, number)
        own.mkdir(exist_ok=True)
        environment = worker_environment(self._spec, self._folder, os.environ, number, cpu)
        with shut_in(self._folder, own, output) as enter:
            if self._nursery is not None:
                order = {
                    "dir": str(self._folder),
                    "number": number,
                    "environment": environment,
                    "threads": max(1, int(cpu)),
                }
                try:
                    return self._nursery.spawn(order, channel, output)
                except OSError:
                    # It has died or does not answer; from now on without it.
                    self._nursery.close()
                    self._nursery = None
            if self._spec.python:
                lend_packages(self._folder)
            return subprocess.Popen(
                [
                    self._spec.python or sys.executable,
                    *("-m", "modelyard_instance.worker", "--dir", str(self._folder)),
                    *("--channel", str(channel), "--front", str(os.getpid())),
                    *("--number", str(number)),
                ],
                env=environment,
                cwd=own,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(channel,),
                process_group=0,
                preexec_fn=enter,
            )
