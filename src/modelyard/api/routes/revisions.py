"""Time travel (ours): revisions, going back to one, what served when, who answered a request."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.api.body import JsonBody
from modelyard.api.conditions import ChangeDep
from modelyard.api.context import ContextDep
from modelyard.api.deps import may
from modelyard.api.paging import Query
from modelyard.api.routes.services import find
from modelyard.api.schemas import revisions as wire
from modelyard.control.changes.admission import ChangeKind, ChangeRequest, no_revision
from modelyard.domain.service.config import VersionConfig
from modelyard.errors import InvalidRequest, NotFound
from modelyard.iam.claims import Claims
from modelyard.store.models import find_model, find_models
from modelyard.store.service import revisions as store

router = APIRouter(prefix="/v1/{project_id}/services/{service_id}", tags=["time travel"])

Json = dict[str, Any]
ServiceId = Annotated[str, Path()]
ReaderDep = Annotated[Claims, Depends(may("modelarts:service:get"))]
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_MILLIS = re.compile(r"[0-9]{1,15}")
_AT_REMEDY = "Send milliseconds since 1970, or ISO 8601 such as 2026-03-01T14:03:00Z."


@router.get("/revisions")
async def list_revisions(
    service_id: ServiceId, request: Request, context: ContextDep, claims: ReaderDep
) -> Json:
    """Every configuration that the service was asked to have, newest first."""
    query = Query(request)
    page = query.page(("number",), "number")
    query.check()
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        total, records = await store.list_revisions(session, service_id, page)
        ids = {version.model_id for record in records for version in record.content.config}
        models = await find_models(session, service.project_id, ids)
    return {
        "service_id": service_id,
        "service_name": service.name,
        "total_count": total,
        "count": len(records),
        "revisions": [wire.revision(record, models) for record in records],
    }


@router.get("/revisions/compare")
async def compare_revisions(
    service_id: ServiceId, request: Request, context: ContextDep, claims: ReaderDep
) -> Json:
    """What differs between the revisions ``from`` and ``to``, and what that does to instances."""
    query = Query(request)
    numbers = [query.text("from"), query.text("to")]
    query.check()
    for name, number in zip(("from", "to"), numbers, strict=True):
        if number is None:
            raise InvalidRequest(
                f"{name}: Parameter {name} cannot be empty. Send a revision's number.",
                code="3610",
                field=name,
            )
    async with context.database.read() as session:
        await find(session, claims, service_id)
        old, new = [await _revision(session, service_id, number or "") for number in numbers]
    return {"service_id": service_id} | wire.comparison(old, new)


@router.get("/revisions/{number}")
async def show_revision(
    service_id: ServiceId, number: Annotated[str, Path()], context: ContextDep, claims: ReaderDep
) -> Json:
    """One configuration that the service was asked to have."""
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        record = await _revision(session, service_id, number)
        ids = [version.model_id for version in record.content.config]
        models = await find_models(session, service.project_id, ids)
    return {"service_id": service_id} | wire.revision(record, models)


@router.post("/revisions/{number}/rollback")
async def roll_back(
    service_id: ServiceId,
    number: Annotated[str, Path()],
    claims: Annotated[Claims, Depends(may("modelarts:service:update"))],
    body: JsonBody,
    change: ChangeDep,
) -> Json:
    """Bring a revision's configuration back: a new revision equal to it, judged like an update.

    One that once was reached in full comes back without a guarded rollout's steps.
    """
    if body not in (None, {}):
        raise InvalidRequest("body: a rollback has none. Leave it out, or send an update.")
    return await change.carry_out(
        claims, service_id, ChangeRequest(ChangeKind.ROLLBACK, _number(number))
    )


@router.get("/served")
async def served(
    service_id: ServiceId,
    request: Request,
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:getLogs"))],
) -> Json:
    """Which revision answered predictions at the moment ``at``, since when and until when."""
    now = context.clock.now_ms()
    at = read_moment(request.query_params.get("at"), now)
    versions: tuple[VersionConfig, ...] = ()
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        period = await store.served_at(session, service_id, at)
        if period is not None and period.revision is not None:
            record = await store.find_revision(session, service_id, period.revision)
            versions = record.content.config if record else ()
        ids = [version.model_id for version in versions]
        models = await find_models(session, service.project_id, ids)
    return {"service_id": service_id} | wire.served(at, period, versions, models)


@router.get("/requests/{request_id}")
async def show_request(
    service_id: ServiceId,
    request_id: Annotated[str, Path()],
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:getLogs"))],
) -> Json:
    """The prediction whose answer carried this ``X-Request-Id``, as long as the log has it."""
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
    record = await context.requests.find(request_id)
    if record is None or record.service_id != service_id:
        raise NotFound(
            f"request_id: the service's log has no request {request_id[:64]!r}. The log is "
            "bounded: old requests are forgotten.",
            code="3502",
            field="request_id",
        )
    async with context.database.read() as session:
        model = await find_model(session, service.project_id, record.model_id)
    return wire.request(record, model)


def read_moment(text: str | None, now: int) -> int:
    """A past moment in ms, given as such or in ISO 8601; without a zone it is UTC.

    Raises ``InvalidRequest``.
    """
    if not text:
        raise InvalidRequest(f"at: Parameter at cannot be empty. {_AT_REMEDY}", code="3610")
    if _MILLIS.fullmatch(text):
        at = int(text)
    else:
        try:
            # In a query an unescaped plus sign is a space.
            moment = datetime.fromisoformat(text.strip().replace(" ", "+"))
            at = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
        except (ValueError, OverflowError):
            raise InvalidRequest(
                f"at: {text[:40]!r} is no moment. {_AT_REMEDY}", field="at"
            ) from None
    if not 0 <= at <= now:
        raise InvalidRequest(f"at: {text[:40]!r} is not in the past. {_AT_REMEDY}", field="at")
    return at


async def _revision(session: AsyncSession, service_id: str, number: str) -> store.RevisionRecord:
    record = await store.find_revision(session, service_id, _number(number))
    if record is None:
        raise no_revision(number)
    return record


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise no_revision(text)
    return int(text)
