from __future__ import annotations

import socket
import threading

from hypothesis import given
from hypothesis import strategies as st

from modelyard_instance.frames import Channel, FrameBuffer, prefix

FRAMES = st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=200)), max_size=6)


@given(FRAMES, st.integers(1, 50))
def test_frames_survive_any_cutting(frames: list[tuple[bytes, bytes]], step: int) -> None:
    stream = b"".join(prefix(header, body) + header + body for header, body in frames)
    buffer = FrameBuffer()
    found = []
    for at in range(0, len(stream), step):
        found += buffer.feed(stream[at : at + step])
    assert found == frames


def test_large_frames_cross_a_channel() -> None:
    left, right = socket.socketpair()
    body = bytes(range(256)) * 20_000
    with left, right:
        sender = threading.Thread(target=Channel(left).send, args=(b"{}", body))
        sender.start()
        assert Channel(right).receive() == (b"{}", body)
        sender.join()


def test_a_closed_channel_gives_none() -> None:
    left, right = socket.socketpair()
    left.close()
    with right:
        assert Channel(right).receive() is None
