"""The frames between front and worker: two lengths, a JSON header, a raw body.

========================  ==============================================================
front to worker           ``{}`` or nothing: a JSON body; ``query``: ``{name: text}``;
                          ``parts``: ``[[field, filename | null, type, size], …]`` of a form
                          whose contents lie in the body one behind the other; ``hook``:
                          ``"batch"`` for the script's ``batch_inference``
worker to front, first    ``{"event": "ready"}`` or ``{"event": "failed", "message": …}``
worker to front, then     nothing: 200 and JSON; else ``status`` and ``type``
========================  ==============================================================

One request is under way at a time, so frames carry no number.
"""

from __future__ import annotations

import socket
import struct

_PREFIX = struct.Struct("!II")
PREFIX_SIZE = _PREFIX.size
_CHUNK = 1 << 18
_SMALL = 1 << 16


def prefix(header: bytes, body: bytes) -> bytes:
    """The eight bytes in front of a frame."""
    return _PREFIX.pack(len(header), len(body))


class FrameBuffer:
    """Cuts a stream of bytes into frames. Pure."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Add ``data``; returns the frames that are whole now, as ``(header, body)``."""
        if not self._held and len(data) >= PREFIX_SIZE:
            first, second = _PREFIX.unpack_from(data)
            if len(data) == PREFIX_SIZE + first + second:  # nearly always: one frame, all of it
                cut = PREFIX_SIZE + first
                return [(data[PREFIX_SIZE:cut], data[cut:])]
        held = self._held
        held += data
        frames = []
        while len(held) >= PREFIX_SIZE:
            first, second = _PREFIX.unpack_from(held)
            cut, end = PREFIX_SIZE + first, PREFIX_SIZE + first + second
            if len(held) < end:
                break
            frames.append((bytes(held[PREFIX_SIZE:cut]), bytes(held[cut:end])))
            del held[:end]
        return frames


class Channel:
    """The worker's blocking end of the socket pair."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = FrameBuffer()
        self._ready: list[tuple[bytes, bytes]] = []

    def receive(self) -> tuple[bytes, bytes] | None:
        """The next frame; None when the front is gone."""
        while not self._ready:
            try:
                data = self._sock.recv(_CHUNK)
            except ConnectionError:
                return None
            if not data:
                return None
            self._ready = self._buffer.feed(data)
        return self._ready.pop(0)

    def send(self, header: bytes, body: bytes) -> None:
        """Send one frame. Raises ``OSError`` when the front is gone."""
        start = prefix(header, body) + header
        if len(body) < _SMALL:
            self._sock.sendall(start + body)
        else:
            self._sock.sendall(start)
            self._sock.sendall(body)
