"""The ``openstack`` command as a person runs it: nothing but the variables of ``modelyard env``."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack import Stack

_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class OpenStack:
    """Runs commands of python-openstackclient and the otcextensions plug-in."""

    def __init__(self, stack: Stack, home: Path) -> None:
        self._exports = stack.run("env").stdout
        # An own empty home: no clouds.yaml, no variables of the tester's.
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "PYTHONWARNINGS": "ignore",
        }

    @property
    def environment(self) -> dict[str, str]:
        """What the exports set, for clients in other processes."""
        told = self._shell("eval $(cat); env -0")
        pairs = (item.partition("=") for item in told.out.split("\0") if item)
        return {name: value for name, _, value in pairs if name.startswith("OS_")} | dict(
            self._environment
        )

    def run(self, *arguments: str) -> Ran:
        """``eval $(modelyard env)`` and then ``openstack …`` in one shell."""
        return self._shell(f"eval $(cat); exec openstack {shlex.join(arguments)}")

    def ok(self, *arguments: str) -> str:
        """Output of a command that must succeed."""
        ran = self.run(*arguments)
        assert ran.code == 0, f"openstack {shlex.join(arguments)}\n{ran.out}\n{ran.err}"
        return ran.out

    def json(self, *arguments: str) -> Any:
        """Output of a command that must succeed, parsed."""
        return json.loads(self.ok(*arguments, "-f", "json"))

    def _shell(self, script: str) -> Ran:
        done = subprocess.run(
            ["bash", "-c", script],
            input=self._exports,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)
