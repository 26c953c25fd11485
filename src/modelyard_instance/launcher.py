"""How a front gets a worker: forked from its nursery where it has one, else started anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from modelyard_instance import nursery
from modelyard_instance.environment import lend_packages, scratch_folder, worker_environment
from modelyard_instance.nursery import Nursery
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
        # What confines an instance must be entered before anything else; only a plain start does.
        confined = (folder / "confinement.json").exists()
        suits = not spec.python and nursery.suits(spec.envs) and not confined
        self._nursery = forks if suits else None

    def launch(self, number: int, channel: int, output: int, cpu: float) -> Child:
        """Start worker ``number`` with ``cpu`` cores; raises ``OSError`` when there is no way to.

        From the main thread, always: PDEATHSIG follows the thread that made the child.
        """
        scratch_folder(self._folder).mkdir(exist_ok=True)
        environment = worker_environment(self._spec, self._folder, os.environ, number, cpu)
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
        return self._start(number, channel, output, environment)

    def _start(
        self, number: int, channel: int, output: int, environment: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        if self._spec.python:
            lend_packages(self._folder)
        own = ["--channel", str(channel), "--front", str(os.getpid()), "--number", str(number)]
        return subprocess.Popen(
            [
                self._spec.python or sys.executable,
                *("-m", "modelyard_instance.worker", "--dir", str(self._folder)),
                *own,
            ],
            env=environment,
            cwd=scratch_folder(self._folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(channel,),
            process_group=0,
        )
