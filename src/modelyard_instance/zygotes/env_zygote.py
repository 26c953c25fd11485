"""``python -m modelyard_instance.zygotes.env_zygote``: a zygote in a package's own environment.

It runs in the interpreter of that environment, has imported what its packages will, and forks their
workers; the fronts are forked elsewhere (``zygote``), since the environment has nothing of what a
front needs. What it imports is foreign code, so it is shut in as an instance is, with a user of its
own: it has no rights by which it could make a worker. Each front gets a fork server, forked for it
here, and gives its workers what they are to be and to see (``prefork.remote_fork_server``)::

    front                                this                     fork server            worker
      connect, its instance's id ------> fork -------------------> take the mark
      move it to the instance's groups <-------------------------- "here", a nonce
      order, mounts -------------------------------------------------> fork ---------> a user
      map its user <---------------------------------------------- "here", a nonce     namespace
      "go" ---------------------------------------------------------------> enter
      go on as with any worker <--------------------------------------------- "in", load, serve

It has a single thread, and may end at any time: what it has forked goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from modelyard_instance import forks
from modelyard_instance.environment import LIBRARY, work_folder
from modelyard_instance.prefork import fork_server
from modelyard_instance.prefork.remote_fork_server import GO, HERE, IN, NONCE
from modelyard_instance.sandbox import namespaces
from modelyard_instance.sandbox.confine import (
    Confinement,
    enter,
    enter_given,
    join,
    parse_confinement,
    read_confinement,
)
from modelyard_instance.worker import shims
from modelyard_instance.zygotes.zygote import ENGINES, IDLE_S, OURS, UNFIT

_LOOK_S = 30.0


def main() -> int:
    """Exit status: 0 nobody has wanted anything for long, or the environment is gone; ``UNFIT``."""
    parser = argparse.ArgumentParser(prog="modelyard_instance.zygotes.env_zygote")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--listener", type=int)
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--python", default="")
    parser.add_argument("--engine", default="")
    parser.add_argument("--wanted", default="")
    arguments = parser.parse_args()
    if arguments.listener is None:
        return _shut_in(arguments.dir, arguments.socket, arguments.python)
    here = str(Path.cwd())
    sys.path[:] = [one for one in sys.path if one not in ("", here)]
    for module in OURS:
        # It needs what the environment has not.
        if module != "server.front":
            importlib.import_module(f"modelyard_instance.{module}")
    # They repair what is imported after them.
    shims.install()
    wanted = modules_of(arguments.wanted.split(","))
    with forks.watched_environment():
        for module in (*ENGINES.get(arguments.engine, ()), *wanted):
            # What cannot be imported here will tell its package why.
            with contextlib.suppress(Exception, SystemExit):
                importlib.import_module(module)
    if not forks.single_threaded():
        return UNFIT
    gc.collect()
    gc.freeze()
    return _serve(socket.socket(fileno=arguments.listener))


def _shut_in(folder: Path, path: Path, python: str) -> int:
    """Go on as ``python``, shut in by what lies in ``folder``; never returns.

    The socket has its name from now on; nobody is answered before ``python`` listens.
    """
    plan, work = read_confinement(folder), work_folder(folder, 0)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.set_inheritable(True)
    os.chdir(work)
    if plan is not None:
        join(plan)
        enter(plan, work)
        if plan.uid:
            namespaces.never_enter_another()
    # What is foreign from here on has nobody who would bound its words.
    forks.set_output(os.open(os.devnull, os.O_WRONLY))
    own = ["--listener", str(listener.fileno()), *sys.argv[1:]]
    os.execv(python, [python, "-m", "modelyard_instance.zygotes.env_zygote", *own])  # noqa: S606


def modules_of(distributions: Iterable[str]) -> list[str]:
    """The packages that the installed ``distributions`` bring, by their own word."""
    import importlib.metadata

    found: list[str] = []
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError):
            distribution = importlib.metadata.distribution(name)
            told = (distribution.read_text("top_level.txt") or "").split()
            found += told or packages_in(map(str, distribution.files or ()))
    return list(dict.fromkeys(one for one in found if one.isidentifier() and one[0] != "_"))


def packages_in(files: Iterable[str]) -> list[str]:
    """The top-level packages and modules among a distribution's ``files``. Pure."""
    names = (re.match(r"(\w+)(?:/__init__\.py|\.py)\Z", one) for one in files)
    return [match.group(1) for match in names if match]


def _serve(listener: socket.socket) -> int:
    # The kernel reaps what ends; the fronts watch it themselves.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener.listen(64)
    listener.settimeout(_LOOK_S)
    quiet_s = 0.0
    while quiet_s < IDLE_S and Path(sys.executable).exists():
        try:
            caller, _ = listener.accept()
        except TimeoutError:
            quiet_s += _LOOK_S
            continue
        quiet_s = 0.0
        with caller, contextlib.suppress(OSError):
            if os.fork() == 0:
                listener.close()
                forks.run_and_end(partial(_be_fork_server, caller))
    return 0


def _be_fork_server(sock: socket.socket) -> int:
    """Be the fork server of the front at the other end: ``id``, its instance's."""
    forks.default_signals()
    hello = sock.recv(fork_server.ROOM)
    if not hello:
        return 0
    forks.take_mark(str(json.loads(hello)["id"]))
    _present_oneself(sock)
    return fork_server.serve(sock, _work, tells=False)


def _present_oneself(sock: socket.socket) -> None:
    """Be known by the front at the other end (``prefork.remote_fork_server``)."""
    sock.send(HERE)
    sock.send(sock.recv(NONCE))


def _work(order: dict[str, object], parent: int, descriptors: tuple[int, ...]) -> int:
    """Become the worker of an order with ``plan``, a confinement, and ``given``, paths of mounts.

    The descriptors: its channel, its output, the gate to the front, the mounts.
    """
    os.setpgid(0, 0)
    channel, output, gate, *mounts = descriptors
    paths = order["given"]
    assert isinstance(paths, list)
    given = dict(zip(map(str, paths), mounts, strict=True))
    plan = parse_confinement(str(order["plan"]).encode()) if order["plan"] else None
    work = work_folder(Path(str(order["dir"])), int(str(order["number"])))
    front = socket.socket(fileno=gate)
    envs = order["envs"]
    assert isinstance(envs, list)
    try:
        if late := fork_server.too_late(envs):
            raise OSError(f"read at import: {', '.join(late)}")
        _enter(plan, work, given, front)
    except OSError as error:
        # The front starts another one, anew; this one has told its package nothing.
        with contextlib.suppress(OSError):
            front.send(str(error).encode())
        return 1
    front.send(IN)
    _import_from(str(work.parent / LIBRARY))
    return fork_server.become(order, parent, channel, output)


def _enter(
    plan: Confinement | None, work: Path, given: dict[str, int], gate: socket.socket
) -> None:
    """Be let in by the front, and shut in. Raises ``OSError``."""
    # Where it comes from is out of its sight before long.
    os.chdir("/")
    if plan is not None and plan.uid:
        namespaces.new_user_namespace()
    _present_oneself(gate)
    if gate.recv(len(GO)) != GO:
        raise OSError("its front does not let it in")
    if plan is not None:
        enter_given(plan, work, given)


def _import_from(library: str) -> None:
    """Find what is still to be imported of ours in the worker's own place: ours is out of sight."""
    former = os.environ["PYTHONPATH"]
    sys.path[:] = [library if one == former else one for one in sys.path]
    for module in tuple(sys.modules.values()):
        places = getattr(module, "__path__", None)
        if isinstance(places, list):
            places[:] = [
                library + one.removeprefix(former) if one.startswith(former) else one
                for one in places
            ]


if __name__ == "__main__":
    sys.exit(main())
