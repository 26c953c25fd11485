"""What callers want of services, written down: create, change, tag, delete.

Each call is one transaction: a new revision, update log and events, or nothing at all. The loop
does the rest; a crash after the answer loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.clock import Clock
from modelyard.control.changes.accepted import Accepted
from modelyard.control.changes.admission import (
    AdmittedChange,
    Author,
    ChangeKind,
    ChangeRequest,
    get_service,
    judge,
    require,
    require_owner,
)
from modelyard.control.changes.batch_input import asks_for_batch, may_move_input, moved_input
from modelyard.control.changes.create import admit_new, create_service
from modelyard.control.changes.idempotency import first_answer, keep_answer, was_answered
from modelyard.control.changes.preconditions import UNCONDITIONAL, Conditions, require_match
from modelyard.control.changes.stop import begin_stop
from modelyard.control.changes.tags import Drop, change_tags
from modelyard.control.changes.update import change_service
from modelyard.control.ports import Surveyor
from modelyard.domain.rollout.state import DesiredStatus
from modelyard.domain.service.lifecycle import Action
from modelyard.errors import InvalidRequest
from modelyard.settings import Settings
from modelyard.steps import Step
from modelyard.store.database import Database

JsonObject = dict[str, Any]


class Previewer(Protocol):
    """Tells what a change would do, and whether it still would."""

    async def preview(self, session: AsyncSession, judged: AdmittedChange) -> JsonObject:
        """The preview document of a change, with its plan token; writes nothing."""
        ...

    async def check(self, session: AsyncSession, judged: AdmittedChange, token: str) -> None:
        """Raises ``PreconditionFailed`` with the difference when the plan is another one now."""
        ...


@dataclass(frozen=True, slots=True)
class ServiceChanges:
    """Writes wishes; the caller hints the loop afterwards."""

    settings: Settings
    database: Database
    clock: Clock
    previewer: Previewer | None = None
    surveyor: Surveyor | None = None

    async def create(
        self, author: Author, body: object, conditions: Conditions = UNCONDITIONAL
    ) -> Accepted:
        """A new service.

        Raises ``InvalidRequest``, ``Conflict`` (services.md §2), or for the input of a batch
        service ``Unavailable``.
        """
        if asks_for_batch(body) and not await self._answered(conditions):
            await self._survey_new(author, body)
        async with self.database.write(Step.SERVICE_CREATE) as session:
            now = self.clock.now_ms()
            first = await first_answer(session, conditions.call, now)
            if first is not None:
                return Accepted.replay(first)
            accepted = await create_service(
                session, self.settings, author, body, self.clock.new_uuid(), now
            )
            await keep_answer(session, conditions.call, accepted.to_json)
            return accepted

    async def update(
        self,
        author: Author,
        service_id: str,
        body: object,
        conditions: Conditions = UNCONDITIONAL,
    ) -> Accepted:
        """Change a service by the body of a whole update (services.md §3); see ``change``."""
        return await self.change(
            author, service_id, ChangeRequest(ChangeKind.UPDATE, body), conditions
        )

    async def change(
        self,
        author: Author,
        service_id: str,
        asked: ChangeRequest,
        conditions: Conditions = UNCONDITIONAL,
    ) -> Accepted:
        """Change a service in any of the forms there are.

        Raises ``NotFound``, ``InvalidRequest``, ``StateForbids``, ``PreconditionFailed`` or
        ``KeyReused``; then nothing has changed (services.md §3, §4, §7, §8).
        """
        if may_move_input(asked) and not await self._answered(conditions):
            await self._survey_changed(author, service_id, asked)
        async with self.database.write(Step.SERVICE_UPDATE) as session:
            now = self.clock.now_ms()
            first = await first_answer(session, conditions.call, now)
            if first is not None:
                return Accepted.replay(first)
            judged = await self.judge(session, author, service_id, asked)
            require_match(judged.service, conditions.if_match)
            if conditions.plan_token is not None:
                await self._plans().check(session, judged, conditions.plan_token)
            accepted = await change_service(session, self.settings, judged, author, now)
            await keep_answer(session, conditions.call, accepted.to_json)
            return accepted

    async def judge(
        self,
        session: AsyncSession,
        author: Author,
        service_id: str,
        asked: ChangeRequest,
        *,
        lock: bool = True,
    ) -> AdmittedChange:
        """What the change would be, before anything is written; raises like ``change``."""
        return await judge(session, self.settings, author, service_id, asked, lock=lock)

    async def preview(
        self,
        author: Author,
        service_id: str,
        asked: ChangeRequest,
        conditions: Conditions = UNCONDITIONAL,
    ) -> JsonObject:
        """What the change would do; writes nothing. Raises like ``change``.

        With a plan token it tells whether the plan still holds.
        """
        plans = self._plans()
        async with self.database.read() as session:
            judged = await self.judge(session, author, service_id, asked, lock=False)
            require_match(judged.service, conditions.if_match)
            if conditions.plan_token is not None:
                await plans.check(session, judged, conditions.plan_token)
            document = await plans.preview(session, judged)
        if self.surveyor is not None and (moved := moved_input(judged)) is not None:
            document |= await self.surveyor.preview(author.project_id, moved)
        return document

    async def preview_new(self, author: Author, body: object) -> JsonObject:
        """What creating a batch service would do; writes nothing. Raises like ``create``."""
        async with self.database.read() as session:
            wish = await admit_new(session, self.settings, author, body)
        if self.surveyor is None or wish.config[0].batch is None:
            raise InvalidRequest(
                "dry_run: only the creation of a batch service can be previewed. Leave it out.",
                field="dry_run",
            )
        return {
            "service_name": wish.name,
            "infer_type": wish.infer_type,
            "dry_run": True,
            **await self.surveyor.preview(author.project_id, wish.config[0]),
        }

    async def _answered(self, conditions: Conditions) -> bool:
        """Whether an equal call was carried out before: its answer rests on the input of then."""
        async with self.database.read() as session:
            return await was_answered(session, conditions.call, self.clock.now_ms())

    async def _survey_new(self, author: Author, body: object) -> None:
        async with self.database.read() as session:
            wish = await admit_new(session, self.settings, author, body)
        if self.surveyor is not None:
            await self.surveyor.check(author.project_id, wish.config[0])

    async def _survey_changed(self, author: Author, service_id: str, asked: ChangeRequest) -> None:
        async with self.database.read() as session:
            judged = await self.judge(session, author, service_id, asked, lock=False)
        moved = moved_input(judged)
        if self.surveyor is not None and moved is not None:
            await self.surveyor.check(author.project_id, moved)

    def _plans(self) -> Previewer:
        if self.previewer is None:
            raise InvalidRequest("dry_run and plan_token: previews are switched off here.")
        return self.previewer

    async def change_tags(
        self, author: Author, service_id: str, put: Mapping[str, str], drop: Drop = ()
    ) -> None:
        """Set the tags ``put`` and remove those of ``drop`` (resources.md §7).

        Raises ``NotFound``, ``InvalidRequest`` or ``StateForbids``.
        """
        async with self.database.write(Step.SERVICE_TAG) as session:
            service = await get_service(session, author.project_id, service_id)
            require(service, Action.DESCRIBE)
            if await change_tags(session, service.id, put, drop):
                service.generation += 1
                service.operation_time = self.clock.now_ms()

    async def delete(
        self,
        author: Author,
        service_ids: Sequence[str],
        conditions: Conditions = UNCONDITIONAL,
    ) -> None:
        """Delete all or none.

        Raises ``NotFound``, ``StateForbids`` or ``PreconditionFailed`` (services.md §4).
        """
        if not service_ids:
            raise InvalidRequest("service_id: names no service. Send one id or a comma list.")
        async with self.database.write(Step.SERVICE_DELETE) as session:
            now = self.clock.now_ms()
            if await first_answer(session, conditions.call, now) is not None:
                return
            # In one order everywhere, so that two such calls cannot wait for each other.
            services = [
                await get_service(session, author.project_id, service_id)
                for service_id in sorted(set(service_ids))
            ]
            for service in services:
                require_owner(service, author)
                require(service, Action.DELETE)
                require_match(service, conditions.if_match)
            for service in services:
                await begin_stop(session, service, now, DesiredStatus.DELETED, "deleting service")
            await keep_answer(session, conditions.call, lambda: {"deleted": len(services)})
