"""Brings one package from the object store and checks it; nothing of it is executed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from modelyard.errors import Problem, refuse
from modelyard.objects.paths import ObjectPath
from modelyard.objects.store import Objects
from modelyard.objects.transfer import Limits
from modelyard.packages.catalogue import SERVED_BY
from modelyard.packages.config.config_json import LARGEST, ConfigResult, check_config, parse_config
from modelyard.packages.config.images import CUSTOM, Images
from modelyard.packages.doctor import (
    Finding,
    available_here,
    examine,
    python_here,
    read_package,
)
from modelyard.packages.engines import Engine, engine_named
from modelyard.packages.environments.choosing import EnvironmentRequest, choose
from modelyard.packages.environments.requirement_set import RequirementSet
from modelyard.packages.importing.image_import import ImportedImage, default_config, import_image
from modelyard.packages.importing.published import InForce, Overrides, in_force
from modelyard.packages.layout import CONFIG, SCRIPT, check_layout, no_model_folder, not_a_folder

log = structlog.get_logger(__name__)

_SCRIPT_LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Order:
    """One import: what the importer needs of the model's row. ``address``: of an image that needs
    no package, and then there is no ``source``.
    """

    model_id: str
    project_id: str
    label: str
    model_type: str
    source: ObjectPath | None
    script: ObjectPath | None
    said: Overrides
    address: str = ""


@dataclass(frozen=True, slots=True)
class Package:
    """A package that has been copied and found good."""

    content: InForce
    size: int
    warnings: tuple[str, ...]
    wanted: RequirementSet | None = None
    """What its own environment must have; None where the platform's serves."""
    findings: tuple[Finding, ...] = ()
    image: ImportedImage | None = None


class Fetcher:
    """Copies what an order names into a folder, and says what it is."""

    def __init__(self, objects: Objects, limits: Limits, images: Images) -> None:
        self._objects = objects
        self._limits = limits
        self._images = images

    async def fetch(self, order: Order, aside: Path) -> Package:
        """Check, copy and check again. Raises ``ModelyardError`` or ``OSError``."""
        engine = engine_named(order.model_type)
        if engine is None:
            raise refuse([Problem("model_type", f"{order.model_type!r} is unknown", "Correct it.")])
        if order.source is None:
            # Every model has its folder, also one without a package.
            await asyncio.to_thread(aside.mkdir, parents=True)
            config = _given_config(order.said)
            content = _agreeing(config, engine, order.said)
            return await self._with_image(order, config, Package(content, 0, config.warnings))
        folder = order.source.child("model")
        plan = await self._objects.plan_tree(folder, self._limits, "source_location")
        if plan is None:
            raise refuse([await self._no_model(order.source)])
        layout = check_layout(
            {copy.target for copy in plan.copies} if not plan.problems else (),
            engine,
            config_given=order.said.initial_config is not None or engine.name == CUSTOM,
            script_given=order.script is not None,
        )
        problems = plan.problems or layout.problems
        if problems:
            raise refuse(problems)
        report = await self._objects.copy_tree(folder, aside / "model", plan)
        if order.script is not None:
            await self._fetch_script(order.script, aside / "model" / SCRIPT)
        path = aside / "model" / CONFIG
        result = await asyncio.to_thread(_read_config, path, order.said, engine)
        content = _agreeing(result, engine, order.said)
        warnings = (*layout.warnings, *result.warnings)
        if engine.container:
            found = Package(content, report.size, warnings)
            return await self._with_image(order, result, found)
        policy = content.dependency_policy
        asked = EnvironmentRequest(engine.name, content.runtime, content.installations, policy)
        choice = await asyncio.to_thread(choose, asked, aside / "model")
        findings = await asyncio.to_thread(_findings, aside)
        warnings += (*_served_by(content), *choice.warnings)
        return Package(content, report.size, warnings, choice.wanted, findings)

    async def _with_image(self, order: Order, result: ConfigResult, found: Package) -> Package:
        assert result.config is not None
        image = await import_image(
            self._images, order.model_id, order.address, result.config, order.said
        )
        content = replace(found.content, health=image.health)
        warnings = (*found.warnings, *image.warnings)
        return Package(content, found.size + image.size, warnings, image=image)

    async def _fetch_script(self, script: ObjectPath, target: Path) -> None:
        if not script.key.endswith(".py"):
            script = script.child(SCRIPT)
        content = await self._objects.read(script, _SCRIPT_LIMIT)
        await asyncio.to_thread(target.write_bytes, content)

    async def _no_model(self, source: ObjectPath) -> Problem:
        found = await self._objects.list(source, 1000)
        if not found and await self._objects.exists(source):
            return not_a_folder(str(source))
        if not found:
            reason, remedy = f"{source} does not exist", "Upload the package first."
            return Problem("source_location", reason, remedy, code="3551")
        skip = len(source.key) + 1 if source.key else 0
        return no_model_folder([entry.key[skip:] for entry in found])


def _findings(folder: Path) -> tuple[Finding, ...]:
    """What reading the package tells; nothing of it runs."""
    try:
        return examine(read_package(folder), python=python_here(), available=available_here)
    except Exception as error:
        # Advice, and never a reason to keep a good package from being published.
        log.error("package not examined", folder=str(folder), exc_info=error)
        return ()


def _read_config(path: Path, said: Overrides, engine: Engine) -> ConfigResult:
    """The config in force; the create call's own replaces the package's file."""
    if said.initial_config is not None:
        path.write_text(json.dumps(said.initial_config, ensure_ascii=False), encoding="utf-8")
        return check_config(said.initial_config, "initial_config", engine.name)
    if engine.name == CUSTOM and not path.exists():
        return check_config({}, engine=engine.name)
    with path.open("rb") as file:
        return parse_config(file.read(LARGEST + 1), engine=engine.name)


def _given_config(said: Overrides) -> ConfigResult:
    """The config of an image without a package: the create call's, or none at all."""
    if said.initial_config is not None:
        return check_config(said.initial_config, "initial_config")
    return ConfigResult(default_config())


def _agreeing(result: ConfigResult, engine: Engine, said: Overrides) -> InForce:
    if result.config is None:
        raise refuse(result.problems)
    if result.config.model_type != engine.name:
        reason = f"is {result.config.model_type} in config.json, but {engine.name} was asked for"
        raise refuse([Problem("model_type", reason, "Make them the same.", code="3015")])
    return in_force(result.config, said)


def _served_by(content: InForce) -> list[str]:
    """Where the platform's Python is not what the package was made for, as sentences."""
    if content.runtime == SERVED_BY:
        return []
    return [f"runtime {content.runtime} is served by the platform's {SERVED_BY}"]
