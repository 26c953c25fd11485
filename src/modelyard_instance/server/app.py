"""The front's answers: what it says itself, and what it gives to a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

import orjson

from modelyard_instance import replies
from modelyard_instance.headers import Part, RequestHeader
from modelyard_instance.inference.hooks import BATCH, BATCH_URL
from modelyard_instance.inference.openinference import Target, error, target_of
from modelyard_instance.pool.supervisor import Supervisor
from modelyard_instance.replies import Reply
from modelyard_instance.server.exchange import Exchange
from modelyard_instance.server.forms import BadForm, FormParser, boundary_of
from modelyard_instance.server.messages import Allowance
from modelyard_instance.spec import Spec
from modelyard_instance.state import DRAINING, FAILED, READY
from modelyard_instance.worker.apis import normal_url

_LEAST_HELD = 64 * 1024 * 1024
_EVENTS = b"text/event-stream"
_POST_ONLY = frozenset((b"POST",))


class App:
    """Answers ``GET /health`` itself and gives everything else to a worker (``http.Handler``).

    Where the package declares an api of that url, only a request with ``x-modelyard-health: 1``
    asks for the front's.

    ``inflight``: requests between their first header and their last byte. ``last_end``: loop time
    at which the latest of them ended. A message of a WebSocket is a request from its turn to its
    answer; a WebSocket without one is not under way.
    """

    def __init__(
        self, spec: Spec, apis: Mapping[str, frozenset[str]], supervisor: Supervisor
    ) -> None:
        self.draining = False
        self.inflight = 0
        self.last_end = 0.0
        self._spec = spec
        self._apis = {url: frozenset(one.encode() for one in names) for url, names in apis.items()}
        self._supervisor = supervisor
        self._loop = asyncio.get_running_loop()
        self._held = 0
        self._most_held = max(_LEAST_HELD, 4 * spec.body_limit)
        self.allowance = Allowance(spec.body_limit, self._most_held)

    @property
    def phase(self) -> str:
        """What ``/health`` and ``state.json`` say."""
        phase = self._supervisor.phase
        return DRAINING if self.draining and phase != FAILED else phase

    def arrived(self, exchange: Exchange) -> None:
        """Judge a request by its headers."""
        if self._is_probe(exchange):
            return
        self.inflight += 1
        refusal = self._refusal(exchange)
        if refusal is not None:
            exchange.answer(refusal)
            return
        kind = exchange.headers.get(b"content-type")
        if kind is not None and kind[:10].lower() == b"multipart/":
            boundary = boundary_of(kind)
            if boundary is not None:
                self._parse(exchange, boundary)

    def upgrade(self, exchange: Exchange) -> Reply | None:
        """Why no WebSocket may be opened for requests like ``exchange``, if so."""
        if self.draining:
            return replies.unavailable("The instance is being stopped.")
        return self._refusal(exchange)

    def body(self, exchange: Exchange, chunk: bytes) -> None:
        """Keep a piece of the body, or cut it into a form's parts."""
        exchange.size += len(chunk)
        self._held += len(chunk)
        if exchange.size > self._spec.body_limit:
            exchange.answer(replies.too_large(self._spec.body_limit))
        elif exchange.form is None:
            exchange.chunks.append(chunk)
        else:
            try:
                exchange.form.feed(chunk)
            except BadForm as error:
                exchange.answer(replies.malformed(str(error)))

    def complete(self, exchange: Exchange) -> None:
        """Give a whole request to a worker."""
        if self._is_probe(exchange):
            exchange.answer(self._health())
            return
        if self.inflight > self._spec.queue_limit or self._held > self._most_held:
            exchange.answer(replies.overloaded(self._spec.queue_limit))
            return
        if exchange.size == 0 and exchange.method == b"POST":
            exchange.answer(replies.empty())
            return
        chunks = exchange.chunks
        parts = None
        if exchange.form is None:
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        else:
            try:
                parts, body = exchange.form.finish()
            except BadForm as error:
                exchange.answer(replies.malformed(str(error)))
                return
        exchange.form, exchange.chunks = None, []
        self._supervisor.submit(exchange, self._header(exchange, parts), body)

    def _header(self, exchange: Exchange, parts: Sequence[Part] | None) -> bytes:
        """What a worker must know beside the body."""
        accept = exchange.headers.get(b"accept", b"")
        events = _EVENTS in accept
        messages = b"upgrade" in exchange.headers
        tensors = exchange.target is not None
        hook = not tensors and self._is_batch_hook(exchange.path)
        if not (exchange.query or events or messages or tensors or hook or parts is not None):
            return b""
        return RequestHeader(
            query=_query(exchange.query) if exchange.query else {},
            accept=accept.decode("latin-1") if events else "",
            parts=parts,
            hook=BATCH if hook else "",
            v2=self._spec.model_version if tensors else None,
            messages=messages,
        ).encode()

    def finished(self, exchange: Exchange) -> None:
        """Note the end of a request."""
        if not self._is_probe(exchange):
            self.inflight -= 1
            self._held -= exchange.size
            self.last_end = self._loop.time()

    def _is_probe(self, exchange: Exchange) -> bool:
        return (
            exchange.path == "/health"
            and exchange.method == b"GET"
            and ("/health" not in self._apis or exchange.headers.get(b"x-modelyard-health") == b"1")
        )

    def _is_batch_hook(self, path: str) -> bool:
        apis = self._apis
        return path not in apis and BATCH_URL not in apis and normal_url(path) == BATCH_URL

    def _health(self) -> Reply:
        phase = self.phase
        content = {
            "instance_id": self._spec.instance_id,
            "status": phase,
            "inflight": self.inflight,
            "workers": self._supervisor.ready_workers,
            "message": self._supervisor.message,
            "losses": self._supervisor.losses,
            "last_loss": self._supervisor.last_loss,
        }
        return Reply(orjson.dumps(content), 200 if phase == READY else 503)

    def _refusal(self, exchange: Exchange) -> Reply | None:
        methods = self._apis.get(exchange.path) or self._apis.get(normal_url(exchange.path))
        if methods is None and self._is_batch_hook(exchange.path):
            # Only the worker knows whether the script has the hook (models.md §4.2).
            methods = _POST_ONLY
        if methods is None:
            exchange.target = target_of(exchange.path)
            if exchange.target is None:
                return replies.unknown_api(exchange.path)
            return self._tensors(exchange, exchange.target)
        if exchange.method not in methods:
            return replies.wrong_method(
                exchange.method.decode(), frozenset(one.decode() for one in methods)
            )
        if self._supervisor.phase != READY:
            return replies.unavailable(f"The model is not ready: {self._supervisor.message}.")
        length = exchange.headers.get(b"content-length")
        if length is not None and int(length) > self._spec.body_limit:
            return replies.too_large(self._spec.body_limit)
        return None

    def _tensors(self, exchange: Exchange, target: Target) -> Reply | None:
        """The front's own answer under ``/v2`` (openinference.py); None: it is the worker's."""
        spec, described = self._spec, self._supervisor.tensors
        ready = self.phase == READY
        if exchange.method != target.method:
            allowed = frozenset((target.method.decode(),))
            return replies.wrong_method(exchange.method.decode(), allowed)
        if target.what in ("server", "live", "ready"):
            told: dict[str, object] = {"name": "modelyard", "version": "2", "extensions": []}
            if target.what != "server":
                told = {target.what: ready or target.what == "live"}
            return Reply(orjson.dumps(told), 200 if ready or target.what != "ready" else 503)
        if not ready:
            return replies.unavailable(f"The model is not ready: {self._supervisor.message}.")
        known = target.name == spec.model_name and target.version in ("", spec.model_version)
        if described is None or not known:
            why = "speaks no tensors: it has a script of its own" if known else "is not served here"
            return Reply(error(f"model {target.name!r} {target.version} {why}"), 404)
        if target.what == "infer":
            return None
        if target.what == "model-ready":
            return Reply(orjson.dumps({"name": spec.model_name, "ready": True}))
        told = {"name": spec.model_name, "versions": [spec.model_version], **described}
        return Reply(orjson.dumps(told))

    def _parse(self, exchange: Exchange, boundary: bytes) -> None:
        try:
            exchange.form = FormParser(boundary)
        except BadForm as error:
            exchange.answer(replies.malformed(str(error)))


def _query(text: bytes) -> dict[str, str]:
    return dict(parse_qsl(text.decode("latin-1"), keep_blank_values=True))
