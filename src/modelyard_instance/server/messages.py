"""Messages of WebSockets: put together, and kept until it is their turn. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from modelyard_instance import replies
from modelyard_instance.replies import Reply

_MOST_WAITING = 64
_MOST_WAITING_BYTES = 1 << 20
_TEXTS = (b"application/json", b"application/x-ndjson", b"text/")


class Allowance:
    """What the messages of one instance may take up before they are given to the model.

    ``message``: bytes of one. ``waiting``: bytes of all that have not had their turn yet, those
    that are still arriving among them; ``held`` is what they are now.
    """

    def __init__(self, message: int, waiting: int) -> None:
        self.message = message
        self.waiting = waiting
        self.held = 0


@dataclass(frozen=True, slots=True)
class Message:
    """``refusal``: what it is answered instead of being computed; its body is empty then."""

    body: bytes
    refusal: Reply | None = None


class Inbox:
    """The messages of one connection, oldest first; one of them may be still arriving."""

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self._whole: deque[Message] = deque()
        self._waiting = 0
        # In one piece, since fragments may be empty and without end.
        self._arriving = bytearray()
        self._partial = 0
        self._refusal: Reply | None = None

    @property
    def full(self) -> bool:
        """Whether so much waits that nothing more should be read for now."""
        return len(self._whole) >= _MOST_WAITING or self._waiting >= _MOST_WAITING_BYTES

    def feed(self, data: bytes, *, last: bool) -> None:
        """The next piece of the message that is arriving; ``last``: it is whole now."""
        allowance = self.allowance
        if self._refusal is None:
            self._arriving += data
            allowance.held += len(data)
            if len(self._arriving) > allowance.message:
                self._refuse(replies.too_large(allowance.message))
            elif allowance.held > allowance.waiting:
                self._refuse(replies.no_room(allowance.waiting))
        if last:
            self._whole.append(Message(bytes(self._arriving), self._refusal))
            self._waiting += len(self._arriving)
            self._arriving, self._refusal = bytearray(), None

    def set_partial(self, size: int) -> bool:
        """Count ``size`` bytes of a frame that is not whole yet, instead of those counted before.

        False when there is no room for them: they are not counted, and the message is refused.
        """
        self.allowance.held += size - self._partial
        self._partial = size
        if size and self.allowance.held > self.allowance.waiting:
            self.set_partial(0)
            self.refuse(replies.no_room(self.allowance.waiting))
            return False
        return True

    def refuse(self, reply: Reply) -> None:
        """Answer the message that is arriving by ``reply``, unless it is refused already."""
        if self._refusal is None:
            self._refuse(reply)

    def pop(self) -> Message | None:
        """The oldest message that is whole, no longer counted here; None when there is none."""
        if not self._whole:
            return None
        message = self._whole.popleft()
        self._waiting -= len(message.body)
        self.allowance.held -= len(message.body)
        return message

    def clear(self) -> None:
        """Forget everything that has not had its turn."""
        self.set_partial(0)
        self.allowance.held -= self._waiting + len(self._arriving)
        self._whole.clear()
        self._arriving, self._waiting, self._refusal = bytearray(), 0, None

    def _refuse(self, reply: Reply) -> None:
        self.allowance.held -= len(self._arriving)
        self._arriving, self._refusal = bytearray(), reply


def payload(content_type: bytes, data: bytes) -> str | bytes:
    """What goes into a message for ``data``: text where it is one, else bytes."""
    if content_type.startswith(_TEXTS):
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data
    return data
