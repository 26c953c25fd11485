"""One check of a container: an HTTP exchange on loopback, or a command inside it."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from modelyard.domain.service.container_image import command_words
from modelyard.runtime.containers.container import EngineError
from modelyard.runtime.containers.engine import ContainerEngine
from modelyard.runtime.containers.probing import Check

_LONGEST_HEAD = 64 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Where a container answers on 127.0.0.1, and by what name the engine knows it."""

    name: str
    port: int
    tls: bool = False


async def ask(engine: ContainerEngine, target: Target, check: Check) -> str | None:
    """None when the check passed; else what was wrong."""
    try:
        async with asyncio.timeout(check.timeout_s):
            if check.command:
                return await _run(engine, target.name, check.command)
            status = await _status(target, check.url)
    except TimeoutError:
        return f"no answer within {check.timeout_s:g} s"
    except (OSError, asyncio.IncompleteReadError) as error:
        return str(error) or type(error).__name__
    if status is None:
        return "the answer is not HTTP"
    if check.any_answer or 200 <= status < 400:
        return None
    return f"status {status}"


async def _run(engine: ContainerEngine, name: str, command: str) -> str | None:
    try:
        code, output = await engine.execute(name, command_words(command))
    except EngineError as error:
        return str(error)
    return None if code == 0 else f"exit code {code} {output}".strip()


async def _status(target: Target, url: str) -> int | None:
    """The status of ``GET url``; None when something else than HTTP answers."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", target.port, ssl=_unverified() if target.tls else None
    )
    try:
        writer.write(
            f"GET {url} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n"
            "User-Agent: modelyard-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n".encode()
        )
        line = await reader.readline()
        if not line:
            raise ConnectionResetError("the connection was closed without an answer")
        words = line[:_LONGEST_HEAD].split()
        good = len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit()
        return int(words[1]) if good else None
    except ValueError:
        return None
    finally:
        writer.close()


def _unverified() -> ssl.SSLContext:
    """The container's certificate names nobody we could know; the way to it is this machine's."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
