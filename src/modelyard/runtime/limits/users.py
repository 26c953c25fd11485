"""Users of instances' own: which id is free, and what its processes must see of this machine."""

from __future__ import annotations

import contextlib
import os
import stat
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

# chown, the check of permissions, kill, setgid, setuid, mounts: by their numbers in Linux.
_NEEDED_CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SYS_ADMIN": 21,
}
_HOMES = Path("/home")
_OTHERS_MAY_USE = stat.S_IROTH | stat.S_IXOTH


def missing_capabilities(status: str) -> list[str]:
    """What a process with this ``/proc/<pid>/status`` lacks to give instances their users. Pure."""
    words = next((one.split() for one in status.splitlines() if one.startswith("CapEff:")), [])
    effective = int(words[1], 16) if len(words) == 2 else 0
    return [name for name, bit in _NEEDED_CAPABILITIES.items() if not effective >> bit & 1]


def pick(instance_id: str, ids: range, taken: Collection[int]) -> int | None:
    """A free id for the instance; None when all are taken. Pure.

    Where to look first depends on the instance, so that platforms beside each other seldom meet.
    """
    first = zlib.crc32(instance_id.encode()) % len(ids)
    for offset in range(len(ids)):
        candidate = ids[(first + offset) % len(ids)]
        if candidate not in taken:
            return candidate
    return None


def owners(proc: Path = Path("/proc")) -> Iterator[tuple[int, int]]:
    """(pid, user id) of every process."""
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            # Not the folder's owner: a process can have that be root.
            text = (entry / "status").read_text()
            line = next(one for one in text.splitlines() if one.startswith("Uid:"))
            yield int(entry.name), int(line.split()[1])


def in_use(proc: Path = Path("/proc")) -> set[int]:
    """The users who have processes: a tenth of the time of ``owners``, for each start.

    A process that hides from ``/proc`` counts as root's; it can only keep its user's id from being
    left alone by another platform on this machine.
    """
    found = set()
    with os.scandir(proc) as entries:
        for entry in entries:
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    found.add(entry.stat().st_uid)
    return found


def lent(proc: Path = Path("/proc")) -> set[int]:
    """The users whom some process can become, in a user namespace."""
    found = set()
    for pid, _ in owners(proc):
        with contextlib.suppress(OSError):
            found |= mapped((proc / str(pid) / "uid_map").read_text())
    return found


def mapped(text: str) -> set[int]:
    """The single users that a ``uid_map`` lets its processes become. Pure."""
    lines = [line.split() for line in text.splitlines()]
    return {int(words[1]) for words in lines if words[2] == "1"}


def holders(uid: int, proc: Path = Path("/proc")) -> Iterator[int]:
    """The pids of the user's processes, and of those that can become the user."""
    for pid, owner in owners(proc):
        with contextlib.suppress(OSError, ValueError):
            if owner == uid or uid in mapped((proc / str(pid) / "uid_map").read_text()):
                yield pid


def passable(folder: Path) -> bool:
    """Whether any user may pass ``folder`` on the way to what is in it."""
    try:
        return bool(folder.stat().st_mode & stat.S_IXOTH)
    except OSError:
        return True


def closed_above(path: Path, may_pass: Callable[[Path], bool] = passable) -> Path | None:
    """The outermost folder above ``path`` that is closed to other users."""
    return next((one for one in reversed(path.parents) if not may_pass(one)), None)


def hidden_places(
    home: Path, needed: Iterable[Path], may_pass: Callable[[Path], bool] = passable
) -> list[Path]:
    """What an instance must find empty.

    That is the platform's home, the homes of users, and whatever bars the way to what it needs.
    """
    places = {home, _HOMES} | {closed for one in needed if (closed := closed_above(one, may_pass))}
    return sorted(
        place
        for place in places
        if not any(place != other and place.is_relative_to(other) for other in places)
    )


def interpreter_folders(python: Path) -> list[Path]:
    """The installations that ``python`` needs: its own, and those its links lead to."""
    found: dict[Path, None] = {}
    here = python
    for _ in range(16):
        found[here.parent.parent] = None
        if not here.is_symlink():
            break
        here = Path(os.path.normpath(here.parent / here.readlink()))
    found[python.resolve().parent.parent] = None
    return list(found)


def let_others_read(folder: Path) -> None:
    """Let any user read what is in ``folder``; who gets that far is its parents' business.

    The folder's own mode comes last and says that all is done. Raises ``OSError``.
    """
    if folder.stat().st_mode & _OTHERS_MAY_USE == _OTHERS_MAY_USE:
        return
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            one = Path(path) / name
            mode = one.lstat().st_mode
            if stat.S_ISREG(mode):
                one.chmod(stat.S_IMODE(mode) | stat.S_IROTH | (mode & stat.S_IXUSR) >> 6)
        Path(path).chmod(stat.S_IMODE(Path(path).stat().st_mode) | _OTHERS_MAY_USE)
