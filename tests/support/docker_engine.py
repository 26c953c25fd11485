"""Docker in the place of the tests' engine, for a machine that has it.

    MODELYARD_TEST_ENGINE=docker pytest -n 0 tests/integration/runtime/test_container_runtime.py …

A daemon of its own, with its data in a temporary folder. Its bridge has a fixed name, so only one
at a time, and none beside a daemon of the machine's.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

from podman_engine import START_LIMIT_S, Podman


def missing() -> str:
    """Why Docker cannot be had here; empty when it can."""
    if os.geteuid() != 0:
        return "a daemon of the tests' own needs root"
    lacking = [one for one in ("dockerd", "docker", "iptables") if shutil.which(one) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


class Docker(Podman):
    """A throw-away daemon. While it does not serve, its containers go on, but nobody reaches them:
    what forwards their ports ends with it.
    """

    reached_without = False

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        if self._server is None:
            self.serve()
        if names := self.command("ps", "--all", "--quiet", check=False).split():
            self.command("rm", "--force", *names, check=False)
        self.stop_serving()
        self._sweep()
        shutil.rmtree(self.home, ignore_errors=True)

    def serve(self) -> None:
        log = (self.home / "service.log").open("ab")
        with log:
            self._server = subprocess.Popen(
                [
                    *("dockerd", "--host", self.socket, "--live-restore", "--iptables=false"),
                    *("--data-root", f"{self.home}/data", "--exec-root", f"{self.home}/exec"),
                    *("--pidfile", f"{self.home}/pid", "--ip-masq=false"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_LIMIT_S
        while not self.command("version", "--format", "{{.Server.Version}}", check=False):
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.home / "service.log").read_text()[-1000:])
            time.sleep(0.05)

    def stop_serving(self) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            self._server.wait(30)
            self._server = None
        Path(self.socket.removeprefix("unix://")).unlink(missing_ok=True)

    def kept_log(self, name: str) -> Path:
        return Path(self.inspect(name)["LogPath"])

    @property
    def _program(self) -> list[str]:
        return ["docker", "--host", self.socket]

    def _choose_driver(self) -> None:
        """The daemon does that."""
