"""``/home/mind/model``: where some packages look for their own files (models.md §9).

A process may have its own view of the file system. As root it takes a private mount namespace, else
it tries one inside a user namespace. In that view ``/home`` is a small folder in memory with
everything the machine has there, ``mind`` (the package) and ``work`` (empty); the machine's own
``/home`` is not touched.

Needs the standard library only, and a process without threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from modelyard_instance.sandbox import namespaces
from modelyard_instance.spec import Spec

HOME = Path("/home")
NAMED = b"/home/mind"
_TEXTS = (".py", ".json", ".txt", ".cfg", ".ini", ".yaml", ".yml", ".toml")
_LARGEST = 1 << 20
_MOST_FILES = 2000

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_BIND, _MS_MOVE, _MS_REC, _MS_PRIVATE = 1 << 12, 1 << 13, 1 << 14, 1 << 18
_MS_NOSUID, _MS_NODEV = 1 << 1, 1 << 2
_MNT_DETACH = 1 << 1

logger = logging.getLogger(__name__)


def show_package_at_home(spec: Spec) -> bool:
    """Make ``spec.package_dir`` reachable as ``/home/mind`` for this process; whether it is.

    To be called before the package is imported, before threads start and, best, before privileges
    are dropped; harmless when somebody has called it already. Never raises: where the machine
    allows neither way, a package whose texts name ``/home/mind`` gets a warning in its log, and no
    path is rewritten. Without root only such a package is given a user namespace at all.
    """
    with contextlib.suppress(OSError):
        if (HOME / "mind").samefile(spec.package_dir):
            return True
    wanted = names_home(spec.model_dir)
    root = os.geteuid() == 0
    if sys.platform != "linux" or not (wanted or root):
        return False
    try:
        if root:
            _unshare(_CLONE_NEWNS)
        else:
            _unshare_as_user()
        _arrange(Path(spec.package_dir))
        if not root:
            # What a new user namespace brought.
            namespaces.give_up_rights()
    except OSError as error:
        if wanted:
            logger.warning(
                "the package names /home/mind, which this machine cannot show it (%s): start the "
                "platform as root, allow user namespaces, or let the script use model_path",
                error,
            )
        return False
    return True


def names_home(model_dir: Path) -> bool:
    """Whether a text file of the package holds ``/home/mind``."""
    for path in _texts(model_dir):
        with contextlib.suppress(OSError), path.open("rb") as file:
            if NAMED in file.read(_LARGEST):
                return True
    return False


def _texts(model_dir: Path) -> Iterator[Path]:
    seen = 0
    for at, _, names in os.walk(model_dir):
        for name in names:
            seen += 1
            if seen > _MOST_FILES:
                return
            if name.endswith(_TEXTS):
                yield Path(at) / name


def _arrange(package: Path) -> None:
    """Build the new ``/home`` in a folder aside and move it into place. Raises ``OSError``."""
    home = HOME.resolve(strict=True)
    # Nothing that is mounted from here on reaches the rest of the machine.
    _mount(None, Path("/"), None, _MS_REC | _MS_PRIVATE, None)
    # Not by tempfile, whose import takes longer than all of this.
    aside = Path(os.environ.get("TMPDIR") or "/tmp") / f"modelyard-home-{os.urandom(8).hex()}"  # noqa: S108
    aside.mkdir(mode=0o700)
    try:
        _build(home, package, aside)
    finally:
        # Whatever of it has not been moved into place; nothing, unless something failed.
        ctypes.CDLL(None).umount2(os.fsencode(aside), _MNT_DETACH)
        with contextlib.suppress(OSError):
            aside.rmdir()


def _build(home: Path, package: Path, aside: Path) -> None:
    _mount("tmpfs", aside, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for there in home.iterdir():
        if there.name not in ("mind", "work"):
            _copy_entry(there, aside / there.name)
    (aside / "mind").mkdir()
    _mount(str(package), aside / "mind", None, _MS_BIND | _MS_REC, None)
    (aside / "work").mkdir()
    if (home / "work").is_dir():
        _mount(str(home / "work"), aside / "work", None, _MS_BIND | _MS_REC, None)
    _mount(str(aside), home, None, _MS_MOVE, None)


def _copy_entry(there: Path, here: Path) -> None:
    if there.is_symlink():
        here.symlink_to(there.readlink())
        return
    if there.is_dir():
        here.mkdir()
    else:
        here.touch()
    _mount(str(there), here, None, _MS_BIND | _MS_REC, None)


def _unshare_as_user() -> None:
    """A user namespace in which we keep our own ids, with a mount namespace inside it."""
    uid, gid = os.geteuid(), os.getegid()
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNS)
    Path("/proc/self/setgroups").write_bytes(b"deny")
    Path("/proc/self/uid_map").write_bytes(b"%d %d 1" % (uid, uid))
    Path("/proc/self/gid_map").write_bytes(b"%d %d 1" % (gid, gid))


def _unshare(flags: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")


def _mount(
    source: str | None, target: Path, kind: str | None, flags: int, data: str | None
) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    words = [None if one is None else os.fsencode(one) for one in (source, target, kind)]
    options = None if data is None else data.encode()
    if library.mount(*words, ctypes.c_ulong(flags), options) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {target}: {os.strerror(number)}")
