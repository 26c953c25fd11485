"""What served when, and which instance answered a request (extensions)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from fastapi.responses import JSONResponse

from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import QueryOf, answers
from modelyard.api.deps import may
from modelyard.api.paging import QueryDep
from modelyard.api.routes.services.lookup import ServiceId, find, models_of
from modelyard.api.schemas.history import ShowRequestResponse, ShowServedResponse
from modelyard.api.schemas.service_requests import ServedQuery
from modelyard.api.views import revisions as wire
from modelyard.domain.service.config import VersionConfig
from modelyard.errors import InvalidRequest, NotFound
from modelyard.iam.claims import Claims
from modelyard.store.service import revisions as store

router = APIRouter(prefix="/v1/{project_id}/services/{service_id}", tags=["time travel"])

_MILLIS = re.compile(r"[0-9]{1,15}")
_AT_REMEDY = "Send milliseconds since 1970, or ISO 8601 such as 2026-03-01T14:03:00Z."


@router.get(
    "/served",
    operation_id="ShowServed",
    responses=answers(ShowServedResponse, 404),
)
async def served(
    service_id: ServiceId,
    query: Annotated[QueryDep, QueryOf(ServedQuery)],
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:getLogs"))],
) -> JSONResponse:
    """Which revision answered predictions at the moment ``at``, since when and until when."""
    now = context.clock.now_ms()
    at = read_moment(query.text("at"), now)
    versions: tuple[VersionConfig, ...] = ()
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        period = await store.served_at(session, service_id, at)
        if period is not None and period.revision is not None:
            record = await store.find_revision(session, service_id, period.revision)
            versions = record.content.config if record else ()
        ids = [version.model_id for version in versions]
        models = await models_of(session, service, ids)
    return JSONResponse({"service_id": service_id} | wire.served(at, period, versions, models))


@router.get(
    "/requests/{request_id}",
    operation_id="ShowRequest",
    responses=answers(ShowRequestResponse, 404),
)
async def show_request(
    service_id: ServiceId,
    request_id: Annotated[str, Path()],
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:getLogs"))],
) -> JSONResponse:
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
        models = await models_of(session, service, [record.model_id])
    return JSONResponse(wire.request(record, models.get(record.model_id)))


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
