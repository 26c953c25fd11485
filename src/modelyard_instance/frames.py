"""The frames between front and worker: two lengths, a JSON header, a raw body.

=======================  ======================================================================
worker to front, first   a ``headers.Greeting``, without a body
front to worker          a ``headers.RequestHeader`` and the request's body, or
                         ``{"cancel": n}``: nobody waits for the n-th request any more
worker to front, then    a ``headers.ReplyHeader`` and the answer, or a piece of it
=======================  ======================================================================

Answers come in the order of the requests, so frames carry no number. More than one request may lie
in the socket: a worker of batch 1 takes them one after the other, another takes what has come while
it computed, at most ``n``, as one batch.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Sequence

_PREFIX = struct.Struct("!II")
PREFIX_SIZE = _PREFIX.size
_CHUNK = 1 << 18
_SMALL = 1 << 16
_CANCEL = b'{"cancel":'


def prefix(header: bytes, body: bytes) -> bytes:
    """The eight bytes in front of a frame."""
    return _PREFIX.pack(len(header), len(body))


def cancel(number: int) -> bytes:
    """The header that says that nobody waits for request ``number``, counted from 1. Pure."""
    return b"%b%d}" % (_CANCEL, number)


class FrameBuffer:
    """Cuts a stream of bytes into frames; what is large is put together once."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._need = 0

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Add ``data``; returns the frames that are whole now, as ``(header, body)``."""
        if self._chunks:
            self._chunks.append(data)
            self._size += len(data)
            if self._size < self._need:
                return []
            data = b"".join(self._chunks)
            self._chunks.clear()
        frames = []
        at, size = 0, len(data)
        need = PREFIX_SIZE
        while size - at >= PREFIX_SIZE:
            first, second = _PREFIX.unpack_from(data, at)
            need = PREFIX_SIZE + first + second
            if size - at < need:
                break
            start = at + PREFIX_SIZE
            frames.append((data[start : start + first], data[start + first : at + need]))
            at += need
            need = PREFIX_SIZE
        if at < size:
            self._chunks.append(data[at:] if at else data)
            self._size, self._need = size - at, need
        return frames


class Channel:
    """The worker's blocking end of the socket pair."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = FrameBuffer()
        self._ready: deque[tuple[bytes, bytes]] = deque()
        self._received = 0
        self._cancelled = 0

    def receive(self) -> tuple[bytes, bytes] | None:
        """The next frame; None when the front is gone."""
        if not self._ready and not self._wait():
            return None
        self._received += 1
        return self._ready.popleft()

    def receive_many(self, most: int) -> list[tuple[bytes, bytes]]:
        """The next frame and what else has come, at most ``most``; empty: the front is gone."""
        if not self._ready and not self._wait():
            return []
        ready = self._ready
        number = min(most, len(ready))
        self._received += number
        return [ready.popleft() for _ in range(number)]

    def cancelled(self) -> bool:
        """Whether nobody waits any more for the request received last. Does not block."""
        try:
            data = self._sock.recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        except ConnectionError:
            return True
        else:
            if not data:
                return True
            self._take(data)
        return self._cancelled >= self._received

    def _take(self, data: bytes) -> None:
        for frame in self._buffer.feed(data):
            if frame[0].startswith(_CANCEL):
                self._cancelled = int(frame[0][len(_CANCEL) : -1])
            else:
                self._ready.append(frame)

    def _wait(self) -> bool:
        while not self._ready:
            try:
                data = self._sock.recv(_CHUNK)
            except ConnectionError:
                return False
            if not data:
                return False
            self._take(data)
        return True

    def send(self, header: bytes, body: bytes) -> None:
        """Send one frame. Raises ``OSError`` when the front is gone."""
        start = prefix(header, body) + header
        if len(body) < _SMALL:
            self._sock.sendall(start + body)
        else:
            self._sock.sendall(start)
            self._sock.sendall(body)

    def send_many(self, frames: Sequence[tuple[bytes, bytes]]) -> None:
        """Send frames in order, in one piece. Raises ``OSError`` when the front is gone."""
        pieces: list[bytes] = []
        for header, body in frames:
            pieces += (prefix(header, body), header, body)
        self._sock.sendall(b"".join(pieces))
