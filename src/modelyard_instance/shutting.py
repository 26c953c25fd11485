"""The front's side of a confinement: launching a worker into it, telling when memory ended it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from modelyard_instance.confine import Confinement, enter, oom_kills, out_of_memory
from modelyard_instance.spec import Spec


@dataclass(frozen=True, slots=True)
class Launch:
    """How a worker is launched. ``enter``: what its process does before it runs the interpreter."""

    enter: Callable[[], None] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def shut_in(confinement: Confinement | None, spec: Spec, output: int) -> Iterator[Launch]:
    """Launch a worker within the block, with ``output`` as its pipe for all it prints.

    In the new process itself and before the interpreter: even the start of that runs code of the
    package's environment, and some limits cannot be set from outside. Only for a caller with a
    single thread. Raises ``OSError`` when the worker could not be shut in; it has not run then.
    """
    if confinement is None:
        yield Launch()
        return
    why_read, why_write = os.pipe()
    try:
        if confinement.uid:
            # So that it may open /dev/stdout, as loggers do.
            os.fchown(output, confinement.uid, confinement.uid)
            import modelyard_instance.view  # noqa: F401  # rather here once than in each child

        def shut() -> None:
            try:
                enter(confinement)
            except OSError as error:
                os.write(why_write, str(error).encode())
                raise

        own = {"TMPDIR": "/tmp"} if confinement.uid and "TMPDIR" not in spec.envs else {}  # noqa: S108
        yield Launch(shut, own)
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


class OutOfMemory:
    """Notes the kernel's kills in the instance's group while one worker lives."""

    def __init__(self, confinement: Confinement | None) -> None:
        self._confinement = confinement
        self._before = oom_kills(confinement) if confinement else 0

    def cause(self, code: int) -> str:
        """That memory ended a worker with exit status ``code``; empty when something else did."""
        if self._confinement is None or code != -signal.SIGKILL:
            return ""
        if oom_kills(self._confinement) <= self._before:
            return ""
        return out_of_memory(self._confinement.memory_mb)
