"""Shutting a process of an instance in: its cgroup, its user, its view of files, its rlimits.

What is in force is written by the platform into ``confinement.json`` in the instance's folder; an
instance without that file is not confined. Standard library only: every process of an instance may
call this, also one that was forked from an interpreter full of foreign modules.

* ``join``: the **front** calls it before anything else, so that all it ever starts is born inside.
* ``enter``: the process that becomes a **worker** calls it before it runs anything of the package
  or of its environment. It must have a single thread, and be the platform's user still.
* ``enter_given``: for one that was forked by another user (``zygotes.env_zygote``), and has been
  given what it
  could not reach.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

NAME = "confinement.json"

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
# Whoever has to make room in a full machine or group takes a model before its front.
_OOM_SCORE = 500
# Where some packages look (models.md §9).
_WORK_LINK = "/home/work"


@dataclass(frozen=True, slots=True)
class Confinement:
    """What shuts one instance in.

    ``groups``: cgroup folders, one per hierarchy; empty where there are none. ``uid``: user and
    group of the workers, 0 for the platform's own. ``hidden``: places that the workers find empty
    but for ``shown`` (to read) and ``links`` (path and target), ``scratch`` the folder that they
    find as ``/tmp``; all only with ``uid``. ``memory_mb``: the flavour's, in
    MB. ``data_bytes``, ``processes``, ``open_files``: rlimits of the workers, 0 for none.
    """

    groups: tuple[str, ...] = ()
    uid: int = 0
    hidden: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    scratch: str = ""
    memory_mb: int = 0
    data_bytes: int = 0
    processes: int = 0
    open_files: int = 0

    def document(self) -> bytes:
        """The content of ``confinement.json``."""
        return json.dumps(asdict(self)).encode()


def parse_confinement(text: bytes) -> Confinement:
    """The confinement in ``text``; what a former release did not write yet is nothing.

    Raises ``ValueError``.
    """

    def names(key: str) -> tuple[str, ...]:
        return tuple(str(one) for one in data.get(key, ()))

    def number(key: str) -> int:
        return int(data.get(key, 0))

    try:
        data = json.loads(text)
        return Confinement(
            groups=tuple(str(one) for one in data["groups"]),
            uid=int(data["uid"]),
            hidden=names("hidden"),
            shown=names("shown"),
            links=tuple((str(path), str(target)) for path, target in data.get("links", ())),
            scratch=str(data.get("scratch", "")),
            memory_mb=number("memory_mb"),
            data_bytes=number("data_bytes"),
            processes=number("processes"),
            open_files=number("open_files"),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{NAME}: {error!r}") from error


def read_confinement(folder: Path) -> Confinement | None:
    """What shuts in the instance in ``folder``; None: nothing.

    Raises ``ValueError`` and ``OSError`` for a file that is there and cannot be used: an instance
    must not run free because of it.
    """
    try:
        text = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return None
    return parse_confinement(text)


def join(confinement: Confinement) -> None:
    """Move this process into its cgroups; what it starts from now on is born there.

    Raises ``OSError``.
    """
    admit(confinement, os.getpid())
    _limit(resource.RLIMIT_CORE, 0)


def admit(confinement: Confinement, pid: int) -> None:
    """Move the process ``pid`` into the cgroups. Raises ``OSError``."""
    for group in confinement.groups:
        _write(Path(group) / "cgroup.procs", str(pid))


def expel(confinement: Confinement, pid: int) -> None:
    """Move the process ``pid`` out of the cgroups again, to the top of each hierarchy."""
    for group in confinement.groups:
        top = Path(group)
        while (top.parent / "cgroup.procs").exists():
            top = top.parent
        with contextlib.suppress(OSError):
            _write(top / "cgroup.procs", str(pid))


def enter(confinement: Confinement, work: Path | None = None) -> None:
    """Give up, for good, all that the package's code must not have. Raises ``OSError``.

    ``work``: the worker's current folder, which it may write and finds as ``/home/work`` as well.

    The cgroups are not joined here: a child of the front is in them already, and for one of
    somebody else ``join`` comes first.
    """
    _set_limits(confinement)
    if sys.platform == "linux":
        _enter_linux(confinement, work, None)


def enter_given(confinement: Confinement, work: Path | None, given: Mapping[str, int]) -> None:
    """``enter`` for a process whose front has mapped the user into its namespace, if there is one.

    ``given``: detached mounts by path (``namespaces``). Raises ``OSError``.
    """
    _set_limits(confinement)
    _enter_linux(confinement, work, given)


def _set_limits(confinement: Confinement) -> None:
    with contextlib.suppress(OSError):
        _write(Path("/proc/self/oom_score_adj"), str(_OOM_SCORE))
    _limit(resource.RLIMIT_CORE, 0)
    for kind, value in (
        (resource.RLIMIT_DATA, confinement.data_bytes),
        (resource.RLIMIT_NOFILE, confinement.open_files),
    ):
        if value:
            _limit(kind, value)


def _enter_linux(
    confinement: Confinement, work: Path | None, given: Mapping[str, int] | None
) -> None:
    # Here and not above: most fronts never need it, and it takes milliseconds to load.
    from modelyard_instance.sandbox import mount_view, namespaces

    uid = confinement.uid
    if uid:
        if given is not None:
            namespaces.become(uid)
        mount_view.show_only(
            confinement.hidden,
            confinement.shown,
            () if work is None else (str(work),),
            links=(*confinement.links, *(() if work is None else ((_WORK_LINK, str(work)),))),
            scratch=confinement.scratch,
            given=given,
        )
        if confinement.processes:
            # Counts the user's processes, so only a user of the instance's own may have it.
            _limit(resource.RLIMIT_NPROC, confinement.processes)
        if given is None:
            namespaces.set_user(uid)
        else:
            namespaces.give_up_rights()
        # A process that changes its user may not read what /proc has of itself, /dev/stdout for
        # one. A new program may; one that only goes on is told so here. Nobody else is that user.
        mount_view.prctl(_PR_SET_DUMPABLE, 1)
    mount_view.prctl(_PR_SET_NO_NEW_PRIVS, 1)


def oom_kills(confinement: Confinement) -> int:
    """How often the kernel has killed in the instance's group because its memory was used up."""
    for group in confinement.groups:
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                return parse_oom_kills((Path(group) / name).read_text())
    return 0


def parse_oom_kills(text: str) -> int:
    """The count in ``memory.events`` (v2) or ``memory.oom_control`` (v1). Pure."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.strip().isdigit():
            return int(value)
    return 0


def out_of_memory(memory_mb: int) -> str:
    """The words for an instance that was over its memory. Pure."""
    return f"out of memory: over the {memory_mb} MB of its flavour; choose a larger one"


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
