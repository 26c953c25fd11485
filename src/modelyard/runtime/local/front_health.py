"""Asking an instance's front how it is: one short HTTP exchange on loopback."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

_LONGEST_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Health:
    """What ``GET /health`` said. ``status``: a phase in the front's words.

    ``losses`` and ``last_loss``: as in ``InstanceReport``.
    """

    instance_id: str
    status: str
    message: str
    losses: int = 0
    last_loss: str = ""


async def ask(host: str, port: int, timeout_s: float) -> Health | None:
    """The front's answer; None when there is none in time, or none that makes sense."""
    try:
        async with asyncio.timeout(timeout_s):
            return parse(await _exchange(host, port))
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return None


async def _exchange(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        # The header tells the front's health from an api of the package that has the same url.
        writer.write(
            f"GET /health HTTP/1.1\r\nHost: {host}\r\n"
            "X-Modelyard-Health: 1\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b""
        while len(answer) < _LONGEST_ANSWER and (data := await reader.read(_LONGEST_ANSWER)):
            answer += data
        return answer
    finally:
        writer.close()


def parse(answer: bytes) -> Health | None:
    """The health in an HTTP answer. Pure."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        return None
    try:
        content = json.loads(body)
        return Health(
            str(content["instance_id"]),
            str(content["status"]),
            str(content.get("message", "")),
            int(content.get("losses", 0)),
            str(content.get("last_loss", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
