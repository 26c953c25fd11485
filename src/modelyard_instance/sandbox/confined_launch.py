"""The front's side of a confinement: launching a worker into it, telling when memory ended it.

::

    hand_over    gives a worker what it must own, whichever way it is started
    shut_in      for one that is started anew; a forked one enters by itself
                 (``prefork.fork_server``)
    MemoryWatch  for any
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from modelyard_instance.sandbox.confine import (
    Confinement,
    enter,
    oom_kills,
    out_of_memory,
    read_confinement,
)


def hand_over(folder: Path, work: Path, output: int) -> Confinement | None:
    """Give the user of the instance in ``folder`` what a worker of it must own.

    ``work``: its current folder, ``output``: its pipe for all it prints. Gives what the worker has
    to be shut in by, None for nothing. Raises ``OSError``.
    """
    try:
        plan = read_confinement(folder)
    except ValueError as error:
        raise OSError(str(error)) from error
    if plan is not None and plan.uid:
        os.chown(work, plan.uid, plan.uid)
        # So that it may open /dev/stdout, as loggers do.
        os.fchown(output, plan.uid, plan.uid)
    return plan


@contextmanager
def shut_in(plan: Confinement | None, work: Path) -> Iterator[Callable[[], None] | None]:
    """Launch a worker by ``plan`` within the block: a ``preexec_fn`` for it.

    ``work``: its current folder. In the new process itself and before the interpreter, because even
    the start of that runs code of the package's environment, and some limits cannot be set from
    outside. Only for a caller with a single thread. Raises ``OSError`` when the worker could not be
    shut in; it has not run then.
    """
    if plan is None:
        yield None
        return
    if plan.uid:
        import modelyard_instance.sandbox.mount_view  # noqa: F401  # rather here once than in each child
    why_read, why_write = os.pipe()

    def shut() -> None:
        try:
            enter(plan, work)
        except OSError as error:
            os.write(why_write, str(error).encode())
            raise

    try:
        yield shut
    except subprocess.SubprocessError as error:
        os.set_blocking(why_read, False)
        raise OSError(_word(why_read) or str(error)) from error
    finally:
        os.close(why_read)
        os.close(why_write)


def _word(descriptor: int) -> str:
    try:
        return os.read(descriptor, 4096).decode(errors="replace")
    except BlockingIOError:
        return ""


class MemoryWatch:
    """Notes the kernel's kills in the group of the instance in ``folder`` while a worker lives."""

    def __init__(self, folder: Path) -> None:
        try:
            self._plan = read_confinement(folder)
        except ValueError:
            # Nothing is launched then, and ``shut_in`` says so.
            self._plan = None
        self._before = oom_kills(self._plan) if self._plan else 0

    def cause(self, code: int) -> str:
        """That memory ended a worker with exit status ``code``; empty when something else did."""
        if self._plan is None or code != -signal.SIGKILL:
            return ""
        if oom_kills(self._plan) <= self._before:
            return ""
        return out_of_memory(self._plan.memory_mb)
