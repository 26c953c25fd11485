"""WebSockets: each message is a prediction, answered by one message, in order (ours).

::

    text or bytes   the body of a POST to the url of the handshake
    its answer      a text for JSON and texts, else bytes; errors have their usual body, and the
                    connection stays open
    in pieces       a message for each piece, then an empty text
    1001            the instance ends: what has no answer yet was not computed, connect again

``websockets`` speaks the protocol (``websocket_frames``); nothing is compressed.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Mapping

from websockets.frames import CloseCode
from websockets.protocol import SEND_EOF, State
from websockets.utils import accept_key

from modelyard_instance import replies
from modelyard_instance.replies import Reply
from modelyard_instance.server.connections import ConnectionSet
from modelyard_instance.server.exchange import Exchange
from modelyard_instance.server.messages import Inbox, Message, payload
from modelyard_instance.server.websocket_frames import Frames

_FAREWELL_S = 1.0
"""How long the other side may take to answer our close before the connection is cut."""
_VERSION = b"13"
_LINES = b"application/x-ndjson"
_MESSAGE_HEADERS = {b"upgrade": b"websocket"}


def most_open() -> int:
    """How many WebSockets an instance may have at a time: half of the files it may open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2


def open_websocket(
    site: ConnectionSet, transport: asyncio.Transport, method: bytes, url: bytes, like: Exchange
) -> WebSocket | Reply:
    """Answer the handshake that came over ``transport`` to ``url``, or the refusal to be sent.

    ``like``: a request as the messages would be, with the handshake's headers.
    """
    if method != b"GET":
        return replies.wrong_method(method.decode(), frozenset(("GET",)))
    refusal = site.handler.upgrade(like)
    if refusal is not None:
        return refusal
    if len(site.websockets) >= most_open():
        return replies.unavailable(f"The instance has {len(site.websockets)} WebSockets already.")
    welcome = shake(like.headers, site.headers)
    if isinstance(welcome, Reply):
        return welcome
    transport.write(welcome)
    return WebSocket(site, transport, url)


def shake(headers: Mapping[bytes, bytes], added: list[tuple[bytes, bytes]]) -> bytes | Reply:
    """The answer that opens the WebSocket, with the headers ``added``; or a refusal. Pure.

    ``headers``: of the handshake, which is known to ask for a WebSocket (RFC 6455, section 4.2).
    """
    version = headers.get(b"sec-websocket-version")
    if version != _VERSION:
        return _no_handshake(
            "Sec-WebSocket-Version", 426 if version else 400, (b"Sec-WebSocket-Version", _VERSION)
        )
    key = headers.get(b"sec-websocket-key")
    if key is None:
        return _no_handshake("Sec-WebSocket-Key", 400)
    lines = [
        (b"upgrade", b"WebSocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-accept", accept_key(key.decode("latin-1")).encode()),
        *added,
    ]
    head = b"".join(b"%s: %s\r\n" % line for line in lines)
    return b"HTTP/1.1 101 Switching Protocols\r\n" + head + b"\r\n"


def _no_handshake(missing: str, status: int, *added: tuple[bytes, bytes]) -> Reply:
    message = f"No WebSocket handshake: Missing header, '{missing}'."
    return replies.refusal(status, "APIG.0201", message, *added)


class WebSocket(asyncio.Protocol):
    """One caller's WebSocket at ``url``, opened already; ``transport`` is handed over to it.

    It is never idle in the sense of ``ConnectionSet.close_idle``: how long it may be silent is for
    the gateway to say.
    """

    idle_since: float | None = None

    def __init__(self, site: ConnectionSet, transport: asyncio.Transport, url: bytes) -> None:
        self._site = site
        self._handler = site.handler
        self._transport = transport
        self._url = url
        self._inbox = Inbox(site.handler.allowance)
        self._frames = Frames(self._inbox)
        self._current: Exchange | None = None
        self._asking = False
        self._kind = b""
        self._blocked = False
        self._reading = True
        self._farewell: asyncio.TimerHandle | None = None
        transport.set_protocol(self)
        site.connections.add(self)
        site.websockets.add(self)

    # asyncio.Protocol ------------------------------------------------------------------------

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        if self._farewell is not None:
            self._farewell.cancel()
        self._site.websockets.discard(self)
        self._site.left(self)

    def pause_writing(self) -> None:
        self._flow(False)

    def resume_writing(self) -> None:
        self._flow(True)

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        self._frames.receive_data(data)
        if self._send():
            self._forget()
            self._transport.close()
        else:
            self._next()

    def _send(self) -> bool:
        """Write what the protocol has to say; whether it has nothing to say any more."""
        ended = False
        for data in self._frames.data_to_send():
            if data == SEND_EOF:
                ended = True
            else:
                self._transport.write(data)
        return ended

    # Line ------------------------------------------------------------------------------------

    def write(
        self,
        exchange: Exchange,
        status: int,
        content_type: bytes,
        body: bytes,
        extra: tuple[tuple[bytes, bytes], ...],
    ) -> None:
        """The whole answer to a message, as one."""
        self._say(payload(content_type, body))
        self._answered(exchange)

    def write_start(self, exchange: Exchange, status: int, content_type: bytes) -> None:
        """An answer in pieces begins; nothing tells so."""
        self._kind = content_type

    def write_chunk(self, exchange: Exchange, data: bytes) -> None:
        """One piece."""
        line = self._kind == _LINES
        self._say(payload(self._kind, data.removesuffix(b"\n") if line else data))

    def write_end(self, exchange: Exchange, whole: bool, error: bytes) -> None:
        """The end of an answer in pieces, behind the reason when it is not whole."""
        if not whole:
            self._say(payload(replies.JSON, error or replies.broken_off().body))
        self._say("")
        self._answered(exchange)

    def abort(self) -> None:
        """Cut the connection now."""
        self._transport.abort()

    # The end ---------------------------------------------------------------------------------

    def drain(self) -> None:
        """Close as soon as no prediction is under way: the instance ends."""
        if self._current is None:
            self.hang_up()

    def hang_up(self) -> None:
        """Close now, and cut the connection when nothing comes back."""
        if self._farewell is not None or self._frames.state is not State.OPEN:
            return
        self._frames.send_close(CloseCode.GOING_AWAY, "the instance is being stopped")
        self._send()
        self._forget()
        self._resume()
        loop = asyncio.get_running_loop()
        self._farewell = loop.call_later(_FAREWELL_S, self._transport.abort)

    def _forget(self) -> None:
        """Let go of everything that has no answer; nobody waits for it any more."""
        self._inbox.clear()
        exchange, self._current = self._current, None
        if exchange is not None and not exchange.done:
            exchange.done = True
            self._handler.finished(exchange)

    # The order of things ---------------------------------------------------------------------

    def _next(self) -> None:
        """Give the next message to the model when the one before has its answer."""
        while self._current is None and not self._asking and self._farewell is None:
            if self._site.draining:
                self.hang_up()
                return
            # Whoever does not take answers gets none computed.
            message = None if self._blocked else self._inbox.pop()
            if message is None:
                break
            self._asking = True
            try:
                self._ask(message)
            finally:
                self._asking = False
        self._resume()

    def _ask(self, message: Message) -> None:
        exchange = Exchange(self, b"POST", self._url, _MESSAGE_HEADERS, False)
        self._current = exchange
        self._handler.arrived(exchange)
        if message.refusal is not None:
            exchange.answer(message.refusal)
        if not exchange.done:
            self._handler.body(exchange, message.body)
        if not exchange.done:
            self._handler.complete(exchange)

    def _answered(self, exchange: Exchange) -> None:
        exchange.done = True
        self._current = None
        self._handler.finished(exchange)
        self._next()

    def _say(self, data: str | bytes) -> None:
        if self._frames.state is not State.OPEN or self._transport.is_closing():
            return
        if isinstance(data, str):
            self._frames.send_text(data.encode())
        else:
            self._frames.send_binary(data)
        self._send()

    # Flow ------------------------------------------------------------------------------------

    def _flow(self, more: bool) -> None:
        """The caller reads too slowly, or has caught up: pieces and pongs wait for it."""
        self._blocked = not more
        if self._current is not None and self._current.flow is not None:
            self._current.flow(more)
        self._next()

    def _resume(self) -> None:
        """Read as long as there is room for what comes."""
        reading = self._farewell is not None or not (self._blocked or self._inbox.full)
        if reading != self._reading and not self._transport.is_closing():
            self._reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()
