"""A process that only forks and goes on is shut in like one that runs a new program."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from modelyard.runtime.limits.users import holders, in_use, lent, missing_capabilities
from modelyard_instance.sandbox.confine import Confinement, enter
from modelyard_instance.sandbox.mount_view import prctl
from modelyard_instance.sandbox.namespaces import map_user, never_enter_another, new_user_namespace

UID = 64_321


def forked(plan: Confinement, work: Path) -> dict[str, Any]:
    """What a child of ours finds once it has entered."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.chdir(work)
            enter(plan, work)
            found = {
                "uid": os.getresuid(),
                "gid": os.getresgid(),
                "groups": os.getgroups(),
                "score": Path("/proc/self/oom_score_adj").read_text(),
                "status": Path("/proc/self/status").read_text(),
                "own": len(list(Path("/proc/self/fd").iterdir())) > 0,
                "here": str(Path.cwd()),
                "beside": sorted(os.listdir(work.parent)),
                "files": Path("/proc/self/limits").read_text(),
            }
            os.write(theirs, json.dumps(found).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as words:
        told = words.read()
    os.waitpid(child, 0)
    found: dict[str, Any] = json.loads(told)
    return found


def test_who_can_still_become_a_user_is_found() -> None:
    """A namespace outlives the instance that it was made for, by whoever stays in it."""
    missing = missing_capabilities(Path("/proc/self/status").read_text())
    if os.geteuid() != 0 or missing:
        pytest.skip(f"NOT ROOT, OR A ROOT WITHOUT {missing}: no users of their own are tested")
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            enter(Confinement(uid=UID))
            new_user_namespace()
            theirs.send(b"here")
            time.sleep(600)
        finally:
            os._exit(0)
    try:
        assert ours.recv(4) == b"here"
        folder = os.open(f"/proc/{child}", os.O_RDONLY)
        map_user(folder, UID + 1)
        os.close(folder)
        assert UID in in_use()
        assert UID + 1 in lent()
        assert child in holders(UID + 1)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert UID + 1 not in lent()


def test_nobody_enters_the_namespaces_of_another_any_more() -> None:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            prctl(38, 1)  # no new privileges
            never_enter_another()
            libc = ctypes.CDLL(None, use_errno=True)
            own = os.open("/proc/self/ns/uts", os.O_RDONLY)
            refused = libc.setns(own, 0) == -1 and ctypes.get_errno() == errno.EPERM
            # All else goes on.
            status = 0 if refused and os.getpid() and list(Path("/").iterdir()) else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_a_fork_that_enters_is_another_user_in_another_view(tmp_path: Path) -> None:
    missing = missing_capabilities(Path("/proc/self/status").read_text())
    if os.geteuid() != 0 or missing:
        pytest.skip(f"NOT ROOT, OR A ROOT WITHOUT {missing}: no users of their own are tested")
    home = tmp_path / "home"
    work = home / "work"
    work.mkdir(parents=True)
    (home / "secret").write_text("x")
    (home / "shown").write_text("x")
    os.chown(work, UID, UID)
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    scratch.chmod(0o1777)
    plan = Confinement(
        uid=UID,
        hidden=(str(home),),
        shown=(str(home / "shown"),),
        scratch=str(scratch),
        processes=32,
        open_files=64,
    )
    found = forked(plan, work)
    assert found["uid"] == found["gid"] == [UID] * 3
    assert found["groups"] == []
    assert found["score"].strip() == "500"
    assert "NoNewPrivs:\t1" in found["status"]
    assert "CapEff:\t0000000000000000" in found["status"]
    assert found["own"], "it may look at itself"
    assert found["here"] == str(work)
    assert found["beside"] == ["shown", "work"]
    limits = {line[:25].strip(): line[25:].split() for line in found["files"].splitlines()}
    assert limits["Max open files"][:2] == ["64", "64"]
    assert limits["Max processes"][:2] == ["32", "32"]
    assert limits["Max core file size"][:2] == ["0", "0"]
    assert sorted(os.listdir(home)) == ["secret", "shown", "work"], "the machine's own is as it was"
