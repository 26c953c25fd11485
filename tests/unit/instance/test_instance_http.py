"""The front's HTTP: order, keep-alive, pieces, and what is no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from modelyard_instance import replies
from modelyard_instance.replies import Reply
from modelyard_instance.server.exchange import Exchange
from modelyard_instance.server.http import Connection, ConnectionSet

HEADERS = b"x-modelyard-instance: i-1\r\n"


class Echo:
    """Answers with the body; ``/later`` when told, ``/refused`` by its headers."""

    def __init__(self) -> None:
        self.kept: list[Exchange] = []
        self.under_way = 0
        self.gone = asyncio.Event()

    def arrived(self, exchange: Exchange) -> None:
        self.under_way += 1
        if exchange.path == "/refused":
            exchange.answer(replies.unknown_api(exchange.path))

    def body(self, exchange: Exchange, chunk: bytes) -> None:
        exchange.chunks.append(chunk)

    def complete(self, exchange: Exchange) -> None:
        if exchange.path == "/later":
            self.kept.append(exchange)
        elif exchange.path == "/pieces":
            exchange.begin(200, b"text/plain")
            for piece in (b"one", b"", b"two"):
                exchange.chunk(piece)
            exchange.end()
        else:
            exchange.answer(Reply(b"".join(exchange.chunks) + exchange.query))

    def finished(self, exchange: Exchange) -> None:
        self.under_way -= 1
        if not exchange.closing and self.under_way == 0:
            self.gone.set()


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Echo, ConnectionSet, int]]:
    echo = Echo()
    site = ConnectionSet(echo, HEADERS)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(site), "127.0.0.1", 0
    )
    try:
        yield echo, site, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        site.hang_up()


async def exchange(port: int, *sent: bytes) -> bytes:
    """All that comes back until the connection ends, for ``sent`` in pieces of their own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for one in sent:
        writer.write(one)
        await writer.drain()
        await asyncio.sleep(0)
    found = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return found


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{one}\r\n" for one in headers)
    start = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
    return start.encode() + body


CLOSE = "Connection: close"


async def test_an_answer_carries_the_instances_headers_and_its_length() -> None:
    async with served() as (_, _, port):
        found = await exchange(port, post("/?a=b", b"12", CLOSE))
    head, body = found.split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert HEADERS.strip() in head
    assert b"content-length: 5" in head
    assert b"connection: close" in head
    assert body == b"12a=b"


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with served() as (echo, _, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post("/later", b"first") + post("/refused", b"second") + post("/", b"third"))
        while not echo.kept:
            await asyncio.sleep(0.001)
        assert echo.under_way == 1
        echo.kept[0].answer_json(b"first")
        writer.write(post("/", b"fourth", CLOSE))
        found = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    answers = [one.partition(b"\r\n\r\n")[2] for one in found.split(b"HTTP/1.1 ")[1:]]
    assert answers[0] == b"first"
    assert b"/refused" in answers[1]
    assert answers[2:] == [b"third", b"fourth"]


async def test_a_request_in_pieces_is_one() -> None:
    chunked = (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        b"3\r\nabc\r\n",
        b"2\r\nde\r\n0\r\n\r\n",
    )
    whole = post("/", b"x" * 100_000, CLOSE)
    async with served() as (_, _, port):
        assert (await exchange(port, *chunked)).endswith(b"\r\n\r\nabcde")
        pieces = [whole[at : at + 30_000] for at in range(0, len(whole), 30_000)]
        assert (await exchange(port, *pieces)).endswith(b"x" * 100_000)


async def test_a_refused_body_is_swallowed_and_the_connection_goes_on() -> None:
    async with served() as (_, _, port):
        found = await exchange(
            port, post("/refused", b"z" * 10_000)[:-100], b"z" * 100, post("/", b"next", CLOSE)
        )
    assert found.startswith(b"HTTP/1.1 404")
    assert found.endswith(b"next")


async def test_old_and_careful_clients() -> None:
    async with served() as (_, _, port):
        found = await exchange(port, post("/", b"12", CLOSE, "Expect: 100-continue"))
        assert found.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
        old = await exchange(port, b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab")
        assert old.endswith(b"\r\n\r\nab")
        head = await exchange(port, b"HEAD /?abc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"content-length: 3" in head
        assert head.endswith(b"\r\n\r\n")
        absolute = await exchange(
            port, b"GET http://x/y?q=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        assert absolute.endswith(b"q=1")


async def test_what_is_no_http_is_told_and_ends_the_connection() -> None:
    async with served() as (echo, _, port):
        for sent in (
            b"\x16\x03\x01 hello\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n",
        ):
            found = await exchange(port, sent)
            assert found.startswith(b"HTTP/1.1 400"), sent
            assert found.count(b"HTTP/1.1") == 1
        assert echo.under_way == 0


async def test_an_answer_in_pieces() -> None:
    async with served() as (_, _, port):
        found = await exchange(port, post("/pieces", b"1", CLOSE))
    assert b"transfer-encoding: chunked" in found
    assert found.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_whoever_hangs_up_is_noticed_at_once() -> None:
    async with served() as (echo, site, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post("/later", b"1"))
        while not echo.kept:
            await asyncio.sleep(0.001)
        writer.close()
        await asyncio.wait_for(echo.gone.wait(), 10)
        assert echo.kept[0].done
        echo.kept[0].answer_json(b"into the void")
        assert not site.connections


async def test_the_end_waits_for_what_is_under_way() -> None:
    async with served() as (echo, site, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post("/later", b"1"))
        while not echo.kept or len(site.connections) < 2:
            await asyncio.sleep(0.001)
        site.hang_up()
        assert await idle_reader.read() == b""
        assert not site.closed.is_set()
        echo.kept[0].answer_json(b"done")
        assert (await reader.read()).endswith(b"done")
        await asyncio.wait_for(site.closed.wait(), 10)
        writer.close()
        idle_writer.close()
