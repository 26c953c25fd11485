"""A front against whatever may stand at the other end of its environment's nursery."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from instance_support import wait_for
from modelyard_instance.prefork.remote_fork_server import (
    GO,
    HERE,
    IN,
    NONCE,
    ForeignChild,
    RemoteForkServer,
)
from modelyard_instance.sandbox.confine import NAME, Confinement

ORDER = {"dir": "/", "number": 0, "environment": {}, "threads": 1}
Role = Callable[[socket.socket], None]


@pytest.fixture
def folder() -> Iterator[Path]:
    """An instance's, with a group that is a plain file, and a short name for sockets."""
    with tempfile.TemporaryDirectory(prefix="lend-") as name:
        place = Path(name)
        (place / "group").mkdir()
        (place / "group" / "cgroup.procs").touch()
        plan = Confinement(groups=(str(place / "group"),))
        (place / NAME).write_bytes(plan.document())
        yield place


@contextmanager
def stranger(path: Path, role: Role) -> Iterator[int]:
    """A process that answers one caller at ``path`` by ``role``."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen(1)
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            caller, _ = listener.accept()
            caller.recv(1000)
            role(caller)
        finally:
            os._exit(0)
    listener.close()
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def reach(folder: Path) -> RemoteForkServer | None:
    return RemoteForkServer.reach(str(folder / "s"), folder, "instance")


def moved(folder: Path) -> str:
    return (folder / "group" / "cgroup.procs").read_text()


def present(sock: socket.socket) -> None:
    sock.send(HERE)
    sock.send(sock.recv(NONCE))


def nursery_of(worker: Role, answer: bytes = b"") -> Role:
    """One that forks ``worker`` with the gate for each order; asked for its end, it answers so."""

    def role(sock: socket.socket) -> None:
        present(sock)
        while True:
            message, descriptors, _, _ = socket.recv_fds(sock, 1 << 16, 8)
            if not message:
                return
            if b"wait" in message:
                sock.send(answer)
                continue
            if os.fork() == 0:
                with socket.socket(fileno=descriptors[2]) as gate:
                    worker(gate)
                os._exit(0)
            for one in descriptors:
                os.close(one)

    return role


def spawn(nursery: RemoteForkServer) -> ForeignChild:
    with open(os.devnull, "w") as nothing:
        return nursery.spawn(ORDER, nothing.fileno(), nothing.fileno())


def test_nobody_behind_the_socket(folder: Path) -> None:
    assert reach(folder) is None
    (folder / "s").touch()
    assert reach(folder) is None


def test_who_has_gone_before_he_speaks_again_is_not_moved(folder: Path) -> None:
    def says_here_by_a_child(sock: socket.socket) -> None:
        if os.fork() == 0:
            sock.send(HERE)
            os._exit(0)
        os.wait()
        sock.send(sock.recv(NONCE))
        time.sleep(60)

    with stranger(folder / "s", says_here_by_a_child):
        assert reach(folder) is None
    assert moved(folder) == ""


@pytest.mark.parametrize("answer", [b"no" * 8, b"", HERE])
def test_who_does_not_give_the_word_back_is_not_moved(folder: Path, answer: bytes) -> None:
    def role(sock: socket.socket) -> None:
        sock.send(HERE)
        sock.recv(NONCE)
        sock.send(answer)
        time.sleep(60)

    with stranger(folder / "s", role):
        assert reach(folder) is None
    assert moved(folder) == ""


@pytest.mark.parametrize(
    "answer", [b"nonsense", b"2 -99999999999999999999", b"9 0", b"2 -1001", b"2 3 4"]
)
def test_a_worker_is_let_in_and_its_end_is_seen(folder: Path, answer: bytes) -> None:
    def worker(gate: socket.socket) -> None:
        present(gate)
        assert gate.recv(100) == GO
        gate.send(IN)
        time.sleep(60)

    with stranger(folder / "s", nursery_of(worker, answer)) as pid:
        nursery = reach(folder)
        assert nursery is not None
        assert moved(folder) == str(pid)
        child = spawn(nursery)
        assert moved(folder) == str(child.pid)
        assert child.pid not in (pid, os.getpid())
        pidfd = child.pidfd()
        child.kill()
        wait_for(lambda: not _lives(child.pid), "its end")
        os.close(pidfd)
        # The number of a process that is no more may be anybody's: nobody is killed by it.
        other = subprocess.Popen(["sleep", "60"], start_new_session=True)
        try:
            (folder / "group" / "cgroup.procs").write_text(str(other.pid))
            child.pid = other.pid
            child._plan = Confinement(uid=1, groups=(str(folder / "group"),))
            child.kill()
            assert other.poll() is None
        finally:
            other.kill()
            other.wait()
        # Whatever the nursery answers, it is a status; if not, it is not asked any more.
        assert child.wait() == -signal.SIGKILL
        with pytest.raises(OSError, match="does not answer"):
            spawn(nursery)


def test_why_a_worker_cannot_be_shut_in_is_told(folder: Path) -> None:
    def at_once(gate: socket.socket) -> None:
        gate.send(b"unshare: No space left on device")

    with stranger(folder / "s", nursery_of(at_once)):
        nursery = reach(folder)
        assert nursery is not None
        with pytest.raises(OSError, match="No space left"):
            spawn(nursery)


def test_a_worker_that_is_not_shut_in_within_time_is_ended(folder: Path) -> None:
    def deaf(gate: socket.socket) -> None:
        present(gate)
        time.sleep(60)

    with stranger(folder / "s", nursery_of(deaf)):
        nursery = reach(folder)
        assert nursery is not None
        with pytest.raises(OSError):
            spawn(nursery)
        worker = int(moved(folder)[-20:])
        wait_for(lambda: not _lives(worker), "its end")


def _lives(pid: int) -> bool:
    """Nobody reaps the stranger's children; what has ended is a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"
