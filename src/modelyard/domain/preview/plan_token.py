"""The plan token: what a preview was made of, so that going ahead can tell whether it still holds.

A token is a condition and no secret: whoever makes one up restrains only the own call.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from modelyard.errors import InvalidRequest

JsonObject = dict[str, Any]

_FORM = 1
_LONGEST = 64 * 1024
"""Bytes of what a token unpacks to; far above what the largest service needs."""
_ID_DIGITS = 8
"""Of an instance's id: enough to tell a service's instances apart, and a token stays short."""


@dataclass(frozen=True, slots=True)
class PlanToken:
    """The state that a plan was made for.

    ``asked``: digest of what is asked for. ``numbers``: the service's generation and revisions.
    ``status``: the service's. ``instances``: the stage of each, by the first digits of its id.
    ``models``: the status of each, by id. ``room``: whether each pool of the change had room for
    it, by name.
    """

    asked: str
    status: str
    numbers: Mapping[str, int | None]
    instances: Mapping[str, str]
    models: Mapping[str, str]
    room: Mapping[str, bool]

    def encode(self) -> str:
        """As a URL carries it."""
        body = [_FORM, self.asked, self.status]
        body += [dict(m) for m in (self.numbers, self.instances, self.models, self.room)]
        packed = zlib.compress(_canonical(body).encode(), 9)
        return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> Self:
        """The inverse of ``encode``. Raises ``InvalidRequest`` for what is no token."""
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            packed = base64.b64decode(padded, altchars=b"-_", validate=True)
            unpacker = zlib.decompressobj()
            body = json.loads(unpacker.decompress(packed, _LONGEST))
            if not unpacker.eof:
                raise ValueError("too long")
            form, asked, status, *maps = body
            numbers, instances, models, room = maps
            kinds = [type(part) for part in body]
            if form != _FORM or kinds != [int, str, str, dict, dict, dict, dict]:
                raise ValueError("another form")
        except (ValueError, TypeError, RecursionError, zlib.error, binascii.Error):
            raise InvalidRequest(
                f"plan_token: {text[:40]!r} is no plan token. Ask for one with ?dry_run=true and "
                "send it as it is.",
                field="plan_token",
            ) from None
        return cls(asked, status, numbers, instances, models, room)


def digest_of(form: str, body: object) -> str:
    """Equal for two requests of one form that ask for the same; the order of members is free."""
    return hashlib.sha256(_canonical([form, body]).encode()).hexdigest()[:32]


def short_id(instance_id: str) -> str:
    """How a token names an instance."""
    return instance_id[:_ID_DIGITS]


def difference(planned: PlanToken, present: PlanToken) -> tuple[str, ...]:
    """What is not as planned any more, a sentence each; empty: go ahead."""
    return tuple(_differences(planned, present))


_NUMBERS = {
    "generation": "the service was changed meanwhile",
    "serving": "another revision serves",
    "live": "another revision was reached in full",
    "kept": "another former revision is kept loaded",
    "step": "the guarded rollout is at another step",
}


def _differences(planned: PlanToken, present: PlanToken) -> Iterator[str]:
    if planned.asked != present.asked:
        yield "the token belongs to another request: it was made for another method, body or call"
    for key, told in _NUMBERS.items():
        before, after = planned.numbers.get(key), present.numbers.get(key)
        if before != after:
            yield f"{told} ({key} {_or_none(before)} then, {_or_none(after)} now)"
    if planned.status != present.status:
        yield f"the service was {planned.status} and is {present.status}"
    yield from _members("instance", planned.instances, present.instances, "is gone", "has come")
    yield from _members("model", planned.models, present.models, "is gone", "has come")
    for pool, room in sorted(present.room.items()):
        if room is not planned.room.get(pool, room):
            was, now = ("no room", "some") if room else ("room", "none")
            yield f"{pool} had {was} for the change and has {now} now"


def _members(
    noun: str, before: Mapping[str, str], after: Mapping[str, str], gone: str, come: str
) -> Iterator[str]:
    for key in sorted({*before, *after}):
        was, now = before.get(key), after.get(key)
        if was == now:
            continue
        if now is None:
            yield f"{noun} {key} was {was} and {gone}"
        elif was is None:
            yield f"{noun} {key} {come} and is {now}"
        else:
            yield f"{noun} {key} was {was} and is {now}"


def _or_none(number: int | None) -> str:
    return "none" if number is None else str(number)


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
