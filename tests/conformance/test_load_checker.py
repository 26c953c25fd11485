"""The load checker itself: it must see every failure, or it proves nothing."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from loadrun import LoadRun, Summary

Answer = Callable[[int], bytes | None]


def answer(version: str, status: str = "200 OK", body: bytes = b"{}", more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nx-modelyard-model-version: {version}\r\nx-modelyard-revision: 7\r\n"
        f"content-length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode() + body


@asynccontextmanager
async def serving(make: Answer) -> AsyncIterator[str]:
    """A server whose n-th answer is ``make(n)``; None hangs up instead."""
    numbers = itertools.count()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                said = make(next(numbers))
                if said is None:
                    break
                writer.write(said)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/v1/infers/x?q=1"


async def load(
    url: str, folder: Path, *, rate: float, seconds: float, timeout: float = 5
) -> Summary:
    def run() -> Summary:
        with LoadRun(
            url, folder=folder, rate=rate, seconds=seconds, connections=4, timeout=timeout
        ) as running:
            return running.finish(60)

    return await asyncio.to_thread(run)


async def test_counts_versions_and_keeps_the_rate(tmp_path: Path) -> None:
    async with serving(lambda n: answer("1.0.0" if n % 10 < 7 else "2.0.0")) as url:
        summary = await load(url, tmp_path, rate=300, seconds=2)
    assert summary.failed_count == 0
    assert summary.ok == summary.sent
    assert 400 <= summary.sent <= 620
    assert abs(summary.share("1.0.0") - 70) < 1
    assert summary.revisions == {"7": summary.ok}
    assert 0 < summary.p50_ms <= summary.p99_ms <= summary.max_ms


async def test_sees_bad_statuses_hang_ups_and_silence(tmp_path: Path) -> None:
    def make(n: int) -> bytes | None:
        if n == 20:
            return answer("1.0.0", "503 Service Unavailable", b'{"error_code":"ModelArts.4302"}')
        if n == 40:
            return None
        if n == 60:
            return b""
        return answer("1.0.0")

    async with serving(make) as url:
        summary = await load(url, tmp_path, rate=200, seconds=3, timeout=1)
    assert summary.failed_count == 3
    errors = " | ".join(str(failure["error"]) for failure in summary.failed)
    assert "ModelArts.4302" in errors
    assert "connection lost" in errors
    assert "no answer within 1 s" in errors


async def test_honours_connection_close_and_chunks(tmp_path: Path) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"

    def make(n: int) -> bytes:
        return answer("1.0.0", more="connection: close\r\n") if n % 5 == 0 else chunked

    async with serving(make) as url:
        summary = await load(url, tmp_path, rate=200, seconds=1)
    assert summary.failed_count == 0
    assert summary.ok > 100


async def test_a_refused_connection_is_a_failure(tmp_path: Path) -> None:
    async with serving(lambda _: answer("1")) as url:
        pass
    summary = await load(url, tmp_path, rate=50, seconds=1)
    assert summary.ok == 0
    assert summary.failed_count > 10
    assert "connect" in str(summary.failed[0]["error"])
