"""The calls that change services: create, change, tag, delete; and their previews.

Each call is one transaction: a new revision, update log and events, or nothing at all. The
reconciler does the rest; a crash after the answer loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from modelyard.clock import Clock
from modelyard.control.changes.admission import (
    AdmittedChange,
    Author,
    ChangeKind,
    ChangeRequest,
    admit,
    get_service,
    require,
    require_owner,
)
from modelyard.control.changes.batch_input import asks_for_batch, may_move_input, moved_input
from modelyard.control.changes.create import admit_new, create_service
from modelyard.control.changes.idempotency import first_answer, keep_answer, was_answered
from modelyard.control.changes.preconditions import (
    UNCONDITIONAL,
    Accepted,
    Conditions,
    require_match,
)
from modelyard.control.changes.tags import Drop, change_tags
from modelyard.control.changes.update import change_service, stop_service, touch_service
from modelyard.control.ports import Surveyor
from modelyard.domain.rollout.transition import Delete
from modelyard.domain.service.lifecycle import Action
from modelyard.errors import InvalidRequest
from modelyard.settings import Settings
from modelyard.steps import Step
from modelyard.store.database import Database, Session

JsonObject = dict[str, Any]


class Previewer(Protocol):
    """Shows what a change would do, and checks whether it still would."""

    async def preview(self, session: Session, admitted: AdmittedChange) -> JsonObject:
        """Return the preview document of a change, with its plan token; writes nothing."""
        ...

    async def check(self, session: Session, admitted: AdmittedChange, token: str) -> None:
        """Raises ``PreconditionFailed`` with the difference when another plan holds now."""
        ...


@dataclass(frozen=True, slots=True)
class ServiceChanges:
    """Writes desired states; its caller hints the work queue afterwards."""

    settings: Settings
    database: Database
    clock: Clock
    previewer: Previewer | None = None
    surveyor: Surveyor | None = None

    async def create(
        self, author: Author, body: object, conditions: Conditions = UNCONDITIONAL
    ) -> Accepted:
        """Create a service.

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
        request: ChangeRequest,
        conditions: Conditions = UNCONDITIONAL,
    ) -> Accepted:
        """Change a service by a request of any kind.

        Raises ``NotFound``, ``InvalidRequest``, ``StateForbids``, ``PreconditionFailed`` or
        ``KeyReused``; then nothing has changed (services.md §3, §4, §7, §8).
        """
        if may_move_input(request) and not await self._answered(conditions):
            await self._survey_changed(author, service_id, request)
        async with self.database.write(Step.SERVICE_UPDATE) as session:
            now = self.clock.now_ms()
            first = await first_answer(session, conditions.call, now)
            if first is not None:
                return Accepted.replay(first)
            admitted = await self.admit(session, author, service_id, request)
            require_match(admitted.service, conditions.if_match)
            if conditions.plan_token is not None:
                await self._plans().check(session, admitted, conditions.plan_token)
            accepted = await change_service(session, self.settings, admitted, author, now)
            await keep_answer(session, conditions.call, accepted.to_json)
            return accepted

    async def admit(
        self,
        session: Session,
        author: Author,
        service_id: str,
        request: ChangeRequest,
        *,
        lock: bool = True,
    ) -> AdmittedChange:
        """Check the change and return it, before anything is written; raises like ``change``."""
        return await admit(session, self.settings, author, service_id, request, lock=lock)

    async def preview(
        self,
        author: Author,
        service_id: str,
        request: ChangeRequest,
        conditions: Conditions = UNCONDITIONAL,
    ) -> JsonObject:
        """Return what the change would do; writes nothing. Raises like ``change``.

        With a plan token it checks whether the plan still holds.
        """
        plans = self._plans()
        async with self.database.read() as session:
            admitted = await self.admit(session, author, service_id, request, lock=False)
            require_match(admitted.service, conditions.if_match)
            if conditions.plan_token is not None:
                await plans.check(session, admitted, conditions.plan_token)
            document = await plans.preview(session, admitted)
        if self.surveyor is not None and (moved := moved_input(admitted)) is not None:
            document |= await self.surveyor.preview(author.project_id, moved)
        return document

    async def preview_new(self, author: Author, body: object) -> JsonObject:
        """Return what creating a batch service would do; writes nothing. Raises like ``create``."""
        async with self.database.read() as session:
            new = await admit_new(session, self.settings, author, body)
        if self.surveyor is None or new.config[0].batch is None:
            raise InvalidRequest(
                "dry_run: only the creation of a batch service can be previewed. Leave it out.",
                field="dry_run",
            )
        return {
            "service_name": new.name,
            "infer_type": new.infer_type,
            "dry_run": True,
            **await self.surveyor.preview(author.project_id, new.config[0]),
        }

    async def _answered(self, conditions: Conditions) -> bool:
        """Whether an equal call was carried out before: its input is not checked again."""
        async with self.database.read() as session:
            return await was_answered(session, conditions.call, self.clock.now_ms())

    async def _survey_new(self, author: Author, body: object) -> None:
        async with self.database.read() as session:
            new = await admit_new(session, self.settings, author, body)
        if self.surveyor is not None:
            await self.surveyor.check(author.project_id, new.config[0])

    async def _survey_changed(
        self, author: Author, service_id: str, request: ChangeRequest
    ) -> None:
        async with self.database.read() as session:
            admitted = await self.admit(session, author, service_id, request, lock=False)
        moved = moved_input(admitted)
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
                await touch_service(session, service, self.clock.now_ms())

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
                await stop_service(session, service, Delete(), "deleting service", now)
            await keep_answer(session, conditions.call, lambda: {"deleted": len(services)})
