"""Instances as containers of custom images (models.md §5), in Docker or Podman.

Containers belong to the engine, so they outlive the control plane; a later one knows them by their
records and by their labels. They have no front of ours: readiness is what their checks say, and a
drain is the end of their connections, then SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from modelyard.domain.rollout.instance import InstanceReport, InstanceSpec, Phase
from modelyard.domain.service.container_image import command_words
from modelyard.runtime import logfiles
from modelyard.runtime.containers.container import EngineError, NoEngineError, Order
from modelyard.runtime.containers.engine import ContainerEngine
from modelyard.runtime.containers.records import ContainerRecord, Records, record_of
from modelyard.runtime.containers.watch import ContainerWatch
from modelyard.runtime.folders import is_plain
from modelyard.runtime.limits import users
from modelyard.runtime.quiet import connections_to
from modelyard.steps import Step, reached

log = structlog.get_logger(__name__)

Reports = list[InstanceReport]

LABEL_NODE = "modelyard.node"
LABEL_INSTANCE = "modelyard.instance"
LABEL_SERVICE = "modelyard.service"
LABEL_MODEL = "modelyard.model"

# The gateway's threads hear of an acknowledged change a moment later than the one that
# acknowledges it.
_QUIET_POLL_S = 0.05
_QUIET_POLLS = 4
_LEAVING_S = 10.0


class ContainerRuntime:
    """Satisfies ``control.ports.Runtime`` for specs with an ``image``.

    ``node``: the home's id, by which its containers are told from another platform's. ``logs_dir``:
    where instances' logs lie. ``active`` False: it only looks, as commands do beside a control
    plane; checks and logs are left to that.
    """

    def __init__(
        self,
        engine: ContainerEngine,
        containers_dir: Path,
        logs_dir: Path,
        *,
        node: str,
        active: bool = True,
    ) -> None:
        self._engine = engine
        self._records = Records(containers_dir)
        self._logs_dir = logs_dir
        self._node = node
        self._active = active
        self._known: dict[str, ContainerWatch] = {}
        self._strangers: set[str] = set()
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self._adopted = False

    def on_exit(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(instance_id)`` when a container ends or its phase changes."""
        self._callbacks.append(callback)

    async def close(self) -> None:
        """Stop watching; the containers go on."""
        for task in self._leaving.values():
            task.cancel()
        await asyncio.gather(*self._leaving.values(), return_exceptions=True)
        await asyncio.gather(*(watch.close() for watch in self._known.values()))
        self._known.clear()
        self._engine.close()

    def owns(self, instance_id: str) -> bool:
        """Whether the instance is a container of ours, or was found to be one."""
        self._adopt()
        return instance_id in self._known or instance_id in self._strangers

    async def start(self, spec: InstanceSpec) -> None:
        """Make and run the container unless it runs. Raises ``OSError``, the engine's reason."""
        self._adopt()
        async with self._lock(spec.instance_id):
            known = self._known.get(spec.instance_id)
            if known is not None and known.runs():
                return
            record = record_of(spec, self._name(spec.instance_id))
            self._records.write(record)
            reached(Step.CONTAINER_RECORD)
            try:
                record = await self._launch(spec, record)
            except OSError:
                with contextlib.suppress(OSError):
                    await self._engine.remove(record.name)
                self._records.remove(spec.instance_id)
                raise
            self._records.write(record)
            reached(Step.CONTAINER_LAUNCHED)
            self._watch(record)

    async def probe(self, instance_id: str) -> InstanceReport | None:
        """How the instance is now, as its checks found it; None when nothing is known of this id,
        or its container never ran.
        """
        self._adopt()
        watch = self._known.get(instance_id)
        if watch is None or not watch.record.container_id:
            return None
        if not self._active:
            await watch.look()
        return _report(watch)

    async def drain(self, instance_id: str) -> None:
        """SIGTERM once nobody speaks with it any more; returns at once.

        The gateway has let go of it and closes each connection with the answer under way on it.
        """
        self._adopt()
        watch = self._known.get(instance_id)
        if watch is None:
            return
        watch.drains()
        if instance_id not in self._leaving:
            task = asyncio.create_task(self._leave(watch), name=f"drain {watch.record.name}")
            self._leaving[instance_id] = task
            reached(Step.CONTAINER_DRAIN)

    async def stop(self, instance_id: str) -> None:
        """End the container with everything in it and remove it; the log is kept."""
        self._adopt()
        if not self.owns(instance_id):
            return
        async with self._lock(instance_id):
            leaving = self._leaving.pop(instance_id, None)
            if leaving is not None:
                leaving.cancel()
            watch = self._known.get(instance_id)
            try:
                await self._engine.remove(self._name(instance_id))
            except EngineError as error:
                # Its record stays, so that it is found again and ended later.
                log.warning("a container cannot be ended", instance_id=instance_id, why=str(error))
                return
            reached(Step.CONTAINER_STOP)
            if watch is not None:
                await watch.last_words()
                await watch.close()
            self._known.pop(instance_id, None)
            self._strangers.discard(instance_id)
            self._records.remove(instance_id)
            reached(Step.CONTAINER_REMOVE)
            if watch is not None:
                folder, spare = watch.log_file.parent, frozenset(self._known)
                await asyncio.to_thread(logfiles.prune, folder, logfiles.KEPT_PER_SERVICE, spare)
        self._locks.pop(instance_id, None)

    async def list(self) -> Reports:
        """Every container of this home, also those an earlier control plane started."""
        self._adopt()
        if not self._active:
            await asyncio.gather(*(watch.look() for watch in self._known.values()))
        return [*map(_report, self._known.values()), *await self._unrecorded()]

    def log_tail(self, instance_id: str, lines: int = 20) -> str:
        """The last lines of the instance's log, also after it was stopped; or an empty string."""
        if not is_plain(instance_id):
            return ""
        path = logfiles.find(self._logs_dir, instance_id)
        return "" if path is None else logfiles.tail(path, lines)

    # -- within -------------------------------------------------------------------------------

    def _name(self, instance_id: str) -> str:
        return f"modelyard-{self._node}-{instance_id}"

    def _lock(self, instance_id: str) -> asyncio.Lock:
        return self._locks.setdefault(instance_id, asyncio.Lock())

    def _adopt(self) -> None:
        """Take over what an earlier control plane left, once."""
        if self._adopted:
            return
        self._adopted = True
        for record in self._records.scan():
            self._watch(record)

    def _watch(self, record: ContainerRecord) -> None:
        log_file = logfiles.place(self._logs_dir, record.service_id, record.instance_id)
        watch = ContainerWatch(self._engine, self._records, record, log_file, self._changed)
        self._known[record.instance_id] = watch
        if record.container_id and self._active:
            watch.attend()

    def _changed(self, instance_id: str) -> None:
        for callback in self._callbacks:
            callback(instance_id)

    async def _launch(self, spec: InstanceSpec, record: ContainerRecord) -> ContainerRecord:
        container = spec.container
        folders = {str(at): str(one) for at, one in (container.get("folders") or {}).items()}
        for folder in folders.values():
            # The image's user is not ours; from outside the home is closed all the same.
            await asyncio.to_thread(users.let_others_read, Path(folder))
        await self._engine.create(
            Order(
                name=record.name,
                image=spec.image,
                port=int(container["port"]),
                labels={
                    LABEL_NODE: self._node,
                    LABEL_INSTANCE: spec.instance_id,
                    LABEL_SERVICE: spec.service_id,
                    LABEL_MODEL: spec.model_id,
                },
                envs=_envs(spec),
                words=command_words(str(container.get("cmd") or "")),
                cpu=spec.cpu,
                memory_mb=spec.memory_mb,
                volumes={
                    volume_name(self._node, str(volume["name"])): str(volume["mount_path"])
                    for volume in container.get("volumes") or ()
                },
                folders=folders,
            )
        )
        found = await self._engine.start(record.name)
        reached(Step.CONTAINER_START)
        return replace(
            record,
            container_id=found.container_id,
            host_port=found.host_port,
            pid=found.pid or None,
            started_at=time.time(),
        )

    async def _leave(self, watch: ContainerWatch) -> None:
        record = watch.record
        # What does not get quiet, such as a WebSocket, must hear of the end while there is time.
        patience = max(record.grace_s - _LEAVING_S, record.grace_s / 2)
        deadline = asyncio.get_running_loop().time() + patience
        quiet = 0
        while asyncio.get_running_loop().time() < deadline and watch.runs():
            port = record.host_port
            silent = port is None or await asyncio.to_thread(connections_to, port) == 0
            quiet = quiet + 1 if silent else 0
            if quiet == _QUIET_POLLS:
                break
            await asyncio.sleep(_QUIET_POLL_S)
        try:
            await self._engine.signal(record.name, "SIGTERM")
        except EngineError as error:
            log.warning("a container cannot be told to end", name=record.name, why=str(error))

    async def _unrecorded(self) -> Reports:
        """Containers with our label and without a record: made just before a crash, or by a home
        that was restored from an older copy.
        """
        try:
            found = await self._engine.labelled(f"{LABEL_NODE}={self._node}")
        except NoEngineError:
            return []
        except EngineError as error:
            log.warning("the containers cannot be listed", why=str(error))
            return []
        reports = []
        for labels in found:
            instance_id = labels.get(LABEL_INSTANCE, "")
            if instance_id and instance_id not in self._known:
                self._strangers.add(instance_id)
                service, model = labels.get(LABEL_SERVICE, ""), labels.get(LABEL_MODEL, "")
                reports.append(InstanceReport(instance_id, service, model, Phase.STARTING))
        return reports


def volume_name(node: str, name: str) -> str:
    """What the engine calls a volume of a project (``project/name``); names may hold anything."""
    return f"modelyard-{node}-{hashlib.sha256(name.encode()).hexdigest()[:24]}"


def _envs(spec: InstanceSpec) -> dict[str, str]:
    """The service's variables win over ours."""
    ours = {
        "MODEL_NAME": spec.model_name,
        "MODEL_VERSION": spec.model_version,
        "MODEL_TYPE": spec.model_type,
    }
    return ours | {str(name): str(value) for name, value in spec.envs.items()}


def _report(watch: ContainerWatch) -> InstanceReport:
    record = watch.record
    return InstanceReport(
        instance_id=record.instance_id,
        service_id=record.service_id,
        model_id=record.model_id,
        phase=watch.phase,
        pid=watch.pid,
        port=record.host_port if watch.phase is not Phase.GONE else None,
        message=watch.message,
    )
