"""What a changing call depends on: its conditional headers and query members, read and checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Query, Request
from fastapi.responses import JSONResponse

from modelyard.api.body import JsonBody
from modelyard.api.context import Context, ContextDep
from modelyard.api.deps import ClaimsDep
from modelyard.control.changes.admission import Author, ChangeKind, ChangeRequest
from modelyard.control.changes.idempotency import Call, digest_of
from modelyard.control.changes.preconditions import Accepted, Conditions, etag
from modelyard.domain.roles import ADMIN
from modelyard.errors import InvalidRequest
from modelyard.iam.claims import Claims

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"[ \t]*{_TAG}(?:[ \t]*,[ \t]*{_TAG})*[ \t]*")
_KEY_LIMIT = 255

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="An ETag of the service: 412 when it was changed since. `*`: any. (extension)",
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="1 to 255 printable characters: an equal call with the same key gets the "
        "first answer for 24 hours, another one 422. (extension)",
    ),
]
DryRun = Annotated[
    str | None,
    Query(
        description="true: answer what the change would do, and do nothing. What would be refused "
        "is refused with the same status and code; where only quotas or pools are in the way, the "
        "answer has the preview as its member `preview`. (extension)",
        json_schema_extra={"enum": ["true", "false"]},
    ),
]
PlanToken = Annotated[
    str | None,
    Query(
        description="The `plan_token` of a preview of the same call: it goes ahead only if things "
        "are as planned, else 412 with every difference in `problems`. (extension)"
    ),
]


def author_of(claims: Claims) -> Author:
    """The caller, as the author of a change."""
    assert claims.project_id is not None
    is_admin = ADMIN in claims.roles
    return Author(claims.project_id, claims.user_id, claims.domain_id, is_admin)


async def conditions(
    request: Request,
    claims: ClaimsDep,
    body: JsonBody,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
    plan_token: PlanToken = None,
) -> Conditions:
    """Of a call with a body that changes one service."""
    _only_known(request, ("dry_run", "plan_token"))
    call = _call(request, claims, idempotency_key, body)
    return Conditions(read_if_match(if_match), call, plan_token)


async def conditions_of_delete(
    request: Request,
    claims: ClaimsDep,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Conditions:
    """Of a call whose body, if any, has no meaning."""
    _only_known(request)
    return Conditions(read_if_match(if_match), _call(request, claims, idempotency_key, None))


async def conditions_of_create(
    request: Request,
    claims: ClaimsDep,
    body: JsonBody,
    idempotency_key: IdempotencyKey = None,
) -> Conditions:
    """Of a call that creates a service: there is nothing to match yet."""
    _only_known(request, ("dry_run",))
    return Conditions(call=_call(request, claims, idempotency_key, body))


async def dry_run(dry_run: DryRun = None) -> bool:
    """Whether only a preview is asked for."""
    if dry_run not in (None, "", "true", "false"):
        raise InvalidRequest(
            f"dry_run: {dry_run[:20]!r} is neither true nor false.", field="dry_run"
        )
    return dry_run == "true"


ConditionsDep = Annotated[Conditions, Depends(conditions)]
DeleteConditionsDep = Annotated[Conditions, Depends(conditions_of_delete)]
CreateConditionsDep = Annotated[Conditions, Depends(conditions_of_create)]
DryRunDep = Annotated[bool, Depends(dry_run)]


def read_if_match(header: str | None) -> frozenset[str] | None:
    """The tags of an ``If-Match`` (RFC 9110 §13.1.1); None: any state will do.

    Weak tags never match. Raises ``InvalidRequest`` for anything else.
    """
    if header is None or header.strip() == "*":
        return None
    if not _TAGS.fullmatch(header):
        raise InvalidRequest(
            f"If-Match: {header[:60]!r} is no list of entity tags. Send the service's ETag with "
            'its quotes, for example "7".',
            field="If-Match",
        )
    return frozenset(tag for tag in re.findall(_TAG, header) if not tag.startswith("W/"))


def _only_known(request: Request, known: Sequence[str] = ()) -> None:
    """A mistyped ``dry_run`` must not become the change itself. Raises ``InvalidRequest``."""
    for name in request.query_params:
        if name not in known:
            remedy = f"Known: {', '.join(known)}." if known else "It takes none."
            raise InvalidRequest(
                f"{name[:40]}: is not a query parameter of this call. {remedy}", field=name[:40]
            )


def _call(request: Request, claims: Claims, key: str | None, body: object) -> Call | None:
    if key is None:
        return None
    if not 0 < len(key) <= _KEY_LIMIT or not (key.isascii() and key.isprintable()):
        raise InvalidRequest(
            f"Idempotency-Key: has {len(key)} characters, or one that is not printable ASCII. "
            f"Send 1 to {_KEY_LIMIT}, for example a UUID.",
            field="Idempotency-Key",
        )
    digest = digest_of(request.method, request.url.path, body)
    return Call(claims.project_id or "", claims.user_id, key, digest)


def headers_of(accepted: Accepted) -> dict[str, str]:
    """The headers of the answer to an accepted change."""
    replayed = {"Idempotent-Replayed": "true"} if accepted.replayed else {}
    return {"ETag": etag(accepted.generation)} | replayed


def resource_ids(accepted: Accepted) -> list[str]:
    """One id per deployed model (services.md §2.1)."""
    return [f"INF-{fingerprint[:6]}@{accepted.at}" for fingerprint in accepted.deploys]


@dataclass(frozen=True, slots=True)
class Change:
    """A call that changes one service, or that only previews it."""

    context: Context
    conditions: Conditions
    dry_run: bool

    async def carry_out(
        self, claims: Claims, service_id: str, asked: ChangeRequest
    ) -> JSONResponse:
        """Store the change, wake the loop and give the answer; or the preview."""
        author, changes = author_of(claims), self.context.changes
        if self.dry_run:
            return JSONResponse(await changes.preview(author, service_id, asked, self.conditions))
        accepted = await changes.change(author, service_id, asked, self.conditions)
        self.context.hint(service_id)
        bare = asked.kind is ChangeKind.UPDATE and self.context.settings.api.bare_update_answer
        if accepted.at is None or bare:
            return JSONResponse({}, headers=headers_of(accepted))
        body = {"update_time": str(accepted.at), "resource_ids": resource_ids(accepted)}
        return JSONResponse(body, headers=headers_of(accepted))


async def change(context: ContextDep, conditions: ConditionsDep, dry_run: DryRunDep) -> Change:
    """The call, ready to be carried out."""
    return Change(context, conditions, dry_run)


ChangeDep = Annotated[Change, Depends(change)]
