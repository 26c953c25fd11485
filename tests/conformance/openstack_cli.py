"""The ``openstack`` command, set up by nothing but the variables of ``modelyard env``.

``run`` is the command itself in a shell. Loading it takes a second or two, so ``ok`` and ``json``
send their commands to one process that has loaded it, and calls the same entry point for each.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stack import Stack

_LIMIT_S = 120.0

# Reads one command a line (a JSON array), answers one JSON line: [exit code, stdout, stderr].
_RUNNER = """
import contextlib, io, json, sys

from openstackclient import shell

for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = shell.main(json.loads(line))
        except SystemExit as end:
            code = end.code
    print(json.dumps([code or 0, out.getvalue(), err.getvalue()]), flush=True)
"""


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

    def shell(self, *arguments: str) -> Ran:
        """``eval $(modelyard env)`` and then ``openstack …`` in one shell."""
        return self._shell(f"eval $(cat); exec openstack {shlex.join(arguments)}")

    def run(self, *arguments: str) -> Ran:
        """The same command in the process that has it loaded."""
        runner = self._runner
        assert runner.stdin is not None
        assert runner.stdout is not None
        runner.stdin.write(json.dumps(arguments) + "\n")
        runner.stdin.flush()
        said = runner.stdout.readline()
        assert said, f"the openstack command ended: {runner.poll()}"
        return Ran(*json.loads(said))

    def close(self) -> None:
        """End the loaded process."""
        if "_runner" in self.__dict__:
            self._runner.communicate(timeout=_LIMIT_S)

    @cached_property
    def _runner(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _RUNNER],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

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
