"""Checks every answer that a test gets from the API against the published contract.

``watch()`` looks at each exchange of ``httpx``: an answer of an operation of ``openapi.json`` must
have a documented status, and a body that its schema allows. Members that the contract does not name
are refused, too, so that it cannot fall behind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs

Json = dict[str, Any]

# Projects have ids of 32 characters; other servers of the tests have paths like ours, too.
_OURS = re.compile(r"/v[12]/(?:[0-9a-z]{32}(?:/.*)?|infers/.*)|/v3(?:/.*)?")


@cache
def document() -> Json:
    """The published contract; that the API answers it is a test of its own."""
    published: Json = json.loads((Path(__file__).parents[2] / "openapi.json").read_bytes())
    return published


@cache
def _operations() -> tuple[tuple[str, re.Pattern[str], Json], ...]:
    """(method, path, operation), fixed paths before those with parameters."""
    found = [
        (
            method.upper(),
            re.compile(
                re.sub(r"\{path\}", ".+", path).replace("{", "(?P<").replace("}", ">[^/]+)")
            ),
            operation,
        )
        for path, methods in sorted(document()["paths"].items(), key=lambda item: item[0])
        for method, operation in methods.items()
    ]
    return tuple(sorted(found, key=lambda item: item[1].pattern.count("(?P<")))


def operation_of(method: str, path: str) -> Json | None:
    """The operation that answers such a request; None when the contract has none."""
    if not _OURS.fullmatch(path):
        return None
    for known, pattern, operation in _operations():
        if known == method and pattern.fullmatch(path):
            return operation
    return None


@cache
def _closed() -> Json:
    """The schemas of the contract, in which objects have no other members than those named."""
    schemas: Json = json.loads(json.dumps(document()["components"]["schemas"]))
    for schema in schemas.values():
        _close(schema)
    return schemas


def _close(schema: Json) -> None:
    if schema.get("type") == "object" and "properties" in schema:
        schema.setdefault("additionalProperties", False)


@cache
def _validator(name: str) -> jsonschema_rs.Draft202012Validator:
    text = json.dumps({"$ref": f"#/$defs/{name}", "$defs": _closed()})
    return jsonschema_rs.Draft202012Validator(
        json.loads(text.replace("#/components/schemas/", "#/$defs/"))
    )


def faults(method: str, path: str, status: int, kind: str, body: bytes) -> list[str]:
    """What the contract does not allow of an answer with content type ``kind``."""
    operation = operation_of(method, path)
    if operation is None:
        return []
    where = f"{operation['operationId']} ({method} {path})"
    if operation["tags"] == ["predictions"]:
        # What a model answers is its own.
        return []
    answer = operation["responses"].get(str(status))
    if answer is None:
        return [f"{where}: status {status} is not documented: {body[:300]!r}"]
    schema = answer.get("content", {}).get("application/json", {}).get("schema")
    if schema is None:
        return [f"{where}: {status} has a body: {body[:300]!r}"] if body else []
    if not kind.startswith("application/json"):
        return [f"{where}: {status} has the content type {kind!r}"]
    name = schema["$ref"].rpartition("/")[2]
    return [
        f"{where}: {status} breaks {name} at {list(error.instance_path)}: {error.message[:400]}"
        for error in _validator(name).iter_errors(json.loads(body))
    ]


class Watch:
    """``found``: the faults of all answers so far; ``seen``: operations and statuses checked."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.seen: set[tuple[str, int]] = set()

    def look(self, request: httpx.Request, response: httpx.Response) -> None:
        """Check one answer whose body has been read."""
        path = request.url.raw_path.decode().partition("?")[0]
        operation = operation_of(request.method, path)
        if operation is None or not hasattr(response, "_content"):
            return
        self.seen.add((operation["operationId"], response.status_code))
        kind = response.headers.get("content-type", "")
        self.found += faults(request.method, path, response.status_code, kind, response.content)


def watching() -> Iterator[Watch]:
    """Watch every exchange until closed."""
    watch = Watch()
    send, send_async = httpx.Client.send, httpx.AsyncClient.send

    def look(self: httpx.Client, request: httpx.Request, **more: Any) -> httpx.Response:
        response = send(self, request, **more)
        watch.look(request, response)
        return response

    async def look_async(
        self: httpx.AsyncClient, request: httpx.Request, **more: Any
    ) -> httpx.Response:
        response = await send_async(self, request, **more)
        watch.look(request, response)
        return response

    httpx.Client.send, httpx.AsyncClient.send = look, look_async  # type: ignore[method-assign]
    try:
        yield watch
    finally:
        httpx.Client.send, httpx.AsyncClient.send = send, send_async  # type: ignore[method-assign]
