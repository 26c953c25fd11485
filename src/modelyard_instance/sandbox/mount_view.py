"""A process's own view of the file system: some places empty, but for what it is shown of them.

Linux only, by a mount namespace, so it wants ``CAP_SYS_ADMIN``. The mounts are the process's and
its children's; they end with the last of them, and nobody else ever sees them.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard_instance.sandbox import namespaces

_CLONE_NEWNS = 0x00020000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT = 0x1, 0x2, 0x4, 0x20
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
# Only empty folders lie there, on the way to what is shown.
_EMPTY = "mode=0755,size=1m"

_TMP = "/tmp"  # noqa: S108
_SHARED_MEMORY = "/dev/shm"  # noqa: S108

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class _Held:
    """A place that is about to be hidden, and by which descriptor it is still reached.

    ``detached``: that is a mount, which was given to us.
    """

    descriptor: int
    path: Path
    is_folder: bool
    writable: bool
    detached: bool


def show_only(
    hidden: Sequence[str],
    shown: Sequence[str],
    writable: Sequence[str],
    *,
    links: Sequence[tuple[str, str]] = (),
    scratch: str = "",
    given: Mapping[str, int] | None = None,
) -> None:
    """Empty the places ``hidden`` for this process, and put ``shown`` and ``writable`` back there.

    ``shown`` can be read only, apart from what is ``writable``. What does not exist, or lies in no
    hidden place, is passed over. ``links``: symbolic links in hidden places, path and target.
    With ``scratch``, a folder, that is the process's ``/tmp``, and its shared memory is its own,
    too; the way to what is shown below ``/tmp`` is made there, so it must be ours and sticky.
    ``given``: detached mounts (``namespaces``) of what we could not reach ourselves, by path.
    Raises ``OSError``.
    """
    given = given or {}
    if scratch:
        hidden = [*hidden, _TMP]
    namespaces.check("unshare", _libc.unshare(_CLONE_NEWNS))
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    held = [
        one
        for paths, may_write in ((shown, False), (writable, True))
        for path in paths
        if any(Path(path).is_relative_to(place) for place in hidden)
        and (one := _hold(path, may_write, given.get(path))) is not None
    ]
    try:
        if scratch:
            if scratch in given:
                namespaces.attach(given[scratch], _TMP)
            else:
                _mount(scratch, _TMP, None, _MS_BIND)
            if Path(_SHARED_MEMORY).is_dir():
                _mount("tmpfs", _SHARED_MEMORY, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=1777")
        for place in hidden:
            # What was in the former /tmp is out of sight already.
            if place != _TMP and Path(place).exists():
                _mount("tmpfs", place, "tmpfs", _MS_NOSUID | _MS_NODEV, _EMPTY)
        # From the outside in: what lies in another shown folder goes on top of it.
        for one in sorted(held, key=lambda one: len(one.path.parts)):
            # In a user namespace, what is mounted in a place cannot be left out of it.
            _show(one, _MS_REC if given else 0)
        for link, target in links:
            _link(Path(link), target, hidden)
    finally:
        for one in held:
            os.close(one.descriptor)
    # The current folder is still the one below the mounts.
    os.chdir(Path.cwd())


def make_way(scratch: str, paths: Iterable[str]) -> None:
    """Make in ``scratch`` what ``show_only`` would make for ``paths`` below ``/tmp``.

    For one who may not: what is made by us, the user can neither rename nor replace. Raises
    ``OSError``.
    """
    for path in map(Path, paths):
        if not path.is_relative_to(_TMP):
            continue
        inside = Path(scratch) / path.relative_to(_TMP)
        _make_way(inside if path.is_dir() else inside.parent)
        if not path.is_dir():
            inside.touch(mode=0o644)


def _hold(path: str, writable: bool, given: int | None) -> _Held | None:
    descriptor = given
    if descriptor is None:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
    is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
    return _Held(descriptor, Path(path), is_folder, writable, given is not None)


def _show(held: _Held, nested: int) -> None:
    if not held.path.exists():
        folder = held.path if held.is_folder else held.path.parent
        _make_way(folder)
        if not held.is_folder:
            held.path.touch(mode=0o644)
    path = str(held.path)
    if held.detached:
        namespaces.attach(held.descriptor, path)
        return
    _mount(f"/proc/self/fd/{held.descriptor}", path, None, _MS_BIND | nested)
    if not held.writable:
        flags = _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV
        _mount("none", path, None, flags)


def _link(path: Path, target: str, hidden: Sequence[str]) -> None:
    """On this machine's own disk nothing is made: only where it is hidden by now."""
    if any(path.is_relative_to(place) and Path(place).exists() for place in hidden):
        _make_way(path.parent)
        if not path.exists():
            path.symlink_to(target)


def _make_way(folder: Path) -> None:
    """Folders that anyone may pass, whatever the umask is."""
    if folder.exists():
        return
    _make_way(folder.parent)
    folder.mkdir()
    folder.chmod(0o755)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    result = _libc.mount(
        source.encode(),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )
    namespaces.check(f"mount {target}", result)


def prctl(option: int, value: int) -> None:
    """``prctl(2)``. Raises ``OSError``."""
    namespaces.check(f"prctl {option}", _libc.prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0))))
