"""Reading a JSON body: whatever its declared type, and nothing that a database cannot keep."""

from __future__ import annotations

import json
from typing import Annotated, Any, NoReturn

from fastapi import Depends, Request

from modelyard.errors import InvalidRequest
from modelyard.packages.documents import unstorable


async def read_json(request: Request) -> Any:
    """The body's value; None when it is empty.

    Raises ``InvalidRequest``: 4105 for what is no JSON or not UTF-8; 3037, naming the field, for
    what no database keeps (NUL, half a surrogate pair, infinite numbers, endless nesting).
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
    fault = unstorable(value)
    if fault:
        raise InvalidRequest(f"{fault}.")
    return value


def storable(text: str) -> bool:
    """Whether a database takes the text: no NUL, and every surrogate has its other half."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _malformed(reason: str) -> InvalidRequest:
    return InvalidRequest(f"The body is not valid JSON: {reason}.", code="4105")


JsonBody = Annotated[Any, Depends(read_json)]
