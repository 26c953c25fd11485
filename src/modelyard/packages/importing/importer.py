"""Carries model packages from the object store to where instances load them.

A model is ``publishing`` until its package has been copied and checked, and ``building`` while an
environment of its own is made, where it needs one; then it is ``published``, or ``failed`` or
``building_failed`` with the reason. Nothing of a package is ever executed here. The database is not
held while files are copied or distributions installed, and a crash at any point leaves a status
that ``start`` takes up again.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import structlog

from modelyard.clock import Clock
from modelyard.errors import (
    DependenciesFailed,
    InvalidRequest,
    ModelyardError,
    Unavailable,
)
from modelyard.objects.paths import parse_path
from modelyard.objects.store import Objects
from modelyard.objects.transfer import Limits
from modelyard.packages.config.images import IMAGE, Images, is_address
from modelyard.packages.environments.manifest import Environment
from modelyard.packages.environments.requirement_set import RequirementSet
from modelyard.packages.environments.shared import Environments
from modelyard.packages.importing.fetching import Fetcher, Order, Package
from modelyard.packages.importing.image_import import NoEngine
from modelyard.packages.importing.published import Overrides
from modelyard.steps import Step
from modelyard.store.database import Database
from modelyard.store.models import (
    BUILDING,
    BUILDING_FAILED,
    FAILED,
    PUBLISHED,
    PUBLISHING,
    UNFINISHED,
    add_event,
    all_ids,
    unfinished_ids,
)
from modelyard.store.tables.model import Model

log = structlog.get_logger(__name__)

_SIDE_BY_SIDE = 2
_ASIDE = ".import-"


class ModelImporter:
    """Imports submitted models, a few at a time; ``start`` before use, ``stop`` at the end."""

    def __init__(
        self,
        packages_dir: Path,
        database: Database,
        clock: Clock,
        objects: Objects,
        environments: Environments,
        limits: Limits | None = None,
        images: Images | None = None,
    ) -> None:
        self._folder = packages_dir
        self._database = database
        self._clock = clock
        self._environments = environments
        self._images = images or NoEngine()
        self._fetcher = Fetcher(objects, limits or Limits(), self._images)
        self._turns = asyncio.Semaphore(_SIDE_BY_SIDE)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    async def start(self) -> None:
        """Clear away what a crash left behind and take up unfinished imports."""
        async with self._database.read() as session:
            known = await all_ids(session)
            unfinished = await unfinished_ids(session)
        await asyncio.to_thread(self._sweep, known)
        await self._environments.start()
        for model_id in unfinished:
            self.submit(model_id)

    def submit(self, model_id: str) -> None:
        """Import the model soon; harmless for one that is being imported or is finished."""
        if model_id in self._tasks or self._stopping:
            return
        task = asyncio.create_task(self._import(model_id), name=f"import {model_id}")
        self._tasks[model_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(model_id, None))

    async def stop(self) -> None:
        """End all imports now; ``start`` of a later importer takes them up."""
        self._stopping = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def discard(self, project_id: str, model_id: str) -> None:
        """Remove the package of a model that has been deleted, and end its import."""
        task = self._tasks.get(model_id)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, self._folder / project_id / model_id, True)
        await self._images.forget(model_id)

    async def _import(self, model_id: str) -> None:
        try:
            await self._run(model_id)
        except Exception as error:
            # The row stays as it is: the next start tries again.
            log.error("import interrupted", model_id=model_id, exc_info=error)

    async def _run(self, model_id: str) -> None:
        async with self._turns:
            order = await self._order(model_id)
            if order is None:
                return
            final = self._folder / order.project_id / model_id
            package = await self._bring(order, final)
        if package is not None and not await self._finish(order, package, final):
            await asyncio.to_thread(shutil.rmtree, final, True)

    async def _bring(self, order: Order, final: Path) -> Package | None:
        """The package, whole in ``final``; None when the import has failed."""
        aside = final.with_name(f"{_ASIDE}{order.model_id}-{self._clock.new_hex(8)}")
        try:
            package = await self._fetcher.fetch(order, aside)
            await asyncio.to_thread(_put_in_place, aside, final)
        except (ModelyardError, OSError) as error:
            await self._fail(order, _reason(error), FAILED)
            return None
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return package

    async def _finish(self, order: Order, package: Package, final: Path) -> bool:
        """Build the environment, if the package needs one, and publish; False when neither is."""
        if package.wanted is None:
            return await self._publish(order, package, final)
        digest = self._environments.digest(package.wanted)
        with self._environments.held(digest):
            try:
                environment = await self._build(order, package.wanted, final)
            except (DependenciesFailed, OSError) as error:
                await self._fail(order, _reason(error), BUILDING_FAILED)
                return False
            return await self._publish(order, package, final, environment)

    async def _build(self, order: Order, request: RequirementSet, final: Path) -> Environment:
        """The package's environment. Raises ``DependenciesFailed`` or ``OSError``."""
        # Nothing is declared where only the engine is missing.
        named = ", ".join(str(want) for want in (request.declared or request.wants)[:10])
        async with self._database.write(Step.IMPORT_BUILD) as session:
            model = await session.get(Model, order.model_id, with_for_update=True)
            if model is not None and model.status in UNFINISHED:
                model.status = BUILDING
                text = f"{order.label} building its environment ({request.policy}): {named}"
                add_event(session, order.model_id, self._clock.now_ms(), text)

        async def tell(text: str) -> None:
            async with self._database.write(Step.IMPORT_PROGRESS) as session:
                # Deleted, maybe, while others wait for the environment it began.
                if await session.get(Model, order.model_id) is not None:
                    now = self._clock.now_ms()
                    add_event(session, order.model_id, now, f"{order.label} environment: {text}")

        return await self._environments.obtain(request, final / "model", tell)

    async def _order(self, model_id: str) -> Order | None:
        async with self._database.write(Step.IMPORT_BEGIN) as session:
            model = await session.get(Model, model_id)
            if model is None or model.status not in UNFINISHED:
                return None
            model.status = PUBLISHING
            label = f"[{model.name} {model.version}]"
            add_event(session, model_id, self._clock.now_ms(), f"{label} import started")
            script, source = model.execution_code, model.source_location
            address = source if model.model_type == IMAGE and is_address(source) else ""
            return Order(
                model_id=model_id,
                project_id=model.project_id,
                label=label,
                model_type=model.model_type,
                source=None if address else parse_path(source, "source_location"),
                script=parse_path(script, "execution_code") if script else None,
                said=Overrides.load(model.requested),
                address=address,
            )

    async def _publish(
        self, order: Order, package: Package, final: Path, environment: Environment | None = None
    ) -> bool:
        """Put the package in force; False when the model was deleted meanwhile."""
        content, now = package.content, self._clock.now_ms()
        async with self._database.write(Step.IMPORT_PUBLISH) as session:
            model = await session.get(Model, order.model_id, with_for_update=True)
            if model is None or model.status not in UNFINISHED:
                return model is not None
            model.status = PUBLISHED
            model.failed_reason = ""
            model.runtime = content.runtime
            model.model_algorithm = content.model_algorithm
            model.apis = content.apis
            model.input_params = content.input_params
            model.output_params = content.output_params
            model.dependencies = content.dependencies
            model.model_metrics = dict(content.model_metrics)
            model.health = content.health
            model.config = content.config
            model.size = package.size
            model.package_dir = str(final)
            if package.image is not None:
                model.image = package.image.image
                model.container = package.image.container
            warnings = package.warnings
            model.findings = [finding.document() for finding in package.findings]
            if environment is not None:
                model.environment = environment.digest
                differences = [finding.document() for finding in environment.findings]
                model.findings = [*model.findings, *differences]
                warnings += tuple(finding.sentence() for finding in environment.findings)
            for warning in warnings:
                add_event(session, order.model_id, now, f"{order.label} warning: {warning}.")
            size = f"{order.label} model size is {package.size} bytes"
            add_event(session, order.model_id, now, size)
            add_event(session, order.model_id, now, f"{order.label} imported")
        return True

    async def _fail(self, order: Order, reason: str, status: str) -> None:
        log.info("model import failed", model_id=order.model_id, reason=reason)
        async with self._database.write(Step.IMPORT_FAIL) as session:
            model = await session.get(Model, order.model_id, with_for_update=True)
            if model is None or model.status not in UNFINISHED:
                return
            model.status = status
            model.failed_reason = reason
            text = f"{order.label} import failed: {reason}"
            add_event(session, order.model_id, self._clock.now_ms(), text, abnormal=True)

    def _sweep(self, known: set[str]) -> None:
        for folder in self._folder.glob("*/*"):
            # Half copies, and packages of models whose deletion was cut short.
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(aside: Path, final: Path) -> None:
    # Left by an attempt that crashed between here and the database.
    shutil.rmtree(final, ignore_errors=True)
    aside.rename(final)


def _reason(error: ModelyardError | OSError) -> str:
    """All that was wrong, as sentences a person can act on."""
    if isinstance(error, InvalidRequest) and error.problems:
        return " ".join(
            f"{problem.sentence()} (ModelArts.{problem.code})" for problem in error.problems[:10]
        )
    if isinstance(error, Unavailable):
        return f"{error.message} Delete this model and import it again."
    if isinstance(error, ModelyardError):
        return error.message
    cause = error.strerror or str(error)
    return f"The package could not be stored: {cause}. Free space, delete this model, import again."
