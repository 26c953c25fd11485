"""The front process: its port, its signals, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import uvloop

from modelyard_instance.logs import LogStream, RotatingLog
from modelyard_instance.pool.launcher import Launcher
from modelyard_instance.pool.supervisor import Supervisor
from modelyard_instance.prefork import fork_server
from modelyard_instance.prefork.fork_server import ForkServer
from modelyard_instance.server.app import App
from modelyard_instance.server.connections import ConnectionSet
from modelyard_instance.server.http import Connection
from modelyard_instance.spec import BadSpec, Spec, read_spec
from modelyard_instance.state import StateFile, take_lock
from modelyard_instance.worker.apis import SCRIPT, BadConfig, apis_of, read_config
from modelyard_instance.worker.options import Options, options_of

_BACKLOG = 2048
_QUIET_S = 0.3
_STEP_S = 0.05
_PARTING_S = 1.0
# Longer than Envoy keeps an idle connection, so that it is never we who close under its hands.
_KEEP_ALIVE_S = 3700


def run(folder: Path) -> int:
    """Serve the instance in ``folder`` until SIGTERM and the drain after it; the exit status."""
    try:
        spec = read_spec(folder)
    except BadSpec as error:
        print(error, file=sys.stderr)
        return 2
    lock = take_lock(folder)
    if lock is None:
        return 0
    forks = _forks(spec, folder)
    log = RotatingLog(Path(spec.log_file) if spec.log_file else folder / "instance.log")
    sys.stdout = sys.stderr = LogStream(log)
    _let_workers_finish()
    uvloop.run(_Front(spec, folder, log, Launcher(spec, folder, forks)).serve())
    return 0


def _forks(spec: Spec, folder: Path) -> ForkServer | None:
    """What forks the workers: somebody in the package's environment, or a fork of ours.

    While there is nothing yet that a fork must not have.
    """
    if spec.python:
        # Of the others, none needs it.
        from modelyard_instance.prefork import remote_fork_server

        where = os.environ.get(remote_fork_server.WHERE)
        return (
            remote_fork_server.RemoteForkServer.reach(where, folder, spec.instance_id)
            if where
            else None
        )
    return ForkServer.fork() if fork_server.WARM else None


def _let_workers_finish() -> None:
    """Do not take the core from a worker at each answer, where both share one.

    As a batch process the front still runs at once on an idle core, or when the worker waits; on a
    busy one it takes several answers at its next turn, which saves half of the changes of process.
    Workers do not inherit it.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH | os.SCHED_RESET_ON_FORK, os.sched_param(0))


def _bind() -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(_BACKLOG)
    sock.setblocking(False)
    return sock


class _Front:
    def __init__(self, spec: Spec, folder: Path, log: RotatingLog, launcher: Launcher) -> None:
        self._spec = spec
        self._folder = folder
        self._log = log
        self._launcher = launcher

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        asked_to_end = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked_to_end.set)
        sock = _bind()
        self._state = StateFile(
            self._folder,
            instance_id=self._spec.instance_id,
            service_id=self._spec.service_id,
            model_id=self._spec.model_id,
            port=sock.getsockname()[1],
        )
        apis: dict[str, frozenset[str]] = {}
        workers, trouble = 1, ""
        try:
            config = read_config(self._spec.model_dir)
            apis = apis_of(config)
            workers = _workers(self._spec, options_of(config))
        except BadConfig as error:
            trouble = str(error)
        self._supervisor = Supervisor(self._spec, self._launcher, self._log, self._tell, workers)
        self._app = App(self._spec, apis, self._supervisor)
        self._tell()
        self._site = ConnectionSet(self._app, _headers(self._spec))
        server = await loop.create_server(
            lambda: Connection(self._site), sock=sock, backlog=_BACKLOG
        )
        sweeper = loop.create_task(self._sweep(), name="idle-connections")
        if trouble:
            self._supervisor.fail(trouble)
        else:
            self._supervisor.start()
        await asked_to_end.wait()
        await self._drain()
        self._supervisor.abandon()
        sweeper.cancel()
        await self._hang_up(server)
        await self._supervisor.close()

    def _tell(self) -> None:
        phase, message = self._app.phase, self._supervisor.message
        try:
            self._state.write(phase, message)
        except OSError as error:
            # The disk may be full; /health still tells.
            self._log.write("front", f"state.json not written: {error}".encode())
        self._log.write("front", f"{phase} {message}".rstrip().encode())

    async def _drain(self) -> None:
        """Serve whatever still comes until it has been quiet, at the longest ``drain_grace_s``."""
        app, loop = self._app, asyncio.get_running_loop()
        app.draining = True
        self._site.drain()
        self._tell()
        begin = loop.time()
        deadline = begin + self._spec.drain_grace_s
        while loop.time() < deadline:
            if app.inflight == 0 and loop.time() - max(begin, app.last_end) >= _QUIET_S:
                return
            await asyncio.sleep(_STEP_S)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_KEEP_ALIVE_S / 60)
            self._site.close_idle(asyncio.get_running_loop().time() - _KEEP_ALIVE_S)

    async def _hang_up(self, server: asyncio.Server) -> None:
        """Close the connections; answers that are on their way get a moment."""
        server.close()
        self._site.hang_up()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._site.closed.wait(), _PARTING_S)


def _workers(spec: Spec, options: Options) -> int:
    model, script = spec.model_dir, (spec.model_dir / f"{SCRIPT}.py").is_file()
    files = 0 if script else sum(one.stat().st_size for one in model.rglob("*") if one.is_file())
    return options.workers_for(
        spec.cpu, script=script, memory_mb=spec.memory_mb, files_mb=files / 1e6
    )


def _headers(spec: Spec) -> bytes:
    return (
        f"x-modelyard-model-version: {spec.model_version}\r\n"
        f"x-modelyard-instance: {spec.instance_id}\r\n"
    ).encode()
