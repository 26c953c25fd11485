"""``python -m modelyard_instance.sandbox.trial --dir DIR``: can a worker run confined as DIR says?

Exit status 0 when it can; what stands in the way is printed as an error. ``FORKED`` is printed when
it can also as a worker that another user forks (``prefork.remote_fork_server``).
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from modelyard_instance.sandbox.confine import Confinement, enter, enter_given, read_confinement

FORKED = "forked"

_ANSWERS_WITHIN_S = 10.0


def main() -> NoReturn:
    """Enter, and start the interpreter anew as the user of an instance."""
    parser = argparse.ArgumentParser(prog="modelyard_instance.sandbox.trial")
    parser.add_argument("--dir", type=Path, required=True)
    confinement = read_confinement(parser.parse_args().dir)
    os.chdir("/")
    if confinement is not None:
        if confinement.uid and may_be_forked(confinement.uid):
            print(FORKED, flush=True)
        try:
            enter(confinement)
        except OSError as error:
            sys.exit(str(error.strerror or error))
    os.execv(sys.executable, [sys.executable, "-c", "import modelyard_instance.worker.main"])  # noqa: S606


def may_be_forked(uid: int) -> bool:
    """Whether a process that another user forks can become the user ``uid``, and see what it is
    given. For root.
    """
    from modelyard_instance.sandbox import namespaces

    place = "/home"
    ours, theirs = socket.socketpair()
    ours.settimeout(_ANSWERS_WITHIN_S)
    pid = 0
    try:
        mount = namespaces.detached("/", writable=False)
        pid = os.fork()
        if pid == 0:
            ours.close()
            os._exit(_forked(uid, place, mount, theirs))
        theirs.close()
        ours.recv(1)
        process = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY)
        namespaces.map_user(process, uid)
        ours.send(b"g")
        return ours.recv(1) == b"y"
    except OSError:
        return False
    finally:
        ours.close()
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _forked(uid: int, place: str, mount: int, front: socket.socket) -> int:
    """What such a process does; 0 when it comes to its end."""
    from modelyard_instance.sandbox import namespaces

    try:
        enter(Confinement(uid=uid))
        namespaces.never_enter_another()
        namespaces.new_user_namespace()
        front.send(b"h")
        if front.recv(1):
            plan = Confinement(uid=uid, hidden=(place,), shown=(f"{place}/given",))
            enter_given(plan, None, {f"{place}/given": mount})
            if Path(place, "given", "proc").is_dir():
                front.send(b"y")
                return 0
    except OSError:
        pass
    return 1


if __name__ == "__main__":
    main()
