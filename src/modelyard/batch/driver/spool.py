"""Results that are not delivered yet: files that only grow, cut back to the last checkpoint."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_FLUSH = 1 << 18


class Spool:
    """One growing file. ``length``: its bytes with what is not written yet.

    Opened at ``length`` of the last checkpoint: what a crash left behind it is cut off. Raises
    ``OSError``; ``ShortSpool`` where there is less than that.
    """

    def __init__(self, path: Path, length: int = 0) -> None:
        self.path = path
        self.length = length
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._descriptor).st_size < length:
            os.close(self._descriptor)
            raise ShortSpool(f"{path.name} is shorter than its checkpoint")
        os.ftruncate(self._descriptor, length)
        os.lseek(self._descriptor, length, os.SEEK_SET)

    def add(self, line: bytes) -> None:
        """Append; it is in the file at the latest after ``flush``."""
        self._pieces.append(line)
        self.length += len(line)
        self._waiting += len(line)
        if self._waiting >= _FLUSH:
            self.flush()

    def flush(self) -> None:
        """Write what waits; it survives the process, not yet a power cut.

        Where that fails the spool is of no use any more: nothing behind it may be kept.
        """
        content = memoryview(b"".join(self._pieces))
        self._pieces, self._waiting = [], 0
        try:
            while content:
                content = content[os.write(self._descriptor, content) :]
        except OSError:
            self.close()
            raise

    def sync(self) -> None:
        """Make what is written survive a power cut; for a thread."""
        if self._descriptor < 0:
            raise OSError(errno.EBADF, "the spool is closed", str(self.path))
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class ShortSpool(Exception):
    """A spool that lost what a checkpoint says it had."""
