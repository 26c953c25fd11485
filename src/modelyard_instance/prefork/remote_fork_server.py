"""The front's side of a foreign fork server: workers forked in a package's environment
(``zygotes.env_zygote``).

What is at the other end is foreign code, so nothing that it says is believed. Who has spoken, the
kernel tells with the message. A pid is only as good as the life of its process: it is pinned by a
descriptor while that speaks once more, and only what is pinned is moved, mapped and killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import time
import weakref
from collections.abc import Mapping
from pathlib import Path

from modelyard_instance.environment import work_folder
from modelyard_instance.prefork import fork_server
from modelyard_instance.sandbox import mount_view, namespaces
from modelyard_instance.sandbox.confine import Confinement, admit, expel, read_confinement

WHERE = "MODELYARD_RESERVE"
"""The front's variable that names the socket of its environment's zygote; empty: there is none."""

HERE, GO, IN = b"here", b"go", b"in"
"""What passes a gate: from the worker, to it, from it when it is shut in (else why it is not)."""

NONCE = 16
_CREDENTIALS = struct.Struct("3i")
_LONGEST_WORD = 1000


class RemoteForkServer(fork_server.ForkServer):
    """A fork server in a package's own environment, for the instance in ``folder``."""

    def __init__(self, sock: socket.socket, folder: Path, plan: Confinement | None) -> None:
        super().__init__(sock)
        self._folder = folder
        self._plan = plan or Confinement()
        self._told = plan.document().decode() if plan else ""
        self._deaf = False

    @classmethod
    def reach(cls, path: str, folder: Path, instance_id: str) -> RemoteForkServer | None:
        """One of the zygote behind the socket ``path``; None when that does not answer."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            plan = read_confinement(folder)
            sock.settimeout(fork_server.PATIENCE_S)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            sock.connect(path)
            sock.send(json.dumps({"id": instance_id}).encode())
            with _Pinned(sock, time.monotonic() + fork_server.PATIENCE_S) as found:
                found.take_in(plan or Confinement())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        except (OSError, ValueError):
            sock.close()
            return None
        return cls(sock, folder, plan)

    def spawn(self, order: Mapping[str, object], channel: int, output: int) -> ForeignChild:
        """As ``ForkServer.spawn``; the worker is let in before it runs anything of its package."""
        if self._deaf:
            raise OSError("the fork server does not answer")
        deadline = time.monotonic() + fork_server.PATIENCE_S
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs, contextlib.ExitStack() as stack:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            mounts = self._mounts(int(str(order["number"])), stack)
            _set_deadline(self._sock, deadline)
            told = {**order, "plan": self._told, "given": list(mounts)}
            socket.send_fds(
                self._sock,
                [json.dumps({"spawn": told}).encode()],
                [channel, output, theirs.fileno(), *mounts.values()],
            )
            theirs.close()
            worker = stack.enter_context(_Pinned(ours, deadline))
            try:
                worker.take_in(self._plan, become=self._plan.uid)
                ours.send(GO)
                _set_deadline(ours, deadline)
                word = ours.recv(_LONGEST_WORD)
                if word != IN:
                    raise OSError(word.decode(errors="replace") or "it has ended")
                return ForeignChild(self, worker.pid, worker.pidfd(), self._plan)
            except OSError:
                worker.kill()
                raise

    def status_of(self, pid: int) -> int:
        """As ``ForkServer.status_of``, by its word; -9 for one that does not answer."""
        if self._deaf:
            return -signal.SIGKILL
        try:
            self._sock.settimeout(fork_server.PATIENCE_S)
            return self._ask({"wait": pid})
        except OSError:
            self._deaf = True
            return -signal.SIGKILL

    def _mounts(self, number: int, stack: contextlib.ExitStack) -> dict[str, int]:
        """What worker ``number`` is to see and its zygote cannot reach, by path."""
        plan, work = self._plan, str(work_folder(self._folder, number))
        if not plan.uid:
            return {}
        own = (self._folder, *(Path(target) for _, target in plan.links))
        shown = [
            one
            for one in plan.shown
            if Path(one).exists() and any(Path(one).is_relative_to(place) for place in own)
        ]
        mount_view.make_way(plan.scratch, [*filter(os.path.exists, plan.shown), work])
        wanted = {**dict.fromkeys(shown, False), work: True, plan.scratch: True}
        found = {}
        for path, writable in wanted.items():
            found[path] = namespaces.detached(path, writable=writable)
            stack.callback(os.close, found[path])
        return found


class ForeignChild(fork_server.Child):
    """A worker that a stranger is to reap (``launcher.Child``): killed by its descriptor only."""

    def __init__(self, parent: RemoteForkServer, pid: int, pidfd: int, plan: Confinement) -> None:
        super().__init__(parent, pid)
        self._pidfd = pidfd
        weakref.finalize(self, os.close, pidfd)
        self._plan = plan

    def pidfd(self) -> int:
        return os.dup(self._pidfd)

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        if not self._plan.uid:
            # The platform's own user has no rights that whoever runs there has not.
            super().kill()
            return
        # With users there are control groups, and all that the worker has left is in them.
        for group in self._plan.groups[:1]:
            with contextlib.suppress(OSError, ValueError):
                for pid in (Path(group) / "cgroup.procs").read_text().split():
                    with contextlib.suppress(OSError):
                        self._kill_if_left(int(pid))

    def _kill_if_left(self, pid: int) -> None:
        """End the process if it is of the worker's process group and user."""
        pidfd = os.pidfd_open(pid)
        try:
            # The name may hold anything; what follows its bracket are numbers.
            status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            group, owner = int(status.rpartition(")")[2].split()[2]), Path(f"/proc/{pid}").stat()
            if group == self.pid and owner.st_uid == self._plan.uid:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)


class _Pinned:
    """The process that speaks at the other end of ``sock``, for as long as the block lasts.

    ``sock`` passes credentials. Raises ``OSError`` when nobody says until ``deadline``, by the
    monotonic clock, that he is there, and lives.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        _set_deadline(sock, deadline)
        self.pid, word = _heard(sock)
        if word != HERE:
            raise OSError(word.decode(errors="replace") or "it has ended")
        self._stack = contextlib.ExitStack()
        try:
            self._pidfd = os.pidfd_open(self.pid)
            self._stack.callback(os.close, self._pidfd)
            self._folder = os.open(f"/proc/{self.pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._stack.callback(os.close, self._folder)
            nonce = os.urandom(NONCE)
            sock.send(nonce)
            _set_deadline(sock, deadline)
            # Whoever has the pid when it speaks again is who has had it since.
            if _heard(sock) != (self.pid, nonce) or not self._lives():
                raise OSError("it is not who it was")
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> _Pinned:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def take_in(self, plan: Confinement, become: int = 0) -> None:
        """Move it into the cgroups of ``plan``; let it ``become`` that user. Raises ``OSError``."""
        admit(plan, self.pid)
        if not self._lives():
            # Whoever has its pid by now is none of ours.
            expel(plan, self.pid)
            raise OSError("it has ended")
        if become:
            namespaces.map_user(self._folder, become)

    def pidfd(self) -> int:
        """A new descriptor of it."""
        return os.dup(self._pidfd)

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _lives(self) -> bool:
        end = select.poll()
        end.register(self._pidfd, select.POLLIN)
        return not end.poll(0)


def _set_deadline(sock: socket.socket, deadline: float) -> None:
    sock.settimeout(max(0.001, deadline - time.monotonic()))


def _heard(sock: socket.socket) -> tuple[int, bytes]:
    """A message, and the pid of its sender by the kernel's word. Raises ``OSError``."""
    message, told, _, _ = sock.recvmsg(_LONGEST_WORD, socket.CMSG_SPACE(_CREDENTIALS.size))
    for level, kind, data in told:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            return int(_CREDENTIALS.unpack(data)[0]), message
    raise OSError("it does not say who it is")
