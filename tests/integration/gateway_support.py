"""Parts for tests against a real Envoy: upstreams, tokens, raw requests, steady load."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from modelyard.domain.service.traffic import Endpoint, ServiceTraffic, VersionTraffic
from modelyard.gateway.publisher import EnvoyGateway
from modelyard.iam.claims import ISSUER
from modelyard.settings import Settings

PROJECT = "0" * 31 + "1"
OTHER_PROJECT = "0" * 31 + "2"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def gateway_settings(home: Path, **changes: Any) -> Settings:
    """Settings of a gateway in ``home`` on a free port, with one worker thread."""
    values: dict[str, Any] = {
        "home": home,
        "host": "127.0.0.1",
        "port": free_port(),
        "gateway_workers": 1,
        **changes,
    }
    settings = Settings(**values)
    settings.layout.prepare_home()
    return settings


def forget_sockets(settings: Settings) -> None:
    """Remove the folder of sockets, which lies outside the home when that has a long path."""
    shutil.rmtree(settings.layout.sockets_dir, ignore_errors=True)


async def eventually(
    condition: Callable[[], Any], timeout_s: float = 10.0, every_s: float = 0.02
) -> None:
    """Wait until ``condition`` (plain or async) holds; fails when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(every_s)


class TokenMaker:
    """Signs tokens as the platform does, and as an attacker would."""

    def __init__(self, kid: str = "key-1") -> None:
        self.kid = kid
        self.key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public_pem(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def jwk(self) -> dict[str, object]:
        return {
            **ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True),
            "kid": self.kid,
            "alg": "ES256",
            "use": "sig",
        }

    def jwks(self) -> dict[str, object]:
        return {"keys": [self.jwk()]}

    def claims(self, project_id: str | None = PROJECT, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "sub": "u" * 32,
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "jti": "t" * 32,
            "user": "dev",
            "domain": {"id": "d" * 32, "name": "acme"},
            "roles": ["admin"],
        }
        if project_id is not None:
            claims["project"] = {"id": project_id, "name": "local"}
        claims.update(changes)
        return {name: value for name, value in claims.items() if value is not None}

    def token(
        self, project_id: str | None = PROJECT, *, kid: str | None = None, **changes: Any
    ) -> str:
        return jwt.encode(
            self.claims(project_id, **changes),
            self.key,
            algorithm="ES256",
            headers={"kid": kid or self.kid},
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as an upstream got it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body_length: int


@dataclass(slots=True)
class Answer:
    """A response as a client got it; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json().get("error_code"))


async def _head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    raw = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = raw[:-4].split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return first, headers


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", ""):
        parts = []
        while size := int(await reader.readline(), 16):
            parts.append(await reader.readexactly(size))
            await reader.readline()
        await reader.readline()
        return b"".join(parts)
    return await reader.readexactly(int(headers.get("content-length", 0)))


class Upstream:
    """A small HTTP server that stands for an instance and says its name.

    ``delay_s`` is how long an answer takes, ``status`` what it is; ``not_computed``: answers 503
    to everything, marked as never given to the model.
    """

    def __init__(
        self, name: str, delay_s: float = 0.0, status: int = 200, not_computed: bool = False
    ) -> None:
        self.name = name
        self.delay_s = delay_s
        self.status = 503 if not_computed else status
        self.not_computed = not_computed
        self.seen: list[Seen] = []
        self.count = 0
        self.active = 0
        self._draining = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.endpoint = Endpoint(name, "127.0.0.1", 1)

    async def start(self, *, port: int = 0, unix: Path | None = None) -> Upstream:
        if unix is not None:
            self._server = await asyncio.start_unix_server(self._serve, unix, limit=1 << 20)
            return self
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1 << 20)
        port = self._server.sockets[0].getsockname()[1]
        self.endpoint = Endpoint(self.name, "127.0.0.1", port)
        return self

    async def drain(self) -> None:
        """As an instance told to stop: no new connection, finish what came, then close."""
        self._draining = True
        assert self._server is not None
        self._server.close()
        await eventually(lambda: self.active == 0, every_s=0.001)
        await self.stop()

    async def stop(self) -> None:
        """At once, cutting connections."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                first, headers = await _head(reader)
                self.active += 1
                try:
                    await self._answer(first, headers, reader, writer)
                finally:
                    self.active -= 1
                if self._draining:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(
        self,
        first: str,
        headers: dict[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        body = await _body(reader, headers)
        method, path, _ = first.split(" ")
        self.count += 1
        if len(self.seen) < 1000:
            self.seen.append(Seen(method, path, headers, len(body)))
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        content = json.dumps({"name": self.name, "path": path, "length": len(body)}).encode()
        more = b"connection: close\r\n" if self._draining else b""
        if self.not_computed:
            content = b'{"error_code": "ModelArts.4302", "error_msg": "The worker has ended."}'
            more += b"x-modelyard-not-computed: 1\r\n"
        writer.write(
            b"HTTP/1.1 %d OK\r\ncontent-type: application/json\r\nserver: upstream\r\n"
            b"x-upstream: %s\r\n%scontent-length: %d\r\n\r\n%s"
            % (self.status, self.name.encode(), more, len(content), content)
        )
        await writer.drain()


def request_bytes(
    path: str,
    *,
    token: str | None = None,
    method: str = "POST",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"{}",
    chunked: bool = False,
) -> bytes:
    """A request, byte for byte as given: nothing cleans the path."""
    lines = [f"{method} {path} HTTP/1.1", "host: modelyard"]
    if token is not None:
        lines.append(f"x-auth-token: {token}")
    lines += [f"{name}: {value}" for name, value in headers]
    if chunked:
        lines.append("transfer-encoding: chunked")
        size = 65536
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    else:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


async def exchange(port: int, request: bytes, timeout_s: float = 20.0) -> Answer:
    """Send bytes on a new connection and read one answer."""
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        sender = asyncio.create_task(_send(writer, request))
        try:
            first, headers = await _head(reader)
            status = int(first.split(" ")[1])
            if not request.startswith(b"HEAD ") and (
                "content-length" in headers or "transfer-encoding" in headers
            ):
                body = await _body(reader, headers)
            else:
                body = b""
            return Answer(status, headers, body)
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await sender
            writer.close()


async def _send(writer: asyncio.StreamWriter, request: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        writer.write(request)
        await writer.drain()


async def call(settings: Settings, path: str, **options: Any) -> Answer:
    """One request through the gateway; ``options`` as of ``request_bytes``."""
    return await exchange(settings.gateway.port, request_bytes(path, **options))


@dataclass
class Load:
    """Steady requests over keep-alive connections, each outcome counted.

    ``failures`` holds what was neither 200 nor expected, with the second it happened.
    """

    settings: Settings
    request: bytes
    connections: int = 8
    pause_s: float = 0.01
    by_upstream: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[float, str]] = field(default_factory=list)
    total: int = 0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _stopping: bool = False

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._run()) for _ in range(self.connections)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def more(self, requests: int) -> None:
        """Wait until so many more requests have been made."""
        goal = self.total + requests
        await eventually(lambda: self.total >= goal, timeout_s=60)

    async def _run(self) -> None:
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        where = ""
        while not self._stopping:
            try:
                if writer is None or reader is None:
                    where = "on a new connection: "
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1", self.settings.gateway.port
                    )
                writer.write(self.request)
                first, headers = await _head(reader)
                body = await _body(reader, headers)
                where = ""
                if " 200 " in first:
                    self.by_upstream[headers.get("x-upstream", "?")] += 1
                else:
                    self.failures.append((time.monotonic(), f"{first} {body!r} {headers}"))
                if headers.get("connection") == "close":
                    writer.close()
                    writer = None
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failures.append((time.monotonic(), f"{where}{error!r}"))
                if writer is not None:
                    writer.close()
                writer = None
            self.total += 1
            await asyncio.sleep(self.pause_s)
        if writer is not None:
            writer.close()


def version(model_id: str, weight: int, *upstreams: Upstream) -> VersionTraffic:
    """A version whose instances are ``upstreams``."""
    return VersionTraffic(
        model_id, f"model-{model_id}", "1.0.0", weight, tuple(one.endpoint for one in upstreams)
    )


def service(
    service_id: str, *versions: VersionTraffic, revision: int = 1, **changes: Any
) -> ServiceTraffic:
    """A serving service of ``PROJECT``."""
    values: dict[str, Any] = {"project_id": PROJECT, "serving": True, **changes}
    return ServiceTraffic(service_id=service_id, revision=revision, versions=versions, **values)


@asynccontextmanager
async def running_gateway(
    settings: Settings, jwks: dict[str, object], traffics: Iterable[ServiceTraffic] = ()
) -> AsyncIterator[EnvoyGateway]:
    """A started gateway, ended together with its Envoy."""
    gateway = EnvoyGateway(settings.gateway, settings.predictions, settings.layout, jwks)
    gateway.load(traffics)
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.shutdown(drain_s=0)


@asynccontextmanager
async def upstreams(*names: str, **options: Any) -> AsyncIterator[list[Upstream]]:
    """Started upstreams, stopped at the end."""
    servers = [await Upstream(name, **options).start() for name in names]
    try:
        yield servers
    finally:
        for server in servers:
            await server.stop()


@dataclass(frozen=True, slots=True)
class World:
    """A gateway with a stand-in for the control plane behind it."""

    settings: Settings
    tokens: TokenMaker
    api: Upstream
    gateway: EnvoyGateway

    async def call(self, path: str, **options: Any) -> Answer:
        """One request; with a good token unless ``token`` says otherwise."""
        options.setdefault("token", self.tokens.token())
        return await call(self.settings, path, **options)

    async def predict(self, service_id: str, **options: Any) -> Answer:
        return await self.call(f"/v1/infers/{service_id}", **options)

    def load(self, service_id: str, **options: Any) -> Load:
        """Steady predictions of a service, for ``async with``."""
        request = request_bytes(f"/v1/infers/{service_id}", token=self.tokens.token())
        return Load(self.settings, request, **options)


@asynccontextmanager
async def world(
    home: Path, traffics: Iterable[ServiceTraffic] = (), **changes: Any
) -> AsyncIterator[World]:
    """A running gateway in ``home`` that serves ``traffics``; ``changes`` are settings."""
    settings = gateway_settings(home, **changes)
    tokens = TokenMaker()
    api = await Upstream("api").start(unix=settings.layout.api_socket)
    try:
        async with running_gateway(settings, tokens.jwks(), traffics) as gateway:
            yield World(settings, tokens, api, gateway)
    finally:
        await api.stop()
        forget_sockets(settings)
