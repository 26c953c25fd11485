"""Run a program that must not outlive us and shall not be in the way: ``tether.py PARENT ARGV…``.

Started by path with ``python -I -S``: it knows nothing but the standard library. The program gets a
low priority, makes files that other users may read, and is killed when ``PARENT`` dies.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_NICE = 10


def main() -> None:
    """Become the program."""
    parent, *argv = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit(1)
    os.nice(_NICE)
    os.umask(0o022)
    os.execv(argv[0], argv)  # noqa: S606


if __name__ == "__main__":
    main()
