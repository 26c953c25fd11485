"""The front's HTTP surface: raw ASGI, no framework between the socket and the model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import orjson

from modelyard_instance import replies
from modelyard_instance.apis import normal_url
from modelyard_instance.forms import BadForm, FormParser, boundary_of
from modelyard_instance.hooks import BATCH, BATCH_URL
from modelyard_instance.replies import Reply
from modelyard_instance.spec import Spec
from modelyard_instance.state import DRAINING, FAILED, READY
from modelyard_instance.supervisor import CallerGone, Supervisor

# ASGI's own shapes; their values have no common type.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LEAST_HELD = 64 * 1024 * 1024
_POST_ONLY = frozenset({"POST"})


class _Refused(Exception):
    """The request ends here with ``reply``."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


class App:
    """Answers ``GET /health`` itself and gives everything else to the worker.

    Where the package declares an api of that url, only a request with ``x-modelyard-health: 1``
    asks for the front's.

    ``inflight``: requests between their first header and their last byte. ``last_end``: loop time
    at which the latest of them ended.
    """

    def __init__(
        self, spec: Spec, apis: Mapping[str, frozenset[str]], supervisor: Supervisor
    ) -> None:
        self.draining = False
        self.inflight = 0
        self.last_end = 0.0
        self._spec = spec
        self._apis = apis
        self._supervisor = supervisor
        self._loop = asyncio.get_running_loop()
        self._held = 0
        self._most_held = max(_LEAST_HELD, 4 * spec.body_limit)
        self._headers = [
            (b"x-modelyard-model-version", spec.model_version.encode()),
            (b"x-modelyard-instance", spec.instance_id.encode()),
        ]

    @property
    def phase(self) -> str:
        """What ``/health`` and ``state.json`` say."""
        phase = self._supervisor.phase
        return DRAINING if self.draining and phase != FAILED else phase

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} here")
        path: str = scope["path"]
        if path == "/health" and scope["method"] == "GET" and self._is_probe(scope):
            await self._send(send, self._health())
            return
        self.inflight += 1
        try:
            try:
                reply = await self._predict(path, scope, receive)
            except _Refused as refused:
                reply = refused.reply
            except BadForm as error:
                reply = replies.malformed(str(error))
            except CallerGone:
                return
            await self._send(send, reply)
        finally:
            self.inflight -= 1
            self.last_end = self._loop.time()

    def _is_probe(self, scope: Scope) -> bool:
        return "/health" not in self._apis or (b"x-modelyard-health", b"1") in scope["headers"]

    def _health(self) -> Reply:
        phase = self.phase
        content = {
            "instance_id": self._spec.instance_id,
            "status": phase,
            "inflight": self.inflight,
            "message": self._supervisor.message,
            "losses": self._supervisor.losses,
            "last_loss": self._supervisor.last_loss,
        }
        return Reply(orjson.dumps(content), 200 if phase == READY else 503)

    async def _predict(self, path: str, scope: Scope, receive: Receive) -> Reply:
        methods = self._apis.get(path)
        hook = ""
        if methods is None:
            url = normal_url(path)
            methods = self._apis.get(url)
            if methods is None and url == BATCH_URL:
                # Only the worker knows whether the script has the hook (models.md §4.2).
                methods, hook = _POST_ONLY, BATCH
            if methods is None:
                return replies.unknown_api(path)
        method: str = scope["method"]
        if method not in methods:
            return replies.wrong_method(method, methods)
        if self._supervisor.phase != READY:
            return replies.unavailable(f"The model is not ready: {self._supervisor.message}.")
        if self.inflight > self._spec.queue_limit or self._held > self._most_held:
            return replies.overloaded(self._spec.queue_limit)
        query = _query(scope["query_string"])
        boundary = _boundary(scope["headers"], self._spec.body_limit)
        parts = None
        if boundary is None:
            body = await self._read(receive)
        else:
            parts, body = await self._read_form(receive, FormParser(boundary))
        if method == "POST" and not body and not parts:
            return replies.empty()
        header = b""
        if query or parts is not None or hook:
            more: dict[str, object] = {"hook": hook} if hook else {}
            if query:
                more["query"] = query
            if parts is not None:
                more["parts"] = parts
            header = orjson.dumps(more)
        size = len(body)
        self._held += size
        try:
            return await self._supervisor.predict(header, body, receive)
        finally:
            self._held -= size

    async def _read(self, receive: Receive) -> bytes:
        message = await _next(receive)
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            if len(body) > self._spec.body_limit:
                raise _Refused(replies.too_large(self._spec.body_limit))
            return body
        chunks = [body]
        size = len(body)
        while message.get("more_body", False):
            message = await _next(receive)
            chunk: bytes = message.get("body", b"")
            chunks.append(chunk)
            size += len(chunk)
            if size > self._spec.body_limit:
                raise _Refused(replies.too_large(self._spec.body_limit))
        return b"".join(chunks)

    async def _read_form(
        self, receive: Receive, parser: FormParser
    ) -> tuple[list[tuple[str, str | None, str, int]], bytes]:
        size = 0
        while True:
            message = await _next(receive)
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > self._spec.body_limit:
                raise _Refused(replies.too_large(self._spec.body_limit))
            parser.feed(chunk)
            if not message.get("more_body", False):
                if size == 0:
                    raise _Refused(replies.empty())
                return parser.finish()

    async def _send(self, send: Send, reply: Reply) -> None:
        headers = [
            (b"content-type", reply.content_type),
            (b"content-length", b"%d" % len(reply.body)),
            *self._headers,
            *reply.extra,
        ]
        if self.draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})


async def _next(receive: Receive) -> Message:
    message = await receive()
    if message["type"] != "http.request":
        raise CallerGone
    return message


def _query(text: bytes) -> dict[str, str]:
    if not text:
        return {}
    return dict(parse_qsl(text.decode("latin-1"), keep_blank_values=True))


def _boundary(headers: list[tuple[bytes, bytes]], limit: int) -> bytes | None:
    """The boundary of a form's content type, if it is one; judges Content-Length on the way."""
    found = None
    for name, value in headers:
        if name == b"content-type":
            if value[:10].lower() == b"multipart/":
                found = boundary_of(value)
        elif name == b"content-length" and int(value) > limit:
            raise _Refused(replies.too_large(limit))
    return found
