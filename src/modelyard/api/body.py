"""Reading a JSON body: whatever its declared type, and nothing that a database cannot keep."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from modelyard.domain.body_reader import unpacked
from modelyard.errors import InvalidRequest
from modelyard.packages.documents import DocumentError, load_json, unstorable


async def read_json(request: Request) -> Any:
    """The body's value; None when it is empty.

    Raises ``InvalidRequest``: 4105 for what is no JSON or not UTF-8; 3037, naming the field, for
    what no database keeps (NUL, half a surrogate pair, infinite numbers, endless nesting).
    """
    raw = await request.body()
    if not raw.strip():
        return None
    try:
        value = load_json(raw, "The JSON body")
    except DocumentError as error:
        raise InvalidRequest(f"{error}.", code="4105") from None
    fault = unstorable(value)
    if fault:
        raise InvalidRequest(f"{fault}.")
    return value


JsonBody = Annotated[Any, Depends(read_json)]
"""A body as it was sent; routes add the model of it (``contract/declare.py``)."""


async def read_service(body: JsonBody) -> Any:
    """The body of a service, whose ``config`` and ``mapping_rule`` may be JSON text.

    Raises ``InvalidRequest`` 3037 for texts that hold what no database keeps.
    """
    if not isinstance(body, dict):
        return body
    whole = unpacked(body, "config")
    config = whole.get("config")
    if isinstance(config, list):
        read = [unpacked(one, "mapping_rule") if isinstance(one, dict) else one for one in config]
        whole = whole | {"config": read}
    fault = unstorable(whole)
    if fault:
        raise InvalidRequest(f"{fault}.")
    return whole


ServiceBody = Annotated[Any, Depends(read_service)]
"""The same of the calls that create and update services."""
