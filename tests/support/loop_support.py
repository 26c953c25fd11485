"""The real passes on a real database, over a runtime and a gateway in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select

from migrated import bring_up_to_date
from modelyard.control.changes.service_changes import Author, ServiceChanges
from modelyard.control.check_scripts import Checks
from modelyard.control.preview.service_preview import Previews
from modelyard.control.reconciler.reconcile import Parts, reconcile
from modelyard.settings import Settings
from modelyard.steps import Step
from modelyard.store.database import Database
from modelyard.store.tables.model import Model
from modelyard.store.tables.service import Event, Instance, Service, UpdateLog
from modelyard.testing.clock import FakeClock
from modelyard.testing.drivers import FakeDrivers
from modelyard.testing.gateway import FakeGateway
from modelyard.testing.requests import FakeRequests
from modelyard.testing.runtime import FakeRuntime

AUTHOR = Author(project_id="p" * 32, user_id="u" * 32, domain_id="d" * 32)
M1, M2 = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def version(model_id: str, weight: int, count: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "model_id": model_id,
        "weight": weight,
        "specification": "modelarts.vm.cpu.2u",
        "instance_count": count,
        **more,
    }


def changed(settings: Settings, **values: Any) -> Settings:
    """The settings with these values, each named without its group; an unknown name is an error."""
    unknown = set(values) - set(Settings.fields())
    assert not unknown, f"no such setting: {unknown}"
    groups = {name: getattr(settings, name) for name in Settings.model_fields}
    return settings.model_copy(
        update={name: group.model_copy(update=_of(group, values)) for name, group in groups.items()}
    )


def _of(group: BaseModel, values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in type(group).model_fields}


class Bench:
    """A database, a loop's parts, and short ways to use them."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.clock = FakeClock()
        self.runtime = FakeRuntime()
        self.gateway = FakeGateway()
        self.database = database
        self.requests = FakeRequests()
        self.checks = Checks(settings.layout.checks_dir)
        self.drivers = FakeDrivers()
        self.parts = Parts(
            settings,
            database,
            self.clock,
            self.runtime,
            self.gateway,
            self.requests,
            self.checks,
            self.drivers,
        )
        self.changes = ServiceChanges(
            settings, database, self.clock, Previews(settings, self.clock)
        )

    async def create(self, *config: dict[str, Any], **more: Any) -> str:
        body = {"service_name": "svc", "infer_type": "real-time", "config": list(config)} | more
        return (await self.changes.create(AUTHOR, body)).service_id

    async def update(self, service_id: str, **body: Any) -> int | None:
        accepted = await self.changes.update(AUTHOR, service_id, body)
        return accepted.at if accepted else None

    async def settle(self, service_id: str, passes: int = 60, until: str = "") -> None:
        """Run passes as the loop would, until nothing is due within a minute or it is ``until``."""
        for _ in range(passes):
            at = await reconcile(self.parts, service_id)
            if until and (await self.service(service_id)).status == until:
                return
            if at is None or at > self.clock.now_ms() + 60_000:
                return
            self.clock.now = max(self.clock.now + 1, at)
        raise AssertionError("the service does not come to rest")

    async def service(self, service_id: str) -> Service:
        async with self.database.read() as session:
            found = await session.get(Service, service_id)
        assert found is not None
        return found

    async def logs(self, service_id: str) -> list[UpdateLog]:
        async with self.database.read() as session:
            statement = select(UpdateLog).where(UpdateLog.service_id == service_id)
            return list(await session.scalars(statement.order_by(UpdateLog.update_time)))

    async def ended(self) -> int:
        """How many instances on record are no more."""
        async with self.database.read() as session:
            rows = await session.scalars(select(Instance).where(Instance.ended_at.is_not(None)))
            return len(list(rows))

    async def events(self, service_id: str) -> list[str]:
        async with self.database.read() as session:
            statement = select(Event).where(Event.service_id == service_id).order_by(Event.id)
            return [event.event_info for event in await session.scalars(statement)]


@asynccontextmanager
async def loop_bench(tmp_path: Path, probation: float = 0.0) -> AsyncIterator[Bench]:
    settings = Settings(home=tmp_path, probation=probation)
    settings.layout.prepare_home()
    database = Database(settings.database)
    await bring_up_to_date(database)
    async with database.write(Step.TEST) as session:
        for model_id, number in ((M1, "0.0.1"), (M2, "0.0.2")):
            session.add(
                Model(
                    id=model_id,
                    project_id=AUTHOR.project_id,
                    name="m",
                    version=number,
                    version_order=1,
                    model_type="Custom",
                    status="published",
                    owner=AUTHOR.user_id,
                    tenant=AUTHOR.domain_id,
                    source_location="/b/k/",
                    requested={},
                    install_type=["real-time"],
                    package_dir="",
                    created_at=1,
                )
            )
    yield Bench(settings, database)
    await database.close()
