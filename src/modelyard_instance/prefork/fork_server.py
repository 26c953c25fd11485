"""A front's fork server: a process that has everything imported and only ever forks workers.

A front that was itself forked from a zygote forks this one before it has a loop, a socket or a
thread. Asked by the front, it forks a worker, which is ready as soon as the model is loaded. It
ends with the front, and its workers with it: that is what PDEATHSIG asks of them. It is the
platform's user, in the control groups that its front has joined; what it forks is shut in first of
all, while it has run nothing but our code and has one thread.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from modelyard_instance import forks
from modelyard_instance.environment import work_folder
from modelyard_instance.sandbox.confine import enter, read_confinement

WARM = False
"""Whether this process was forked with everything imported; set by the zygote."""

ROOM = 1 << 18
PATIENCE_S = 2.0
# A channel, an output, and whatever else a worker is given.
_MOST_DESCRIPTORS = 16
# Less an errno; no signal has such a number.
_NO_FORK, _MOST_ERRORS = -1000, 4096
# Read by libraries while they are loaded, which has been done; such a worker starts anew.
_TOO_LATE = (
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "NUMEXPR_", "VECLIB_"),
    *("LD_", "PYTHON", "MALLOC_", "GLIBC_", "CUDA_", "NVIDIA_", "ASCEND_", "NPY_", "NUMPY_"),
    *("SKLEARN_", "SCIPY_", "JOBLIB_", "LOKY_", "TORCH_", "PYTORCH_", "TF_", "XGBOOST_", "TZ"),
)


def too_late(envs: Iterable[str]) -> list[str]:
    """Which of a service's variables would not reach whom they are meant for in a fork."""
    return [one for one in envs if one.startswith(_TOO_LATE) or one in forks.read_early]


Work = Callable[[dict[str, object], int, tuple[int, ...]], int]
"""Becomes a worker by an order: the order, the parent's pid, the descriptors that came with it."""


class Child:
    """A forked worker (``launcher.Child``)."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._fork_server = server
        self.pid = pid

    def pidfd(self) -> int:
        """A new descriptor of the process. Raises ``OSError``."""
        return os.pidfd_open(self.pid)

    def kill(self) -> None:
        """End it and the processes of its group; once ``wait`` has told its end, nobody."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """The exit status, negative for a signal. Only when it has ended."""
        return self._fork_server.status_of(self.pid)


class ForkServer:
    """The front's end."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._asked = 0

    @classmethod
    def fork(cls) -> ForkServer | None:
        """Fork the fork server; None when this process has more than one thread."""
        if not forks.single_threaded():
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        front = os.getpid()
        pid = os.fork()
        if pid == 0:
            forks.die_with(front)
            forks.close_all_but(theirs.fileno())
            forks.run_and_end(lambda: serve(theirs, _work, tells=True))
        theirs.close()
        ours.settimeout(PATIENCE_S)
        return cls(ours)

    def spawn(self, order: Mapping[str, object], channel: int, output: int) -> Child:
        """Fork a worker that has ``channel`` and prints to ``output``; ``order``: see ``become``.

        Raises ``OSError``.
        """
        # Past it, the front has started another one at the same channel.
        until = time.monotonic() + PATIENCE_S
        return Child(self, self._ask({"spawn": order, "until": until}, channel, output))

    def status_of(self, pid: int) -> int:
        """See ``Child.wait``; -9 when the fork server is gone, since its workers are killed
        then."""
        try:
            return self._ask({"wait": pid})
        except OSError:
            return -9

    def _ask(self, order: dict[str, object], *descriptors: int) -> int:
        """The answer to ``order``, and not to one that came too late. Raises ``OSError``."""
        self._asked += 1
        message = json.dumps({**order, "count": self._asked}).encode()
        socket.send_fds(self._sock, [message], descriptors)
        count, number = 0, 0
        while count != self._asked:
            told = self._sock.recv(ROOM).split()
            try:
                count, number = map(int, told)
            except ValueError as error:
                raise OSError("the fork server is gone") from error
        if number in range(_NO_FORK - _MOST_ERRORS, _NO_FORK):
            raise OSError(_NO_FORK - number, os.strerror(_NO_FORK - number))
        return number


def serve(sock: socket.socket, work: Work, *, tells: bool) -> int:
    """Fork a process that does ``work`` for each order on ``sock``, until the front hangs up.

    ``tells``: its pid to the front, or why there is none.
    """
    while True:
        message, descriptors, _, _ = socket.recv_fds(sock, ROOM, _MOST_DESCRIPTORS)
        if not message:
            return 0
        order = json.loads(message)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            sock.send(b"%d %d" % (order["count"], os.waitstatus_to_exitcode(status)))
            continue
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            pid = _NO_FORK - (error.errno or 0)
        if pid == 0:
            if order.get("until", math.inf) < time.monotonic():
                os._exit(1)
            forks.run_and_end(partial(work, order["spawn"], parent, tuple(descriptors)))
        for descriptor in descriptors:
            os.close(descriptor)
        if tells:
            sock.send(b"%d %d" % (order["count"], pid))


def _work(order: dict[str, object], parent: int, descriptors: tuple[int, ...]) -> int:
    """``become`` a worker that is shut in as one that is started anew."""
    from modelyard_instance.worker import main as worker

    os.setpgid(0, 0)
    channel, output = descriptors
    folder, number = Path(str(order["dir"])), int(str(order["number"]))
    try:
        _enter(folder, work_folder(folder, number))
    except (OSError, ValueError) as error:
        why = f"the worker cannot be shut in: {error}"
        return worker.give_up(socket.socket(fileno=channel), why)
    return become(order, parent, channel, output)


def become(order: dict[str, object], parent: int, channel: int, output: int) -> int:
    """Be the worker of an order: ``dir``, ``number``, ``environment``, ``threads``.

    It is shut in already, told by ``channel``, and prints to ``output``.
    """
    from modelyard_instance.worker import main as worker

    folder, number = Path(str(order["dir"])), int(str(order["number"]))
    forks.set_output(output)
    forks.close_all_but(channel)
    sock = socket.socket(fileno=channel)
    forks.default_signals()
    environment = order["environment"]
    assert isinstance(environment, dict)
    forks.set_environment(environment)
    forks.reseed()
    spec = worker.settle(folder, number, parent)
    # Not before: a view of files, or a user namespace, is only to be had with one thread.
    forks.set_threads(int(str(order["threads"])))
    return worker.serve(spec, sock)


def _enter(folder: Path, work: Path) -> None:
    """Be shut in as one who is started anew. Raises ``OSError`` and ``ValueError``."""
    plan = read_confinement(folder)
    if plan is None:
        return
    os.chdir(work)
    enter(plan, work)
    forks.stay_visible()
