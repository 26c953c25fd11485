"""Composes the parts into a running control plane; the only module that knows them all.

``python -m modelyard.composition`` runs it in the foreground until SIGTERM or SIGINT. Envoy and the
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
from modelyard.batch.supervision import LocalDrivers
from modelyard.batch.surveyor import ObjectSurveyor
from modelyard.clock import SystemClock
from modelyard.control.batch.runs import run_limits
from modelyard.control.changes.service_changes import ServiceChanges
from modelyard.control.check_scripts import Checks
from modelyard.control.maintenance import orphans, reports, retention
from modelyard.control.maintenance.orphans import end_orphan_runs, end_orphans
from modelyard.control.maintenance.restore import present_traffic
from modelyard.control.preview.service_preview import Previews
from modelyard.control.reconciler import health
from modelyard.control.reconciler.reconcile import Parts
from modelyard.control.reconciler.work_queue import Loop
from modelyard.errors import ModelyardError
from modelyard.gateway.config.resources.names import parse_cluster
from modelyard.gateway.publisher import EnvoyGateway
from modelyard.gateway.request_log import reader
from modelyard.gateway.stats import ClusterStats
from modelyard.iam.bootstrap import ensure_admin
from modelyard.iam.keys import KeyRing
from modelyard.iam.tokens import Tokens
from modelyard.monitor import sampler
from modelyard.monitor.rate import CallRate
from modelyard.monitor.shadows import ShadowMeter, ShadowReading
from modelyard.monitor.usage import UsageMeter
from modelyard.objects.store import Objects
from modelyard.packages.environments import shared
from modelyard.packages.environments.renewal import renew
from modelyard.packages.environments.shared import Environments
from modelyard.packages.importing.importer import ModelImporter
from modelyard.periodic import Periodic
from modelyard.processes import identify, write_private, write_record
from modelyard.runtime.composite import open_runtime
from modelyard.runtime.containers.engine import ContainerEngine
from modelyard.runtime.containers.images import EngineImages
from modelyard.runtime.limits.instance_limits import Limits
from modelyard.runtime.local.zygotes import WarmStarts
from modelyard.settings import Settings, variable_of
from modelyard.steps import Step
from modelyard.store.database import Database
from modelyard.store.migrate import migrate
from modelyard.store.service import leases

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
    with (settings.layout.run_dir / "control-plane.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"A control plane already runs in {settings.home}. See: modelyard status")
        yield


def _node_id(settings: Settings) -> str:
    """8 hex digits that name this home for as long as it exists."""
    path = settings.layout.node_file
    if not path.exists():
        write_private(path, SystemClock().new_hex(8).encode())
    return path.read_text()


def _images(settings: Settings, engine: ContainerEngine) -> EngineImages:
    pull, registries = (
        settings.runtime.image_pull == "missing",
        settings.runtime.image_registries.split(","),
    )
    return EngineImages(engine, pull=pull, registries=registries)


async def _open_database(settings: Settings, node: str) -> Database:
    """The database in the present schema, without leases of an earlier process of ours."""
    database = Database(settings.database)
    await migrate(database)
    async with database.write(Step.LEASES_FREED) as session:
        await leases.release_all_of(session, node)
    return database


async def _limits(settings: Settings, node: str) -> Limits:
    """What instances are held by, as far as this machine allows it."""
    limits = Limits(
        node=node,
        home=settings.home,
        instances_dir=settings.layout.instances_dir,
        run_dir=settings.layout.run_dir,
        ids=settings.runtime.uid_range,
        pids=settings.runtime.instance_pids,
        on=settings.runtime.limits == "auto",
    )
    found = await asyncio.to_thread(limits.find)
    log.info("limits of instances", in_force=found.sentence())
    for warning in found.warnings:
        log.warning("limits of instances", reason=warning)
    return limits


@asynccontextmanager
async def control_plane(settings: Settings) -> AsyncIterator[FastAPI]:
    """Everything but the API's server: started in order, stopped in the opposite one."""
    async with contextlib.AsyncExitStack() as stack:
        clock, node = SystemClock(), _node_id(settings)
        database = await _open_database(settings, node)
        stack.push_async_callback(database.close)
        await ensure_admin(
            database,
            settings.iam,
            settings.gateway.address,
            settings.layout.credentials_file,
            clock,
        )
        keys = KeyRing(settings.layout.keys_dir, clock, settings.iam.token_lifetime)
        tokens = Tokens(keys, clock, settings.iam.token_lifetime)
        warm = (
            WarmStarts(settings.layout.sockets_dir, settings.layout.logs_dir)
            if settings.runtime.warm_starts
            else None
        )
        engine = ContainerEngine(settings.runtime.container_host)
        runtime = open_runtime(
            settings.runtime, settings.layout, engine, await _limits(settings, node), warm
        )
        stack.push_async_callback(runtime.close)
        gateway = EnvoyGateway(
            settings.gateway, settings.predictions, settings.layout, tokens.jwks()
        )
        gateway.load(await present_traffic(settings, database, clock, runtime))
        checks = Checks(settings.layout.checks_dir)
        stack.push_async_callback(checks.close)
        drivers = LocalDrivers(settings.layout.runs_dir, settings.layout.logs_dir)
        stack.callback(drivers.close)
        parts = Parts(
            settings, database, clock, runtime, gateway, gateway.requests, checks, drivers, node
        )
        loop = Loop(parts)
        environments = Environments(settings.packages, settings.layout, clock, database)
        objects, images = Objects(settings.objects), _images(settings, engine)
        importer = ModelImporter(
            settings.layout.packages_dir, database, clock, objects, environments, images=images
        )
        context = Context(
            settings=settings,
            database=database,
            clock=clock,
            tokens=tokens,
            importer=importer,
            gateway=gateway,
            changes=ServiceChanges(
                settings,
                database,
                clock,
                Previews(settings, clock),
                ObjectSurveyor(run_limits(settings), objects),
            ),
            usage=UsageMeter(),
            rate=CallRate(),
            shadows=ShadowMeter(),
            requests=gateway.requests,
            hint=loop.hint,
        )
        await end_orphans(database, runtime)
        await end_orphan_runs(database, drivers)
        await gateway.start()
        stack.push_async_callback(gateway.stop)
        await importer.start()
        stack.push_async_callback(importer.stop)
        await loop.start()
        stack.push_async_callback(loop.stop)
        for work in _background(parts, loop, context, gateway, environments):
            work.start()
            stack.push_async_callback(work.stop)
        yield create_app(context, all_routers())


def _background(
    parts: Parts, loop: Loop, context: Context, gateway: EnvoyGateway, environments: Environments
) -> list[Periodic]:
    database, clock = parts.database, parts.clock
    watch = health.HealthWatch(database, clock, parts.runtime, loop.hint)
    counters = sampler.Sampler(
        database, clock, context.usage, context.rate, context.shadows, _reader(gateway)
    )

    told = reports.Reports(database, clock, gateway.requests)

    async def forget() -> None:
        await retention.forget(database, clock.now_ms())
        keep_ms = int(parts.settings.batch.batch_keep * 1000)
        await retention.forget_runs(database, parts.drivers, keep_ms, clock.now_ms())

    async def sweep() -> None:
        await end_orphans(database, parts.runtime)
        await end_orphan_runs(database, parts.drivers)

    async def tend() -> None:
        await renew(database, clock, environments)
        await environments.collect()

    return [
        Periodic("health-watch", health.PERIOD_S, watch.check),
        Periodic("sampler", sampler.PERIOD_S, counters.sample),
        Periodic("reports", reports.PERIOD_S, told.write),
        Periodic("request-log", reader.ROTATE_S, gateway.requests.rotate),
        Periodic("environments", shared.COLLECT_S, tend),
        Periodic("retention", retention.PERIOD_S, forget),
        Periodic("orphans", orphans.PERIOD_S, sweep),
    ]


def _reader(gateway: EnvoyGateway) -> Callable[[], Awaitable[sampler.Sample]]:
    """The gateway's counters in the terms of the monitor."""

    async def read() -> sampler.Sample:
        predictions: dict[sampler.Source, sampler.Reading] = {}
        copies: dict[str, ClusterStats] = {}
        for cluster, stats in (await gateway.stats.clusters()).items():
            name = parse_cluster(cluster)
            if name is not None and name.shadow:
                copies[cluster] = stats
            elif name is not None:
                source = sampler.Source(name.service_id, name.model_id, name.variant)
                failed = stats.client_errors + stats.server_errors
                predictions[source] = sampler.Reading(stats.total, failed)
        latencies = await gateway.stats.shadow_latencies() if copies else {}
        return sampler.Sample(predictions, _shadows(copies, latencies))

    return read


def _shadows(
    copies: Mapping[str, ClusterStats], latencies: Mapping[str, Mapping[float, float]]
) -> dict[tuple[str, str], ShadowReading]:
    found: dict[tuple[str, str], ShadowReading] = {}
    for cluster, stats in copies.items():
        name, spent = parse_cluster(cluster), latencies.get(cluster, {})
        if name is not None:
            errors = max(0, stats.server_errors - stats.overflows)
            reading = ShadowReading(
                stats.total, errors, stats.overflows, spent.get(50.0), spent.get(99.0)
            )
            key = (name.service_id, name.model_id)
            found[key] = found.get(key, ShadowReading()) + reading
    return found


async def serve(settings: Settings) -> None:
    """Run the control plane until it is told to stop. Raises ``ModelyardError`` on a bad start."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with control_plane(settings) as app:
        config = uvicorn.Config(
            app,
            uds=str(settings.layout.api_socket),
            log_config=None,
            access_log=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_STOP_S,
        )
        server = _ApiServer(config)
        serving = asyncio.create_task(server.serve(), name="api")
        stopping = asyncio.create_task(stopped.wait(), name="stop-signal")
        log.info("control plane is up", address=settings.gateway.address)
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
    """Entry of ``python -m modelyard.composition``."""
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(_explain(error))
    _configure_logs(settings.api.log_level)
    os.umask(0o077)
    settings.layout.prepare_home()
    with _only_one(settings):
        this = identify(os.getpid())
        assert this is not None
        record = settings.layout.run_dir / "control-plane.json"
        write_record(record, this)
        try:
            uvloop.run(serve(settings))
        except ModelyardError as error:
            sys.exit(error.message)
        finally:
            record.unlink(missing_ok=True)


def _explain(error: ValidationError) -> str:
    lines = [f"{variable_of(item['loc'])}: {item['msg']}" for item in error.errors()]
    return "Bad settings:\n" + "\n".join(lines)


if __name__ == "__main__":
    main()
