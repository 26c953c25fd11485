"""The control plane dies during an import; the next one finishes it, and nothing is left over (R2).

Real processes, killed after each step of an import that builds an environment, and while uv works.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop
from sqlalchemy import select

from modelyard.clock import SystemClock
from modelyard.objects.store import Objects
from modelyard.packages.environments.shared import Environments
from modelyard.packages.importing.importer import ModelImporter
from modelyard.settings import Settings
from modelyard.steps import Step
from modelyard.store.database import Database
from modelyard.store.models import UNFINISHED
from modelyard.store.tables import Table
from modelyard.store.tables.model import Model, ModelEvent
from wheels import write_wheel

ID = "11111111-2222-4333-8444-555555555555"

S = Step
GOOD = (S.IMPORT_BEGIN, S.IMPORT_BUILD, S.IMPORT_PROGRESS, S.ENVIRONMENT_BUILT, S.IMPORT_PUBLISH)


async def import_and_collect(home: Path) -> dict[str, Any]:
    """A life of a control plane, as far as models go; what is true at its end."""
    settings, clock = Settings(home=home), SystemClock()
    settings.layout.prepare_home()
    database = Database(settings.database)
    try:
        async with database.engine.begin() as connection:
            await connection.run_sync(Table.metadata.create_all)
        async with database.write(Step.TEST) as session:
            if await session.get(Model, ID) is None:
                session.add(new_model())
        environments = Environments(settings.packages, settings.layout, clock, database)
        objects = Objects(settings.objects)
        importer = ModelImporter(
            settings.layout.packages_dir, database, clock, objects, environments
        )
        await importer.start()
        while (found := await _look(database))["status"] in UNFINISHED:
            await asyncio.sleep(0.02)
        await importer.stop()
        if "COLLECT" in os.environ:
            async with database.write(Step.TEST) as session:
                await session.delete(await session.get_one(Model, ID))
            await environments.collect()
        return found
    finally:
        await database.close()


def new_model() -> Model:
    return Model(
        id=ID,
        project_id="p",
        name="m",
        version="0.0.1",
        version_order=1,
        model_type="PyTorch",
        status="publishing",
        owner="o",
        tenant="t",
        source_location="obs://bucket/m/",
        requested={},
        install_type=["real-time"],
        created_at=1,
    )


async def _look(database: Database) -> dict[str, Any]:
    async with database.read() as session:
        model = await session.get_one(Model, ID)
        texts = await session.scalars(select(ModelEvent.event_info).order_by(ModelEvent.id))
        return {
            "status": model.status,
            "environment": model.environment,
            "package_dir": model.package_dir,
            "events": list(texts),
        }


class Home:
    """A home with a package whose import builds an environment."""

    def __init__(self, folder: Path, pin: str = "1.0") -> None:
        self.path = folder
        write_wheel(folder / "index", "tiny", "1.0")
        model = folder / "objects" / "bucket" / "m" / "model"
        model.mkdir(parents=True)
        packages = [{"package_name": "tiny", "package_version": pin, "restraint": "EXACT"}]
        config = {
            "model_type": "PyTorch",
            "model_algorithm": "predict_analysis",
            "dependencies": [{"installer": "pip", "packages": packages}],
            "dependency_policy": "exact",
        }
        (model / "config.json").write_text(json.dumps(config))
        (model / "customize_service.py").write_text("")

    def start(self, crash: str = "", **more: str) -> subprocess.Popen[str]:
        mine = {k: v for k, v in os.environ.items() if not k.startswith("MODELYARD_")}
        variables: Mapping[str, str] = {
            **mine,
            "PYTHONPATH": str(Path(__file__).parents[2] / "support"),
            "MODELYARD_PACKAGE_INDEX": str(self.path / "index"),
            "MODELYARD_ENVIRONMENT_GRACE": "0",
            "MODELYARD_CRASH": crash,
            **more,
        }
        return subprocess.Popen(
            [sys.executable, __file__, str(self.path)],
            env=dict(variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def live(self, **more: str) -> dict[str, Any]:
        """A life to its end."""
        child = self.start(**more)
        output, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors
        found: dict[str, Any] = json.loads(output.splitlines()[-1])
        return found

    def die(self, crash: str, **more: str) -> None:
        child = self.start(crash, **more)
        _, errors = child.communicate(timeout=120)
        assert child.returncode == -signal.SIGKILL, errors
        assert "crash point" in errors

    def left(self, part: str) -> list[str]:
        folder = self.path / part
        return sorted(p.name for p in folder.iterdir() if p.name != ".cache")


@pytest.mark.parametrize("step", GOOD)
def test_the_next_one_finishes_the_import(step: Step, tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.die(f"after:{step}")
    found = home.live()
    assert found["status"] == "published", found["events"]
    assert home.left("environments") == [found["environment"]]
    assert home.left("packages/p") == [ID]
    assert Path(found["package_dir"]) == tmp_path / "packages" / "p" / ID
    assert found["events"].count("[m 0.0.1] imported") == 1


def test_a_failure_is_told_once(tmp_path: Path) -> None:
    home = Home(tmp_path, pin="9.0")
    home.die(f"after:{S.IMPORT_FAIL}")
    found = home.live()
    assert found["status"] == "building_failed"
    assert sum("import failed" in text for text in found["events"]) == 1
    assert home.left("environments") == []


def test_a_removal_is_finished(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.die(f"after:{S.ENVIRONMENT_REMOVED}", COLLECT="1")
    assert [name.partition("-")[0] for name in home.left("environments")] == [".gone"]
    home.live()
    assert not [name for name in home.left("environments") if name.startswith(".")]


def test_uv_dies_with_the_control_plane(tmp_path: Path) -> None:
    home = Home(tmp_path)
    child = home.start(UV_CACHE_DIR=str(tmp_path / "cache"), SLOW="1")
    try:
        began = _until(lambda: _with_parent(child.pid))
        child.send_signal(signal.SIGKILL)
        child.communicate(timeout=60)
        _until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in began))
    finally:
        child.kill()
    assert any(name.startswith(".build-") for name in home.left("environments"))
    found = home.live()
    assert found["status"] == "published", found["events"]
    assert home.left("environments") == [found["environment"]]


def _with_parent(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                line = (entry / "cmdline").read_text()
                found += [int(entry.name)] if line.startswith("/bin/sleep") else []
        except (OSError, IndexError, ValueError):
            continue
    return found


def _until(what: Any) -> Any:
    deadline = time.monotonic() + 60
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def main() -> None:
    if "SLOW" in os.environ:
        from modelyard.packages.environments.installer import Installer

        async def never(self: Installer, venv: Path) -> None:
            await self._run(["/bin/sleep", "1000"])

        Installer.make = never  # type: ignore[method-assign]
    print(json.dumps(uvloop.run(import_and_collect(Path(sys.argv[1])))))


if __name__ == "__main__":
    main()
