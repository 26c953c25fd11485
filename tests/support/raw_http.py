"""HTTP as bytes: what no well-behaved client would send."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """``status`` 0: the connection was closed without an answer. Header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reached_an_instance(self) -> bool:
        return "x-modelyard-instance" in self.headers or "x-modelyard-model-version" in self.headers


def request(
    method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"{}"
) -> bytes:
    """A request with this very target, bytes beyond ASCII as Latin-1."""
    lines = [f"{method} {target} HTTP/1.1"]
    every = {"Host": "modelyard", "Content-Type": "application/json", **(headers or {})}
    lines += [f"{name}: {value}" for name, value in every.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def exchange(address: str, sent: bytes, most: int = 100) -> list[RawAnswer]:
    """Send bytes on a fresh connection; gives the answers until it closes or falls silent.

    ``most``: do not wait for more than so many.
    """
    parts = urlsplit(address)
    received = bytearray()
    with socket.create_connection((parts.hostname, parts.port), _LIMIT_S) as connection:
        connection.settimeout(_LIMIT_S)
        connection.sendall(sent)
        answers: list[RawAnswer] = []
        while len(answers) < most:
            try:
                data = connection.recv(65536)
            except (TimeoutError, ConnectionResetError):
                break
            received += data
            while (answer := _take(received)) is not None:
                answers.append(answer)
                # Further answers come at once or not at all.
                connection.settimeout(0.5)
            if not data:
                break
    return answers


def send(address: str, sent: bytes) -> RawAnswer:
    """The first answer to these bytes."""
    answers = exchange(address, sent, most=1)
    return answers[0] if answers else RawAnswer(0, {}, b"")


def _take(received: bytearray) -> RawAnswer | None:
    """Cut the first whole answer off ``received``."""
    head, mark, rest = bytes(received).partition(b"\r\n\r\n")
    if not mark:
        return None
    lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines[1:])
    }
    if headers.get("transfer-encoding") == "chunked":
        body, length = b"", 0
        while True:
            size, mark, _ = rest[length:].partition(b"\r\n")
            if not mark:
                return None
            count = int(size, 16)
            start = length + len(size) + 2
            if len(rest) < start + count + 2:
                return None
            body += rest[start : start + count]
            length = start + count + 2
            if not count:
                break
    else:
        length = int(headers.get("content-length", "0"))
        body = rest[:length]
        if len(rest) < length:
            return None
    del received[: len(head) + 4 + length]
    return RawAnswer(int(lines[0].split()[1]), headers, body)
