"""One worker process, as the front sees it: frames in and out, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable

from modelyard_instance.frames import FrameBuffer, prefix
from modelyard_instance.logs import LogPump, RotatingLog
from modelyard_instance.pool.launcher import Child, Launcher
from modelyard_instance.sandbox.confined_launch import MemoryWatch

_PARTING_S = 1.0
_CHUNK = 1 << 18

OnFrames = Callable[[list[tuple[bytes, bytes]]], None]


def describe_exit(code: int) -> str:
    """What an exit status says, in words. Pure."""
    if code >= 0:
        return f"it exited with status {code}"
    try:
        return f"it was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was killed by signal {-code}"


class _Frames(asyncio.Protocol):
    """The front's end of the socket pair."""

    def __init__(self, on_frames: OnFrames) -> None:
        self._on_frames = on_frames
        self._buffer = FrameBuffer()

    def data_received(self, data: bytes) -> None:
        if frames := self._buffer.feed(data):
            self._on_frames(frames)


class WorkerProcess:
    """A worker that has been started. ``ended`` is its cause of death, once it is dead."""

    def __init__(
        self,
        child: Child,
        socket_transport: asyncio.Transport,
        log_transport: asyncio.ReadTransport,
        frames: _Frames,
        memory: MemoryWatch,
    ) -> None:
        self._child = child
        self._socket = socket_transport
        self._log = log_transport
        self._frames = frames
        self._memory = memory
        self._loop = asyncio.get_running_loop()
        self.pid = child.pid
        self.ended: asyncio.Future[str] = self._loop.create_future()
        # A pidfd, because a worker's forgotten children may hold its socket open after its death.
        self._pidfd = child.pidfd()
        self._loop.add_reader(self._pidfd, self._reap)

    @classmethod
    async def start(
        cls, launcher: Launcher, log: RotatingLog, on_frames: OnFrames, number: int, cpu: float
    ) -> WorkerProcess:
        """Start worker ``number`` with ``cpu`` cores.

        Raises ``OSError`` when it cannot be made or shut in.
        """
        loop = asyncio.get_running_loop()
        memory = MemoryWatch(launcher.folder)
        ours, theirs = socket.socketpair()
        read_end, write_end = os.pipe()
        try:
            child = launcher.launch(number, theirs.fileno(), write_end, cpu)
        except BaseException:
            ours.close()
            os.close(read_end)
            raise
        finally:
            theirs.close()
            os.close(write_end)
        ours.setblocking(False)
        pipe = os.fdopen(read_end, "rb", 0)
        try:
            transport, frames = await loop.create_unix_connection(
                lambda: _Frames(on_frames), sock=ours
            )
            pump, _ = await loop.connect_read_pipe(lambda: LogPump(log), pipe)
            return cls(child, transport, pump, frames, memory)
        except BaseException:
            child.kill()
            raise

    def send(self, *frames: tuple[bytes, bytes]) -> None:
        """Send frames in one write: the worker finds all of them, and takes them as one batch."""
        self._socket.writelines(
            [piece for header, body in frames for piece in (prefix(header, body), header, body)]
        )

    def hear(self, more: bool) -> None:
        """Read the worker's answers, or let it wait with them."""
        if more:
            self._socket.resume_reading()
        else:
            self._socket.pause_reading()

    def kill(self) -> None:
        """End the worker and the processes of its group now."""
        self._child.kill()

    async def close(self) -> None:
        """Let the worker end by itself, briefly, then end it."""
        self._socket.close()
        await asyncio.wait([self.ended], timeout=_PARTING_S)
        if not self.ended.done():
            self.kill()
            await self.ended

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        # Before ``wait``: until then the leader is a zombie, and its group's number its own.
        self.kill()
        code = self._child.wait()
        self._last_words()
        self._socket.close()
        self.ended.set_result(self._memory.cause(code) or describe_exit(code))

    def _last_words(self) -> None:
        """Read the answers that the worker sent before it died; they may not have come yet."""
        kept = self._socket.get_extra_info("socket")
        if kept is None:  # its end has been read already
            return
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(kept.fileno())) as end:
            end.setblocking(False)
            while data := end.recv(_CHUNK):
                self._frames.data_received(data)
