"""Makes, fills and removes control groups; ``runtime/limits/cgroups.py`` says what goes where."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from modelyard.runtime.limits.cgroups import (
    CONTROLLERS,
    Hierarchy,
    Kind,
    Quota,
    parse_membership,
    parse_mounts,
    settings_of,
    v1_hierarchy,
    v2_folders,
)

_EMPTY_WITHIN_S = 5.0
_POLL_S = 0.01
_LEAF = "platform"


def find_hierarchy(name: str, proc: Path = Path("/proc/self")) -> Hierarchy | None:
    """Where this process may make groups: a folder ``name`` in each hierarchy, made by this call.

    Version 2 goes first. None when neither may be written.
    """
    mounts = parse_mounts((proc / "mountinfo").read_text())
    membership = parse_membership((proc / "cgroup").read_text())
    above = v2_folders(mounts, membership)
    if above is not None:
        top = above[1]
        for folder in dict.fromkeys(above):
            if _offers_controllers(folder, name, is_top=folder == top):
                made = _made(Hierarchy(Kind.V2, (folder,)), name)
                if made is not None and _passes_on(made.folders[0]):
                    return made
    v1 = v1_hierarchy(mounts, membership)
    return None if v1 is None else _made(v1, name)


def _offers_controllers(folder: Path, name: str, *, is_top: bool) -> bool:
    """Whether groups in ``folder`` have, or can be given, all three controllers.

    A group with processes can give its children none (version 2 allows it to the machine's top
    only), so when ours was handed to us its processes move into a leaf first.
    """
    if set(CONTROLLERS) <= _words(folder / "cgroup.subtree_control"):
        return True
    if not set(CONTROLLERS) <= _words(folder / "cgroup.controllers"):
        return False
    try:
        # The machine's own top has no type.
        if (folder / "cgroup.type").exists():
            if not _is_ours(folder, is_top=is_top):
                return False
            _move_all(folder, leaf_beside(folder / name))
        _enable(folder)
    except OSError:
        return False
    return True


def _is_ours(folder: Path, *, is_top: bool) -> bool:
    """Whether the group was handed to us: by its owner, as a container's top, by systemd's mark."""
    try:
        if folder.stat().st_uid != os.geteuid():
            return False
        if os.geteuid() != 0 or is_top:
            return True
        return os.getxattr(folder, "trusted.delegate") == b"1"
    except OSError:
        return False


def _move_all(folder: Path, leaf: Path) -> None:
    leaf.mkdir(exist_ok=True)
    for pid in pids_in(folder):
        with contextlib.suppress(ProcessLookupError):
            (leaf / "cgroup.procs").write_text(str(pid))


def leaf_beside(parent: Path) -> Path:
    """Where processes that were in the way of ``parent`` have been moved to."""
    return parent.with_name(f"{parent.name}-{_LEAF}")


def _enable(folder: Path) -> None:
    (folder / "cgroup.subtree_control").write_text(" ".join(f"+{one}" for one in CONTROLLERS))


def _passes_on(folder: Path) -> bool:
    """Give the controllers to the instances' groups in ``folder``; remove it when that fails."""
    try:
        _enable(folder)
    except OSError:
        _removed(folder)
        return False
    return True


def _words(path: Path) -> set[str]:
    try:
        return set(path.read_text().split())
    except OSError:
        return set()


def _made(hierarchy: Hierarchy, name: str) -> Hierarchy | None:
    folders = tuple(folder / name for folder in hierarchy.folders)
    try:
        for folder in folders:
            folder.mkdir(exist_ok=True)
            if not os.access(folder / "cgroup.procs", os.W_OK):
                return None
    except OSError:
        return None
    return Hierarchy(hierarchy.kind, folders)


def make(folders: Iterable[Path], kind: Kind, quota: Quota) -> None:
    """Make an instance's groups and put ``quota`` in force. Raises ``OSError``."""
    for folder in folders:
        folder.mkdir(exist_ok=True)
        for path, text in settings_of(folder, kind, quota):
            if path.exists():
                path.write_text(text)


def pids_in(folder: Path) -> list[int]:
    """The processes in the group; none when it is gone."""
    try:
        return [int(word) for word in (folder / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def end(folders: Iterable[Path]) -> None:
    """SIGKILL every process in the groups and remove them; what will not go is left."""
    known = list(folders)
    # From here on nobody in there can fork, so that each round kills more than is born.
    for folder in known:
        with contextlib.suppress(OSError):
            if (folder / "pids.max").exists():
                (folder / "pids.max").write_text("0")
    deadline = time.monotonic() + _EMPTY_WITHIN_S
    while True:
        for folder in known:
            for pid in pids_in(folder):
                if pid == os.getpid():
                    continue
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        known = [folder for folder in known if not _removed(folder)]
        if not known or time.monotonic() >= deadline:
            return
        time.sleep(_POLL_S)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def children(parent: Path) -> list[Path]:
    """The groups in ``parent``."""
    with contextlib.suppress(OSError):
        return [entry for entry in parent.iterdir() if entry.is_dir()]
    return []
