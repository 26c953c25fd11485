"""What a forked process must put right before it is a process of its own.

A fork has its parent's random state, descriptors, signal handlers and environment. ``/proc`` shows
the environment that a process was started with, and the platform finds an instance's processes by
it, so the mark is written over the old one in place: ``PLACE`` keeps room for it.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from modelyard_instance.environment import MARK

LONGEST_ID = 128
PLACE = "-" * LONGEST_ID
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


def die_with(parent: int) -> None:
    """Be killed when ``parent`` ends, also while computing; at once when it has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def stay_visible() -> None:
    """Be the owner of one's own ``/proc/self`` after a change of user.

    A program that is started anew is; without, nothing could open ``/dev/stdout``.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def single_threaded() -> bool:
    """Whether this process has one thread, so that a fork of it is whole."""
    return len(list(Path("/proc/self/task").iterdir())) == 1


def threads() -> str:
    """The names of this process's threads."""
    return ", ".join(
        (one / "comm").read_text().strip() for one in Path("/proc/self/task").iterdir()
    )


def take_mark(instance_id: str) -> None:
    """Carry ``instance_id`` as the mark where ``/proc/<pid>/environ`` shows it.

    Raises ``OSError`` when there is no room for it; this process would never be found again.
    """
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    address = libc.getenv(MARK.encode())
    value = instance_id.encode()
    if not address or len(value) > len(ctypes.string_at(address)):
        raise OSError(f"no room for the mark {instance_id!r} in the environment")
    room = len(ctypes.string_at(address))
    ctypes.memmove(address, value + b"\0" * (room - len(value)), room)
    seen = Path("/proc/self/environ").read_bytes().split(b"\0")
    if f"{MARK}={instance_id}".encode() not in seen:
        raise OSError("the mark does not show in /proc")


read_early: set[str] = set()
"""The variables that somebody asked for while this process, or who forked it, imported."""

_set_early: set[str] = set()


@contextlib.contextmanager
def watched_environment() -> Iterator[None]:
    """Within the block, note which variables are read, also absent ones, and which are set.

    Only through ``os.environ``; what libraries read by themselves is in
    ``prefork.fork_server.too_late``.
    """
    kind = type(os.environ)

    class Watched(kind):  # type: ignore[misc, valid-type]
        def __getitem__(self, name: str) -> str:
            read_early.add(name)
            return str(super().__getitem__(name))

    before = dict(os.environ)
    os.environ.__class__ = Watched
    try:
        yield
    finally:
        os.environ.__class__ = kind
        _set_early.update(name for name, text in os.environ.items() if before.get(name) != text)


def set_environment(environment: Mapping[str, str]) -> None:
    """Have ``environment``, and what was set by what has been imported already.

    The mark stays where it lies, it is the same by now.
    """
    for name in list(os.environ):
        if name not in environment and name not in _set_early:
            del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
    # Python remembers where TMPDIR pointed.
    tempfile.tempdir = None


def close_all_but(*kept: int) -> None:
    """Close every descriptor from 3 on that is not ``kept``."""
    low = 3
    for descriptor in sorted(one for one in kept if one >= 3):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, max(low, os.sysconf("SC_OPEN_MAX")))


def set_output(descriptor: int) -> None:
    """Nothing to read, and ``descriptor`` as standard output and error."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    for one in {nothing, descriptor}:
        if one > 2:
            os.close(one)


def default_signals() -> None:
    """The handlers that a process starts with."""
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def reseed() -> None:
    """New random state, where the parent's would be repeated by each of its children.

    ``random`` does so by itself at a fork; numpy's global state does not. torch starts every
    process from the same seed and is left alone. By the key of ``multiprocessing``, processes trust
    each other; instances must not.
    """
    random.seed()
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None:
        multiprocessing.current_process().authkey = os.urandom(32)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def set_threads(number: int) -> None:
    """Let the numeric libraries, loaded for one thread, use ``number``."""
    if number <= 1:
        return
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(number)
    with contextlib.suppress(ImportError):
        import threadpoolctl  # type: ignore[import-untyped, import-not-found, unused-ignore]

        threadpoolctl.threadpool_limits(number)


def run_and_end(main: Callable[[], int]) -> NoReturn:
    """Run ``main`` as what this process is for, and end it with the status that it gives.

    Never returns: the frames below are another process's.
    """
    code = 1
    try:
        faulthandler.enable()
        code = main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)
