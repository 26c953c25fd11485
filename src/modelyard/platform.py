"""Composes the parts into a running control plane; the only module that knows them all.

``python -m modelyard.platform`` runs it in the foreground until SIGTERM or SIGINT. Envoy and the
instances are started or adopted here, and left running: they belong to the platform, not to this
process.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import ValidationError

from modelyard.api.app import create_app
from modelyard.api.context import Context
from modelyard.api.routers import all_routers
from modelyard.clock import SystemClock
from modelyard.control import health, orphans, retention
from modelyard.control.loop import Loop
from modelyard.control.orphans import end_orphans
from modelyard.control.restore import present_traffic
from modelyard.control.service_pass import Parts
from modelyard.control.wishes import Wishes
from modelyard.errors import ModelyardError
from modelyard.gateway.publisher import EnvoyGateway
from modelyard.iam.bootstrap import ensure_admin
from modelyard.iam.keys import KeyRing
from modelyard.iam.tokens import Tokens
from modelyard.monitor import sampler
from modelyard.monitor.rate import CallRate
from modelyard.monitor.usage import UsageMeter
from modelyard.objects.store import Objects
from modelyard.packages.importer import ModelImporter
from modelyard.periodic import Periodic
from modelyard.processes import identify, write_private, write_record
from modelyard.runtime.local import LocalRuntime
from modelyard.settings import Settings
from modelyard.steps import Step
from modelyard.store import leases
from modelyard.store.database import Database
from modelyard.store.migrate import migrate

log = structlog.get_logger(__name__)

_KEEP_ALIVE_S = 3600
_STOP_S = 10


class _ApiServer(uvicorn.Server):
    """uvicorn without its signal handlers: this process has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Hold the home for this process. Raises ``SystemExit`` when another control plane has it."""
    with (settings.run_dir / "control-plane.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"A control plane already runs in {settings.home}. See: modelyard status")
        yield


def _node_id(settings: Settings) -> str:
    """8 hex digits that name this home for as long as it exists."""
    path = settings.home / "node-id"
    if not path.exists():
        write_private(path, SystemClock().new_hex(8).encode())
    return path.read_text()


async def _open_database(settings: Settings, node: str) -> Database:
    """The database in the present schema, without leases of an earlier process of ours."""
    database = Database(settings.database)
    await migrate(database)
    async with database.write(Step.LEASES_FREED) as session:
        await leases.release_all_of(session, node)
    return database


@asynccontextmanager
async def control_plane(settings: Settings) -> AsyncIterator[FastAPI]:
    """Everything but the API's server: started in order, stopped in the opposite one."""
    async with contextlib.AsyncExitStack() as stack:
        clock, node = SystemClock(), _node_id(settings)
        database = await _open_database(settings, node)
        stack.push_async_callback(database.close)
        await ensure_admin(database, settings, clock)
        keys = KeyRing(settings.keys_dir, clock, settings.token_lifetime)
        tokens = Tokens(keys, clock, settings.token_lifetime)
        runtime = LocalRuntime(settings.instances_dir, settings.logs_dir)
        stack.callback(runtime.close)
        gateway = EnvoyGateway(settings, tokens.jwks())
        gateway.load(await present_traffic(settings, database, clock, runtime))
        parts = Parts(settings, database, clock, runtime, gateway, node)
        loop, usage, rate = Loop(parts), UsageMeter(), CallRate()
        importer = ModelImporter(settings, database, clock, Objects(settings.objects))
        context = Context(
            settings=settings,
            database=database,
            clock=clock,
            tokens=tokens,
            importer=importer,
            gateway=gateway,
            wishes=Wishes(settings, database, clock),
            usage=usage,
            rate=rate,
            hint=loop.hint,
        )
        await end_orphans(database, runtime)
        await gateway.start()
        stack.push_async_callback(gateway.stop)
        await importer.start()
        stack.push_async_callback(importer.stop)
        await loop.start()
        stack.push_async_callback(loop.stop)
        for work in _background(parts, loop, usage, rate, gateway):
            work.start()
            stack.push_async_callback(work.stop)
        yield create_app(context, all_routers())


def _background(
    parts: Parts, loop: Loop, usage: UsageMeter, rate: CallRate, gateway: EnvoyGateway
) -> list[Periodic]:
    database, clock = parts.database, parts.clock
    watch = health.HealthWatch(database, clock, parts.runtime, loop.hint)
    counters = sampler.Sampler(database, clock, usage, rate, _reader(gateway))

    async def forget() -> None:
        await retention.forget(database, clock.now_ms())

    return [
        Periodic("health-watch", health.PERIOD_S, watch.check),
        Periodic("sampler", sampler.PERIOD_S, counters.sample),
        Periodic("retention", retention.PERIOD_S, forget),
        Periodic("orphans", orphans.PERIOD_S, lambda: end_orphans(database, parts.runtime)),
    ]


def _reader(gateway: EnvoyGateway) -> Callable[[], Awaitable[Mapping[str, sampler.Reading]]]:
    async def read() -> Mapping[str, sampler.Reading]:
        clusters = await gateway.stats.clusters()
        return {
            name: sampler.Reading(stats.total, stats.client_errors + stats.server_errors)
            for name, stats in clusters.items()
        }

    return read


async def serve(settings: Settings) -> None:
    """Run the control plane until it is told to stop. Raises ``ModelyardError`` on a bad start."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with control_plane(settings) as app:
        config = uvicorn.Config(
            app,
            uds=str(settings.api_socket),
            log_config=None,
            access_log=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_STOP_S,
        )
        server = _ApiServer(config)
        serving = asyncio.create_task(server.serve(), name="api")
        stopping = asyncio.create_task(stopped.wait(), name="stop-signal")
        log.info("control plane is up", address=settings.address)
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        server.should_exit = True
        await serving


def _configure_logs(level: str) -> None:
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    logging.basicConfig(level=max(number, logging.WARNING), format="%(levelname)s %(message)s")
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(number),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )


def main() -> None:
    """Entry of ``python -m modelyard.platform``."""
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(_explain(error))
    _configure_logs(settings.log_level)
    os.umask(0o077)
    settings.prepare_home()
    with _only_one(settings):
        this = identify(os.getpid())
        assert this is not None
        record = settings.run_dir / "control-plane.json"
        write_record(record, this)
        try:
            uvloop.run(serve(settings))
        except ModelyardError as error:
            sys.exit(error.message)
        finally:
            record.unlink(missing_ok=True)


def _explain(error: ValidationError) -> str:
    lines = [
        f"MODELYARD_{'_'.join(str(part) for part in item['loc']).upper()}: {item['msg']}"
        for item in error.errors()
    ]
    return "Bad settings:\n" + "\n".join(lines)


if __name__ == "__main__":
    main()
