"""The front's WebSockets: handshake, order, pieces, control frames, closing and draining."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, Protocol

from modelyard_instance import replies
from modelyard_instance.replies import Reply
from modelyard_instance.server import websocket
from modelyard_instance.server.connections import ConnectionSet
from modelyard_instance.server.exchange import Exchange
from modelyard_instance.server.http import Connection
from modelyard_instance.server.messages import Allowance

LIMIT = 1000
HEADERS = b"x-modelyard-model-version: 1.0\r\nx-modelyard-instance: i-1\r\n"


class Model:
    """Answers a message with itself in JSON; ``later`` when told, ``pieces`` in pieces."""

    def __init__(self) -> None:
        self.allowance = Allowance(LIMIT, 100 * LIMIT)
        self.kept: list[Exchange] = []
        self.seen: list[bytes] = []
        self.under_way = 0
        self.draining = False

    def upgrade(self, exchange: Exchange) -> Reply | None:
        assert exchange.method == b"POST"
        if self.draining:
            return replies.unavailable("The instance is being stopped.")
        return replies.unknown_api(exchange.path) if exchange.path != "/" else None

    def arrived(self, exchange: Exchange) -> None:
        self.under_way += 1

    def body(self, exchange: Exchange, chunk: bytes) -> None:
        exchange.chunks.append(chunk)

    def complete(self, exchange: Exchange) -> None:
        body = b"".join(exchange.chunks)
        self.seen.append(body)
        if body == b"later":
            self.kept.append(exchange)
        elif body == b"pieces":
            exchange.begin(200, b"application/x-ndjson")
            for piece in (b'{"n":1}\n', b'"\\n"\n'):
                exchange.chunk(piece)
            exchange.end()
        elif body == b"broken":
            exchange.begin(200, b"text/plain; charset=utf-8")
            exchange.chunk(b"one")
            exchange.end(whole=False, error=b'{"erno": "MR.0105"}')
        elif body == b"bytes":
            exchange.answer(Reply(b"\xff", 200, b"application/octet-stream"))
        else:
            told = {"got": body.decode("latin-1"), "query": exchange.query.decode()}
            exchange.answer_json(json.dumps(told).encode())

    def finished(self, exchange: Exchange) -> None:
        self.under_way -= 1


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Model, ConnectionSet, int]]:
    model = Model()
    site = ConnectionSet(model, HEADERS)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(site), "127.0.0.1", 0
    )
    try:
        yield model, site, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        site.hang_up()
        await asyncio.wait_for(site.closed.wait(), 10)
        assert model.under_way == 0
        assert model.allowance.held == 0


def client(port: int, path: str = "/") -> connect:
    return connect(f"ws://127.0.0.1:{port}{path}", compression="deflate", proxy=None)


async def ask(caller: ClientConnection, message: str | bytes) -> str | bytes:
    await caller.send(message)
    return await asyncio.wait_for(caller.recv(), 10)


async def got(caller: ClientConnection, message: str | bytes) -> object:
    return json.loads(await ask(caller, message))["got"]


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def ended(caller: ClientConnection) -> int | None:
    """The code that the connection is closed with."""
    with pytest.raises(ConnectionClosed):
        while True:
            await asyncio.wait_for(caller.recv(), 10)
    return caller.close_code


async def test_each_message_has_one_answer_in_order() -> None:
    async with served() as (_, site, port), client(port, "/?a=b") as caller:
        head = caller.response
        assert head is not None
        assert head.headers["x-modelyard-instance"] == "i-1"
        assert "sec-websocket-extensions" not in head.headers
        assert json.loads(await ask(caller, "one")) == {"got": "one", "query": "a=b"}
        assert await got(caller, b"\x00\xff") == "\x00\xff"
        for number in range(200):
            await caller.send(str(number))
        for number in range(200):
            assert json.loads(await asyncio.wait_for(caller.recv(), 10))["got"] == str(number)
        assert len(site.websockets) == 1
        pong = await caller.ping(b"beat")
        await asyncio.wait_for(pong, 10)


async def test_pieces_are_messages_and_an_empty_text_ends_them() -> None:
    async with served() as (_, _, port), client(port) as caller:
        await caller.send("pieces")
        assert [await caller.recv() for _ in range(3)] == ['{"n":1}', '"\\n"', ""]
        await caller.send("broken")
        assert [await caller.recv() for _ in range(3)] == ["one", '{"erno": "MR.0105"}', ""]
        assert await ask(caller, "bytes") == b"\xff"
        assert await got(caller, "next") == "next"


async def test_a_message_beyond_the_limit_is_refused_and_the_next_is_not() -> None:
    async with served() as (model, _, port), client(port) as caller:
        await caller.send([b"x" * 600, b"x" * 600, b"x" * 600])
        refused = json.loads(await asyncio.wait_for(caller.recv(), 10))
        assert refused["error_code"] == "ModelArts.4104"
        assert await got(caller, "y" * LIMIT) == "y" * LIMIT
        assert model.seen == [b"y" * LIMIT]


async def test_a_ping_is_answered_while_a_prediction_is_under_way() -> None:
    async with served() as (model, _, port), client(port) as caller:
        await caller.send("later")
        await caller.send("next")
        await until(lambda: model.kept)
        await asyncio.wait_for(await caller.ping(), 10)
        assert model.seen == [b"later"]
        model.kept[0].answer_json(b'"done"')
        assert await caller.recv() == '"done"'
        assert json.loads(await caller.recv())["got"] == "next"


async def test_a_drain_lets_the_answer_out_and_computes_nothing_more() -> None:
    async with served() as (model, site, port), client(port) as busy, client(port) as idle:
        assert await got(idle, "one") == "one"
        await busy.send("later")
        await busy.send("never")
        await until(lambda: model.kept)
        model.draining = True
        site.drain()
        assert await ended(idle) == 1001
        assert model.under_way == 1
        model.kept[0].answer_json(b'"done"')
        assert await busy.recv() == '"done"'
        assert await ended(busy) == 1001
        assert model.seen == [b"one", b"later"]
        with pytest.raises(InvalidStatus) as refused:
            await client(port)
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["x-modelyard-not-computed"] == "1"


async def test_who_does_not_answer_a_close_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "_FAREWELL_S", 0.05)
    async with served() as (_, site, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(handshake())
        await reader.readuntil(b"\r\n\r\n")
        site.drain()
        assert (await reader.readexactly(4))[:1] == b"\x88"
        await until(lambda: not site.websockets)
        writer.close()


async def test_a_caller_who_leaves_gives_its_prediction_up() -> None:
    async with served() as (model, site, port):
        for politely in (True, False):
            async with client(port) as caller:
                await caller.send("later")
                await until(lambda: model.kept)
                if politely:
                    await caller.close()
                else:
                    caller.transport.abort()
            await until(lambda: not site.websockets)
            exchange = model.kept.pop()
            assert exchange.done
            exchange.answer_json(b"1")


async def test_what_is_no_websocket_is_told_and_ended() -> None:
    async with served() as (_, site, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(handshake())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x83\x00")  # an opcode that nobody has, and no mask
        frame = await asyncio.wait_for(reader.read(), 10)
        assert frame[0] == 0x88
        assert int.from_bytes(frame[2:4], "big") == 1002
        writer.close()
        await until(lambda: not site.websockets)


def handshake(method: str = "GET", path: str = "/", *headers: str) -> bytes:
    lines = headers or ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
    start = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
    return (start + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode()


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (handshake("POST"), 405, "APIG.0101"),
        (handshake("GET", "/other"), 404, "ModelArts.4204"),
        (handshake("GET", "/", "Sec-WebSocket-Version: 13"), 400, "APIG.0201"),
        (handshake("GET", "/", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 8"), 426, None),
    ],
)
async def test_refused_handshakes(sent: bytes, status: int, code: str | None) -> None:
    async with served() as (_, _, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
        writer.close()
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in head
    if code is not None:
        assert json.loads(body)["error_code"] == code


async def test_no_more_are_opened_than_there_are_files_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "most_open", lambda: 1)
    async with served() as (_, _, port), client(port) as first:
        with pytest.raises(InvalidStatus) as refused:
            await client(port)
        assert refused.value.response.status_code == 503
        assert await got(first, "one") == "one"


FRAMES = st.lists(
    st.tuples(st.booleans(), st.lists(st.text("abü", max_size=4), min_size=1, max_size=3)),
    max_size=6,
)


@settings(max_examples=50, deadline=None)
@given(FRAMES, st.integers(1, 40))
def test_fragments_and_packets_may_fall_as_they_like(
    messages: list[tuple[bool, list[str]]], size: int
) -> None:
    asyncio.run(_talk(messages, size))


async def _talk(messages: list[tuple[bool, list[str]]], size: int) -> None:
    async with served() as (_, _, port):
        talk, reader, writer = await opened(port)
        for text, pieces in messages:
            for number, piece in enumerate(pieces, 1):
                data, last = piece.encode(), number == len(pieces)
                if number > 1:
                    talk.send_continuation(data, last)
                elif text:
                    talk.send_text(data, last)
                else:
                    talk.send_binary(data, last)
        stream = b"".join(talk.data_to_send())
        for at in range(0, len(stream), size):
            writer.write(stream[at : at + size])
            await asyncio.sleep(0)
        answers: list[str] = []
        while len(answers) < len(messages):
            answers += [bytes(one.data).decode() for one in await frames(talk, reader)]
        wanted = ["".join(pieces).encode().decode("latin-1") for _, pieces in messages]
        assert [json.loads(one)["got"] for one in answers] == wanted
        talk.send_close(1000)
        writer.write(b"".join(talk.data_to_send()))
        assert (await asyncio.wait_for(reader.read(), 10))[:1] == b"\x88"
        writer.close()


async def opened(port: int) -> tuple[Protocol, asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket whose frames are written by hand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(handshake())
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    return Protocol(CLIENT), reader, writer


async def frames(talk: Protocol, reader: asyncio.StreamReader) -> list[Frame]:
    talk.receive_data(await asyncio.wait_for(reader.read(65536), 10))
    return [one for one in talk.events_received() if isinstance(one, Frame)]


def masked(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


async def test_a_frame_beyond_the_limit_is_skipped_and_never_kept() -> None:
    async with served() as (model, _, port):
        talk, reader, writer = await opened(port)
        whole = masked(Opcode.TEXT, b"x" * 50 * LIMIT)
        for at in range(0, len(whole), 10_000):
            writer.write(whole[at : at + 10_000])
            await writer.drain()
            await asyncio.sleep(0)
            assert model.allowance.held == 0
        writer.write(masked(Opcode.TEXT, b"next"))
        found = await frames(talk, reader)
        while len(found) < 2:
            found += await frames(talk, reader)
        assert json.loads(found[0].data)["error_code"] == "ModelArts.4104"
        assert json.loads(found[1].data)["got"] == "next"
        assert model.seen == [b"next"]
        writer.close()


async def test_what_has_arrived_of_a_frame_takes_room_from_all() -> None:
    async with served() as (model, _, port):
        model.allowance.waiting = 900
        first, second = await opened(port), await opened(port)
        frame = masked(Opcode.BINARY, b"x" * 600)
        first[2].write(frame[:-100])
        await until(lambda: model.allowance.held == 500)
        second[2].write(frame[:-100])
        second[2].write(frame[-100:] + masked(Opcode.TEXT, b"next"))
        found = await frames(second[0], second[1])
        while len(found) < 2:
            found += await frames(second[0], second[1])
        assert json.loads(found[0].data)["error_code"] == "ModelArts.4302"
        assert json.loads(found[1].data)["got"] == "next"
        assert model.allowance.held == 500
        first[2].write(frame[-100:])
        (answer,) = await frames(first[0], first[1])
        assert json.loads(answer.data)["got"] == "x" * 600
        assert model.allowance.held == 0
        first[2].write(frame[:-100])
        await until(lambda: model.allowance.held == 500)
        first[2].close()
        await until(lambda: model.allowance.held == 0)
        second[2].close()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ([masked(Opcode.TEXT, b"\xff")], 1007),
        ([masked(Opcode.TEXT, b"\xc3", fin=False), masked(Opcode.CONT, b"x")], 1007),
        ([masked(Opcode.BINARY, b"a", fin=False), masked(Opcode.BINARY, b"b")], 1002),
        ([masked(Opcode.CONT, b"a")], 1002),
        ([Frame(Opcode.TEXT, b"a").serialize(mask=False)], 1002),
        ([masked(Opcode.CLOSE, b"\x03\xed")], 1002),
        ([masked(Opcode.TEXT, b"a", fin=False), masked(Opcode.CLOSE, b"\x03\xe9")], 1001),
        ([masked(Opcode.CLOSE, b"\x0f\xa0bye")], 4000),
    ],
)
async def test_a_connection_is_closed_with_the_code_of_the_standard(
    sent: list[bytes], code: int
) -> None:
    async with served() as (model, _, port):
        _, reader, writer = await opened(port)
        writer.write(b"".join(sent))
        frame = await asyncio.wait_for(reader.read(), 10)
        assert (frame[0], int.from_bytes(frame[2:4], "big")) == (0x88, code)
        assert model.seen == []
        writer.close()
