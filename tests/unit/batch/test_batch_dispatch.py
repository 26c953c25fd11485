"""What an instance's answers mean: again, again alone, or the result (§2.6, lessons.md #37).

The instances are servers that follow a script; time is what the event loop takes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from modelyard.batch.dispatch import dispatcher as dispatch
from modelyard.batch.dispatch import http_client
from modelyard.batch.dispatch.dispatcher import TIMED_OUT, Dispatcher
from modelyard.batch.dispatch.endpoint import MOST_LINES
from modelyard.batch.dispatch.work import Work
from modelyard.domain.batch.run import Address, RunSpec

DEADLINE_S = 20
HANG, HANG_UP = "hang", "hang up"
Reply = tuple[int, bytes, str] | str


def spec(**more: object) -> RunSpec:
    base = RunSpec(*["x"] * 4, "obs://in/", "obs://out/", "csv")
    return RunSpec(**{name: getattr(base, name) for name in base.__slots__} | more)  # type: ignore[arg-type]


class Script:
    """An instance that answers by ``reply(body, how often it has seen it)``.

    ``seen``: bodies in the order of their arrival; ``together``: how many were there at once;
    ``connections``: how many have been opened.
    """

    def __init__(self, reply: Callable[[bytes, int], Reply]) -> None:
        self.seen: list[bytes] = []
        self.present: list[bytes] = []
        self.together: dict[bytes, int] = {}
        self.connections = 0
        self._reply = reply
        self.writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1:")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(length)
                self.seen.append(body)
                self.present.append(body)
                self.together[body] = len(self.present)
                reply = self._reply(body, self.seen.count(body))
                if reply == HANG:
                    await asyncio.sleep(DEADLINE_S)
                if isinstance(reply, str):
                    # As an instance that dies: everything it has is lost.
                    self.present.clear()
                    for one in self.writers:
                        one.transport.abort()
                    return
                await asyncio.sleep(0.001)
                if writer.is_closing():
                    return
                self.present.remove(body)
                status, content, extra = reply
                writer.write(
                    f"HTTP/1.1 {status} X\r\n{extra}content-length: {len(content)}\r\n\r\n".encode()
                    + content
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.writers.discard(writer)


class Answers:
    """A sink. ``done``: status and body by request."""

    def __init__(self, expected: int) -> None:
        self.found: dict[bytes, tuple[int, bytes]] = {}
        self._expected = expected
        self._whole = asyncio.Event()
        self.sent: dict[Work, bytes] = {}

    def done(self, work: Work, status: int, body: bytes) -> None:
        key = self.sent[work]
        assert key not in self.found, "answered twice"
        self.found[key] = (status, body)
        if len(self.found) == self._expected:
            self._whole.set()

    async def all(self) -> dict[bytes, tuple[int, bytes]]:
        await asyncio.wait_for(self._whole.wait(), DEADLINE_S)
        return self.found


@asynccontextmanager
async def asked(
    bodies: Sequence[bytes], *scripts: Script, **more: object
) -> AsyncIterator[tuple[Dispatcher, Answers]]:
    """A dispatcher that has been given these requests for these instances."""
    servers = [await asyncio.start_server(one.serve, "127.0.0.1", 0) for one in scripts]
    dispatcher = Dispatcher(spec(path="/predict", **more))
    answers = Answers(len(bodies))
    works = [Work(answers, "application/json", body) for body in bodies]
    answers.sent = dict(zip(works, bodies, strict=True))
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    dispatcher.use([Address(f"i{port}", "127.0.0.1", port) for port in ports])
    dispatcher.put(works)
    try:
        yield dispatcher, answers
    finally:
        await dispatcher.close()
        for server, script in zip(servers, scripts, strict=True):
            server.close()
            for writer in list(script.writers):
                writer.transport.abort()


def ok(body: bytes, _: int) -> Reply:
    return 200, b"ok " + body, ""


def numbered(count: int) -> list[bytes]:
    return [b"%d" % n for n in range(count)]


async def test_all_is_answered_once_by_whoever_has_room() -> None:
    bodies, scripts = numbered(500), [Script(ok), Script(ok)]
    async with asked(bodies, *scripts) as (_, answers):
        assert await answers.all() == {body: (200, b"ok " + body) for body in bodies}
    assert sorted(scripts[0].seen + scripts[1].seen) == sorted(bodies)
    assert min(len(one.seen) for one in scripts) > 50


async def test_a_thousand_rows_need_no_more_connections_than_may_be_under_way() -> None:
    script = Script(ok)
    async with asked(numbered(1000), script) as (_, answers):
        assert len(await answers.all()) == 1000
    assert script.connections <= MOST_LINES


async def test_a_connection_that_its_server_ends_is_not_used_again() -> None:
    script = Script(lambda body, _: (200, b"ok", "connection: close\r\n"))
    async with asked(numbered(20), script, attempts=1) as (_, answers):
        assert {status for status, _ in (await answers.all()).values()} == {200}
    assert script.connections >= 20


async def test_what_was_never_computed_goes_again_without_end() -> None:
    refusal = 503, b"{}", "x-modelyard-not-computed: 1\r\n"
    script = Script(lambda body, times: refusal if times < 8 else ok(body, times))
    async with asked(numbered(3), script, attempts=1) as (_, answers):
        assert {status for status, _ in (await answers.all()).values()} == {200}


async def test_too_many_requests_pass() -> None:
    script = Script(lambda body, times: (429, b"", "") if times < 4 else ok(body, times))
    async with asked(numbered(5), script) as (_, answers):
        assert {status for status, _ in (await answers.all()).values()} == {200}


async def test_a_lasting_refusal_of_the_models_own_is_the_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "_REFUSALS_PER_ATTEMPT", 2)
    script = Script(lambda body, _: (503, b"never", "") if body == b"1" else ok(body, 1))
    async with asked(numbered(3), script, attempts=2) as (_, answers):
        assert (await answers.all())[b"1"] == (503, b"never")
    assert script.seen.count(b"1") == 4


async def test_the_models_errors_are_results() -> None:
    replies = {b"0": 400, b"1": 404, b"2": 500, b"3": 504, b"4": 201}
    script = Script(lambda body, _: (replies[body], b"no", ""))
    async with asked(list(replies), script) as (_, answers):
        assert await answers.all() == {body: (status, b"no") for body, status in replies.items()}
    assert len(script.seen) == len(replies)


async def test_who_kills_the_instance_fails_alone() -> None:
    """Those that were under way with it are lost once, then each is sent by itself."""
    script = Script(lambda body, times: HANG_UP if body == b"50" else ok(body, times))
    bodies = numbered(100)
    async with asked(bodies, script, attempts=3) as (_, answers):
        found = await answers.all()
    assert found[b"50"] == (0, b"The connection to the instance was lost 3 times.")
    assert [body for body, (status, _) in found.items() if status != 200] == [b"50"]
    assert script.seen.count(b"50") == 3
    assert max(script.seen.count(body) for body in bodies if body != b"50") <= 2
    assert script.together[b"50"] == 1


async def test_an_answer_may_end_with_its_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        answer = b'{"ok": %b}' % body
        seen[body] += 1
        # The first time it is killed in the middle, which nothing but the answer itself shows.
        writer.write(b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\n")
        writer.write(answer[:-3] if seen[body] == 1 else answer)
        writer.close()

    seen: Counter[bytes] = Counter()
    async with asked(numbered(5)) as (dispatcher, answers):
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        dispatcher.use([Address("old", "127.0.0.1", server.sockets[0].getsockname()[1])])
        assert await answers.all() == {body: (200, b'{"ok": %b}' % body) for body in numbered(5)}
        server.close()
    assert set(seen.values()) == {2}


async def test_an_answer_without_an_end_fails_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "MOST_ANSWER", 100_000)
    endless = 200, b"x" * 300_000, ""
    script = Script(lambda body, times: endless if body == b"1" else ok(body, times))
    async with asked(numbered(4), script) as (_, answers):
        found = await answers.all()
    status, body = found.pop(b"1")
    assert status == 500
    assert b"The answer is larger than" in body
    assert {status for status, _ in found.values()} == {200}
    assert script.seen.count(b"1") == 1


async def test_a_dead_worker_is_a_loss_too() -> None:
    lost = 500, b'{"error_code":"ModelArts.4302","error_msg":"died"}', ""
    script = Script(lambda body, times: lost if body == b"1" or times < 2 else ok(body, times))
    async with asked(numbered(4), script, attempts=2) as (_, answers):
        found = await answers.all()
    assert found[b"1"] == (500, lost[1])
    assert sorted(found) == sorted(numbered(4))
    assert [status for status, _ in found.values()].count(200) == 3


async def look_until(dispatcher: Dispatcher, answers: Answers) -> dict[bytes, tuple[int, bytes]]:
    whole = asyncio.ensure_future(answers.all())
    while not whole.done():
        dispatcher.look()
        await asyncio.sleep(0.01)
    return await whole


async def test_an_instance_that_hangs_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_GRACE_S", 0.1)
    script = Script(lambda body, times: HANG if body == b"1" else ok(body, times))
    async with asked(numbered(3), script, attempts=2, request_timeout_s=0.1) as (one, answers):
        found = await look_until(one, answers)
    assert found[b"1"] == (0, TIMED_OUT)
    assert found[b"0"][0] == found[b"2"][0] == 200


async def test_who_leaves_the_list_gets_nothing_new() -> None:
    leaving, staying = Script(ok), Script(ok)
    async with asked([], leaving, staying) as (dispatcher, _):
        stays = list(dispatcher._endpoints)[1:]
        dispatcher.use(stays)
        assert dispatcher.instances == 1
        answers = Answers(50)
        works = [Work(answers, "application/json", body) for body in numbered(50)]
        answers.sent = dict(zip(works, numbered(50), strict=True))
        dispatcher.put(works)
        await answers.all()
    assert (len(leaving.seen), len(staying.seen)) == (0, 50)


async def test_who_hangs_when_it_leaves_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_GRACE_S", 0.1)
    script = Script(lambda body, _: HANG)
    async with asked(numbered(1), script, attempts=1, request_timeout_s=0.1) as (one, answers):
        while not script.seen:
            await asyncio.sleep(0.001)
        one.use([])
        assert await look_until(one, answers) == {b"0": (0, TIMED_OUT)}


async def test_nobody_is_there_yet() -> None:
    async with asked(numbered(3)) as (dispatcher, answers):
        script = Script(ok)
        server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        dispatcher.use([Address("late", "127.0.0.1", port)])
        assert len(await answers.all()) == 3
        server.close()
        for writer in list(script.writers):
            writer.transport.abort()
