"""The front's side of a reserve: workers forked in a package's own environment (``reserve``).

What the other side says is foreign code's word. So who a worker is, the kernel tells: its
credentials come with its message, and only what has sent one is moved, mapped, and later killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

from modelyard_instance import namespaces, nursery, view
from modelyard_instance.confine import Confinement, admit, read_confinement
from modelyard_instance.environment import work_folder

WHERE = "MODELYARD_RESERVE"
"""The front's variable that names the socket of its environment's zygote; empty: there is none."""

HERE, GO, IN = b"here", b"go", b"in"
"""What passes a gate: from the worker, to it, from it when it is shut in (else why it is not)."""

_CREDENTIALS = struct.Struct("3i")
_LONGEST_WORD = 1000


class Reserve(nursery.Nursery):
    """A nursery in a package's own environment, for the instance in ``folder``."""

    def __init__(self, sock: socket.socket, folder: Path, plan: Confinement | None) -> None:
        super().__init__(sock)
        self._folder = folder
        self._plan = plan

    @classmethod
    def reach(cls, path: str, folder: Path, instance_id: str) -> Reserve | None:
        """The one behind the socket ``path``; None when it does not answer."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            plan = read_confinement(folder)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            sock.settimeout(nursery.PATIENCE_S)
            sock.connect(path)
            sock.send(json.dumps({"id": instance_id}).encode())
            pid = _who_is_there(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
            if plan is not None:
                admit(plan, pid)
        except (OSError, ValueError):
            sock.close()
            return None
        return cls(sock, folder, plan)

    def spawn(self, order: Mapping[str, object], channel: int, output: int) -> nursery.Child:
        """As ``Nursery.spawn``; the worker is let in before it runs anything of its package."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs, contextlib.ExitStack() as stack:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            ours.settimeout(nursery.PATIENCE_S)
            mounts = self._mounts(int(str(order["number"])), stack)
            told = {
                **order,
                "plan": self._plan.document().decode() if self._plan else "",
                "given": list(mounts),
            }
            socket.send_fds(
                self._sock,
                [json.dumps({"spawn": told}).encode()],
                [channel, output, theirs.fileno(), *mounts.values()],
            )
            self._answer()
            theirs.close()
            pid = _who_is_there(ours)
            if self._plan is not None:
                admit(self._plan, pid)
                if self._plan.uid:
                    namespaces.map_user(pid, self._plan.uid)
            ours.send(GO)
            word = ours.recv(_LONGEST_WORD)
            if word != IN:
                raise OSError(word.decode(errors="replace") or "it has ended")
        return nursery.Child(self, pid)

    def _mounts(self, number: int, stack: contextlib.ExitStack) -> dict[str, int]:
        """What worker ``number`` is to see and its zygote cannot reach, by path."""
        plan, work = self._plan, str(work_folder(self._folder, number))
        if plan is None or not plan.uid:
            return {}
        own = (self._folder, *(Path(target) for _, target in plan.links))
        shown = [
            one
            for one in plan.shown
            if Path(one).exists() and any(Path(one).is_relative_to(place) for place in own)
        ]
        view.make_way(plan.scratch, [*filter(os.path.exists, plan.shown), work])
        wanted = {**dict.fromkeys(shown, False), work: True, plan.scratch: True}
        found = {}
        for path, writable in wanted.items():
            found[path] = namespaces.detached(path, writable=writable)
            stack.callback(os.close, found[path])
        return found


def _who_is_there(sock: socket.socket) -> int:
    """The pid of who says that he is, by the kernel's word. Raises ``OSError``."""
    message, told, _, _ = sock.recvmsg(len(HERE), socket.CMSG_SPACE(_CREDENTIALS.size))
    for level, kind, data in told:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and message == HERE:
            pid, _, _ = _CREDENTIALS.unpack(data)
            return int(pid)
    raise OSError("the reserve does not answer")
