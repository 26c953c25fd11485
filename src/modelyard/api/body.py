"""Reading a JSON body: whatever its declared type, and nothing that a database cannot keep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, NoReturn

from fastapi import Depends, Request

from modelyard.errors import InvalidRequest


async def read_json(request: Request) -> Any:
    """The body's value; None when it is empty.

    Raises ``InvalidRequest``: 4105 for what is no JSON or not UTF-8; 3037, naming the field, for
    characters that cannot be stored (NUL, half a surrogate pair).
    """
    raw = await request.body()
    if not raw.strip():
        return None
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    except RecursionError:
        raise _malformed("it is nested too deeply") from None
    except ValueError as error:
        raise _malformed(str(error)) from None
    for field, text in _texts(value):
        if not storable(text):
            shown = field.encode(errors="replace").decode().replace("\0", "?")[:80]
            raise InvalidRequest(
                f"{shown}: holds a character that cannot be stored. Leave out NUL and lone "
                "surrogates.",
                field=shown,
            )
    return value


def storable(text: str) -> bool:
    """Whether a database takes the text: no NUL, and every surrogate has its other half."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _malformed(reason: str) -> InvalidRequest:
    return InvalidRequest(f"The body is not valid JSON: {reason}.", code="4105")


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    """Every string in a value with its path, keys too; no recursion, since bodies may be deep."""
    waiting = [("", value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, str):
            yield path or "body", item
        elif isinstance(item, list):
            waiting += [(f"{path}[{i}]", inner) for i, inner in enumerate(item)]
        elif isinstance(item, dict):
            prefix = f"{path}." if path else ""
            for key, inner in item.items():
                waiting += [(f"{prefix}{key}", key), (f"{prefix}{key}", inner)]


JsonBody = Annotated[Any, Depends(read_json)]
