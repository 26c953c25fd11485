"""A process that has imported the platform and forks ``modelyard`` commands: 0.1 s each, not 1.

A forked command is what ``python -m modelyard …`` would be after its imports, with the caller's
arguments, environment, folder and pipes. A control plane that a command starts is forked, too; it
stands in a session of its own, holds nothing of the command's, and is named after the home, so
that ``processes_of`` finds it (the environment that the kernel shows is that of the first process).
``python tests/support/forked_commands.py FD`` reads commands from a socket.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

_LONGEST_REQUEST = 1 << 20
_CONTROL_PLANE = "modelyard.composition"
_COMMAND = "modelyard.cli.app"
_DRIVER = "modelyard.batch.__main__"


def name_of(home: Path) -> str:
    """What the kernel calls a forked process of this home."""
    return home.name[:15]


# The tests' side ------------------------------------------------------------------------------


@functools.cache
def _server() -> socket.socket:
    """This process's end of the socket to its forking process, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST_REQUEST)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MODELYARD_", "OS_"))}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(theirs.fileno())],
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
        )

    def end() -> None:
        ours.close()
        process.kill()
        process.wait()

    atexit.register(end)
    return ours


def run_command(
    arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """As ``subprocess.run`` of ``python -m modelyard`` with captured output, but forked."""
    pipes = [os.pipe() for _ in range(3)]
    try:
        _ask(_COMMAND, arguments, env, cwd, [write for _, write in pipes])
    finally:
        for _, write in pipes:
            os.close(write)
    try:
        out, err, life = _read_all([read for read, _ in pipes], timeout)
    finally:
        for read, _ in pipes:
            os.close(read)
    _, _, code = life.decode().partition("\n")
    # Without a code it ended without a word of its own.
    done = int(code) if code else -signal.SIGKILL
    return subprocess.CompletedProcess(list(arguments), done, out.decode(), err.decode())


class ForkedDriver:
    """As ``subprocess.Popen`` of ``python -m modelyard.batch``, but forked; its output goes to
    ``log``.
    """

    def __init__(
        self, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path
    ) -> None:
        self._life, life = os.pipe()
        try:
            with log.open("ab") as out:
                _ask(_DRIVER, arguments, env, cwd, [out.fileno(), out.fileno(), life])
        finally:
            os.close(life)
        self._heard = b""
        while b"\n" not in self._heard:
            self._hear()
        self.pid = int(self._heard.partition(b"\n")[0])
        self.returncode: int | None = None

    def wait(self, timeout: float) -> int:
        """Its exit code. Raises ``subprocess.TimeoutExpired``."""
        deadline = time.monotonic() + timeout
        while self.returncode is None:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._life], [], [], left)[0]:
                raise subprocess.TimeoutExpired("modelyard.batch", timeout)
            if not self._hear():
                os.close(self._life)
                code = self._heard.partition(b"\n")[2]
                self.returncode = int(code) if code else -signal.SIGKILL
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _hear(self) -> bool:
        data = os.read(self._life, 1024)
        self._heard += data
        return bool(data)


def _ask(
    main: str, arguments: Sequence[str], env: Mapping[str, str], cwd: Path, descriptors: list[int]
) -> None:
    request = {"main": main, "arguments": list(arguments), "env": dict(env), "cwd": str(cwd)}
    socket.send_fds(_server(), [json.dumps(request).encode()], descriptors)


def _read_all(descriptors: list[int], timeout: float) -> list[bytes]:
    """What arrives until the ends; kills the command, whose id is the third's first line."""
    found = {descriptor: bytearray() for descriptor in descriptors}
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        for descriptor in descriptors:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                pid = bytes(found[descriptors[2]]).partition(b"\n")[0]
                if pid:
                    os.kill(int(pid), signal.SIGKILL)
                raise subprocess.TimeoutExpired("modelyard", timeout)
            for key, _ in ready:
                data = os.read(key.fd, 65536)
                found[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
    return [bytes(found[descriptor]) for descriptor in descriptors]


# The forking process --------------------------------------------------------------------------


class _Child:
    """Stands for the ``Popen`` of a forked control plane."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def _serve(commands: socket.socket) -> None:
    for module in (_COMMAND, _CONTROL_PLANE, _DRIVER):
        importlib.import_module(module)
    # A collection in a forked process would copy every page that holds an object.
    gc.collect()
    gc.freeze()

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, descriptors, _, _ = socket.recv_fds(commands, _LONGEST_REQUEST, 3)
        if not request:
            return
        if os.fork() == 0:
            commands.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _be_command(json.loads(request), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _be_command(request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    out, err, life = descriptors
    os.write(life, f"{os.getpid()}\n".encode())
    for source, target in ((out, 1), (err, 2)):
        os.dup2(source, target)
        os.close(source)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["modelyard", *request["arguments"]]
    from modelyard.cli.lifecycle import start

    start.spawn_detached = functools.partial(_spawn, start.spawn_detached)
    code = _code_of(importlib.import_module(request["main"]).main)
    os.write(life, str(code).encode())
    os._exit(code)


def _code_of(main: Callable[[], object]) -> int:
    """What the interpreter would exit with, after all that was printed has been written."""
    code: object = 0
    try:
        code = main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 0 if code is None else 1


def _spawn(spawn_detached: Callable[..., Any], argv: Sequence[str], **how: Any) -> Any:
    """``spawn_detached`` that forks a control plane, and starts anything else as ever.

    A process with threads is not forked: a lock that one of them holds would stay held for ever.
    """
    from modelyard import processes

    if list(argv[1:]) != ["-m", _CONTROL_PLANE] or threading.active_count() > 1:
        return spawn_detached(argv, **how)
    how["log"].parent.mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid == 0:
        _be_control_plane(how["env"], how["cwd"], how["log"])
    processes._children[pid] = _Child(pid)  # type: ignore[assignment]
    found = processes.identify(pid)
    if found is None:
        raise OSError("the control plane ended before it could be observed")
    return found


def _be_control_plane(env: Mapping[str, str], cwd: Path, log: Path) -> NoReturn:
    os.setsid()
    with log.open("ab") as out, Path(os.devnull).open("rb") as nothing:
        for source, target in ((nothing, 0), (out, 1), (out, 2)):
            os.dup2(source.fileno(), target)
    # Locks and pipes of the command end with the command.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    Path("/proc/self/comm").write_text(name_of(Path(env["MODELYARD_HOME"])), encoding="utf-8")
    sys.argv = ["-m"]
    from modelyard.composition import main

    os._exit(_code_of(main))


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
