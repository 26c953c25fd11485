"""Frames of one WebSocket: ``websockets``' Sans-I/O protocol, with bounds on what arrives.

The protocol of the library keeps a frame until it is whole and closes the connection when it is too
large. Here a frame without room is skipped, so that its message can be refused and the connection
goes on, and what has arrived of a frame counts in the instance's allowance.
"""

from __future__ import annotations

import codecs
from collections.abc import Generator

from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State
from websockets.streams import StreamReader

from modelyard_instance import replies
from modelyard_instance.server.messages import Inbox

_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
_DECODER = codecs.getincrementaldecoder("utf-8")
_CONTROL_FRAME_BYTES = 125


class _Reader(StreamReader):
    """Reads frames; the payload of one with more than ``most`` bytes is skipped as it arrives.

    ``skipped``: whether the latest read was, and has given no bytes.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = max(most, _CONTROL_FRAME_BYTES)
        self._missing = 0
        self.skipped = False

    def read_exact(self, n: int) -> Generator[None, None, bytearray]:
        """The next ``n`` bytes; none of them where they are skipped. Raises ``EOFError``."""
        self._missing, self.skipped = n, n > self._most
        while len(self.buffer) < self._missing:
            if self.skipped:
                self.skip()
            if self.eof:
                raise EOFError("the stream ends within a frame")
            yield
        found = bytearray() if self.skipped else self.buffer[: self._missing]
        del self.buffer[: self._missing]
        self._missing = 0
        return found

    @property
    def arrived(self) -> int:
        """How many bytes are kept of a message's frame that is not whole yet."""
        return len(self.buffer) if self._missing > _CONTROL_FRAME_BYTES else 0

    def skip(self) -> None:
        """Skip the frame that is arriving."""
        self.skipped = True
        self._missing -= len(self.buffer)
        self.buffer.clear()


class Frames(Protocol):
    """The server's side of an open WebSocket; whole and partial messages go into ``inbox``.

    ``data_to_send`` is to be called after each ``receive_data``.
    """

    def __init__(self, inbox: Inbox) -> None:
        super().__init__(SERVER, state=State.OPEN, max_size=None)
        self._inbox = inbox
        self._text: codecs.IncrementalDecoder | None = None
        self._reader = self.reader = _Reader(inbox.allowance.message)
        # The parser of the base class waits on the reader that was replaced.
        self.parser = self.parse()
        next(self.parser)

    def receive_data(self, data: bytes | bytearray) -> None:
        """Take ``data`` off the network; see the base class."""
        self._inbox.set_partial(0)
        super().receive_data(data)
        self.events.clear()
        if self.state is State.OPEN and not self._inbox.set_partial(self._reader.arrived):
            self._reader.skip()

    def recv_frame(self, frame: Frame) -> None:
        """Handle a whole frame. Raises ``UnicodeDecodeError`` and ``ProtocolError``."""
        if frame.opcode is Opcode.CLOSE:
            # Allowed also between the fragments of a message (RFC 6455, section 5.4).
            self.current_size = None
        super().recv_frame(frame)
        if frame.opcode not in _DATA:
            return
        data = bytes(frame.data)
        if self._reader.skipped:
            # The text of a refused message is not validated: parts of it are missing.
            self._text = None
            self._inbox.refuse(replies.too_large(self._inbox.allowance.message))
        elif frame.opcode is Opcode.TEXT and frame.fin:
            data.decode()
        else:
            if frame.opcode is not Opcode.CONT:
                self._text = _DECODER() if frame.opcode is Opcode.TEXT else None
            if self._text is not None:
                self._text.decode(data, frame.fin)
        if self.state is State.OPEN:
            self._inbox.feed(data, last=frame.fin)
