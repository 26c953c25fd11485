"""Mounts that are handed over, and user namespaces with one user in them; Linux, by system calls.

An unprivileged process forks workers of instances that are not its own (``zygotes.env_zygote``).
What such a
worker is to be, and to see, only the front of its instance can give it:

* a **detached** mount of a folder or file, by its descriptor, which the worker attaches where it
  wants to see it (Linux 5.12);
* a **user**: the worker makes a user namespace, in which it may become whom the front maps into it.
  It has all rights there until it gives them up, and none outside. Who made a namespace has rights
  over it for ever, so whoever makes them for others is forbidden to enter any.

Standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same on all machines
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_OPEN_TREE_CLONE = 0x1
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 0x1, 0x2, 0x4
_MS_PRIVATE = 1 << 18
_CLONE_NEWUSER = 0x10000000
_PR_SET_KEEPCAPS, _PR_CAPBSET_DROP = 8, 24
_CAPABILITY_VERSION = 0x20080522
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_REFUSE, _ALLOW = 0x00050000 | errno.EPERM, 0x7FFF0000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
# By machine: its number for the kernel, setns, and where numbers of another kind of call begin.
_MACHINES = {"x86_64": (0xC000003E, 308, 0x40000000), "aarch64": (0xC00000B7, 268, 0xFFFFFFFF)}

_libc = ctypes.CDLL(None, use_errno=True)


def detached(path: str, *, writable: bool) -> int:
    """A descriptor of a mount of ``path`` that is attached nowhere. Raises ``OSError``."""
    descriptor = _system(
        "open_tree",
        _OPEN_TREE,
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.c_uint(_OPEN_TREE_CLONE | os.O_CLOEXEC),
    )
    attributes = _ATTR_NOSUID | _ATTR_NODEV | (0 if writable else _ATTR_RDONLY)
    try:
        _system(
            "mount_setattr",
            _MOUNT_SETATTR,
            ctypes.c_int(descriptor),
            ctypes.c_char_p(b""),
            ctypes.c_uint(_AT_EMPTY_PATH),
            ctypes.c_char_p(struct.pack("QQQQ", attributes, 0, _MS_PRIVATE, 0)),
            ctypes.c_size_t(32),
        )
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def attach(descriptor: int, path: str) -> None:
    """Mount what ``detached`` gave at ``path``, of the same kind. Raises ``OSError``."""
    _system(
        f"move_mount {path}",
        _MOVE_MOUNT,
        ctypes.c_int(descriptor),
        ctypes.c_char_p(b""),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
    )


def new_user_namespace() -> None:
    """Be in one of its own, as nobody yet. Only with one thread. Raises ``OSError``."""
    check("unshare", _libc.unshare(_CLONE_NEWUSER))


def map_user(process: int, uid: int) -> None:
    """Let a process become the user and group ``uid`` in its namespace.

    ``process``: a descriptor of its folder in ``/proc``. For one who is root outside of the
    namespace. Raises ``OSError``.
    """
    for name in ("uid_map", "gid_map"):
        descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=process)
        try:
            os.write(descriptor, b"%d %d 1" % (uid, uid))
        finally:
            os.close(descriptor)


def never_enter_another() -> None:
    """Let nobody from this process on enter a namespace of another. Raises ``OSError``.

    Only for one who can gain no privileges any more.
    """
    number, setns, foreign = _MACHINES.get(platform.machine(), (0, 0, 0))
    if not number:
        raise OSError(errno.ENOSYS, f"not known how to on {platform.machine()}")
    steps = (
        (_LOAD, 0, 0, 4),
        (_EQUAL, 0, 3, number),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 1, 0, foreign),
        (_EQUAL, 0, 1, setns),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in steps))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    check("seccomp", _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0))


def become(uid: int) -> None:
    """Be the user and group ``uid`` that was mapped, with all rights in the namespace still.

    Raises ``OSError``.
    """
    check("prctl", _libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    set_user(uid)


def set_user(uid: int) -> None:
    """Be the user ``uid`` in the group of that number, and in no other. Raises ``OSError``."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def give_up_rights() -> None:
    """Have no capabilities any more, nor the chance of any. Raises ``OSError``."""
    for number in range(64):
        # The first that the kernel does not know is the end of them.
        if _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            break
    version_and_self = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    check("capset", _libc.capset(version_and_self, nothing))


def _system(what: str, number: int, *arguments: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    check(what, -1 if result < 0 else 0)
    return result


def check(what: str, result: int) -> None:
    """Raise the ``OSError`` of a call of the C library that gave ``result``, unless it is 0."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
