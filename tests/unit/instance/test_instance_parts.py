"""Environment, log, spec and back-off."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from modelyard_instance.environment import lend_packages, worker_environment
from modelyard_instance.logs import LogStream, RotatingLog
from modelyard_instance.pool.process import describe_exit
from modelyard_instance.spec import BadSpec, Spec, read_spec

SPEC = Spec(
    "i-1",
    "s",
    "p",
    "m",
    "flowers",
    "0.0.1",
    "PyTorch",
    "/pkg",
    envs={"LEVEL": "info", "MODELYARD_INSTANCE_ID": "forged", "OMP_NUM_THREADS": "7"},
    cpu=2.5,
)


def test_the_environment_is_clean_but_for_the_services_own() -> None:
    ours = {
        "PATH": "/bin",
        "MODELYARD_ADMIN_PASSWORD": "secret",
        "MODELYARD_DATABASE_URL": "postgresql://u:secret@h/d",
        "OS_PASSWORD": "secret",
        "HOME": "/root",
        "PYTHONPATH": "/elsewhere",
    }
    found = worker_environment(SPEC, Path("/run/i-1"), ours)
    assert "secret" not in str(found)
    assert "PYTHONPATH" not in found
    assert found["PATH"] == "/bin"
    assert found["HOME"] == "/run/i-1/work"
    assert found["LEVEL"] == "info"
    assert found["MODELYARD_INSTANCE_ID"] == "i-1"
    assert found["MKL_NUM_THREADS"] == "2"
    assert found["OMP_NUM_THREADS"] == "7"
    assert found["MODEL_NAME"] == "flowers"


def test_a_small_share_of_a_core_still_gets_one_thread() -> None:
    spec = Spec("i", "s", "p", "m", "n", "0.0.1", "PyTorch", "/pkg", cpu=0.25)
    assert worker_environment(spec, Path("/x"), {})["OMP_NUM_THREADS"] == "1"


def test_a_foreign_interpreter_finds_the_worker_and_its_own_programs() -> None:
    envs = {"PYTHONPATH": "/theirs"}
    spec = Spec("i", "s", "p", "m", "n", "0.0.1", "PyTorch", "/pkg", envs, python="/env/bin/python")
    found = worker_environment(spec, Path("/run/i"), {"PATH": "/bin"})
    assert found["PATH"] == "/env/bin:/bin"
    assert found["PYTHONPATH"] == "/run/i/lib:/theirs"


def test_a_foreign_interpreter_sees_only_what_it_needs(tmp_path: Path) -> None:
    lend_packages(tmp_path)
    lend_packages(tmp_path)
    names = {one.name for one in (tmp_path / "lib").iterdir()}
    assert names == {"modelyard_instance"}
    assert (tmp_path / "lib" / "modelyard_instance" / "worker" / "__main__.py").is_file()


@pytest.mark.parametrize(
    ("version", "own", "lent"), [("", False, True), ("", True, False), ("9", False, False)]
)
def test_orjson_is_lent_where_it_fits_and_is_missed(
    tmp_path: Path, version: str, own: bool, lent: bool
) -> None:
    ours = f"python{sys.version_info.major}.{sys.version_info.minor}{version}"
    installed = tmp_path / "env" / "lib" / ours / "site-packages"
    installed.mkdir(parents=True)
    if own:
        (installed / "orjson").mkdir()
    lend_packages(tmp_path, str(tmp_path / "env" / "bin" / "python"))
    assert (tmp_path / "lib" / "orjson" / "__init__.py").is_file() is lent


def test_the_log_rotates_by_size_and_stamps_each_line(tmp_path: Path) -> None:
    path = tmp_path / "a" / "x.log"
    log = RotatingLog(path, limit=200, kept=3)
    for number in range(20):
        log.write("model", b"line %d\nand more" % number)
    log.close()
    assert {one.name for one in path.parent.iterdir()} == {"x.log", "x.log.1", "x.log.2"}
    assert all(one.stat().st_size <= 200 for one in path.parent.iterdir())
    last = path.read_text().splitlines()[-1]
    assert last.endswith("Z model and more")
    assert last[:2] == "20"


def test_a_rotation_that_fails_leaves_other_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.log"
    log = RotatingLog(path, limit=100)
    log.write("model", b"x" * 60)

    def full(*_: object) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", full)
        log.write("model", b"y" * 60)
    ours, theirs = socket.socketpair()  # these take the lowest free numbers
    with ours, theirs:
        theirs.setblocking(False)
        log.write("model", b"z" * 60)
        for end in (ours, theirs):
            end.setblocking(False)
            with pytest.raises(BlockingIOError):
                end.recv(1)
    log.close()
    assert path.read_text().endswith("z\n")
    assert {one.name for one in tmp_path.iterdir()} == {"x.log", "x.log.1"}


def test_a_flood_is_dropped_with_a_count(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    log = RotatingLog(path)
    for _ in range(10):
        log.write("model", b"x" * (1 << 20))
    log._second -= 1
    log.write("model", b"after")
    log.close()
    assert "bytes of output were dropped" in path.read_text()
    assert path.stat().st_size < 5 * (1 << 20)


def test_prints_of_the_front_reach_the_log(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "x.log")
    print("a\nb", "c", file=LogStream(log))
    log.close()
    lines = (tmp_path / "x.log").read_text().splitlines()
    assert [one.split(" ", 2)[2] for one in lines] == ["a", "b c"]


def test_a_spec_is_checked(tmp_path: Path) -> None:
    names = "service_id project_id model_id model_name model_type package_dir"
    content = dict.fromkeys(names.split(), "x")
    path = tmp_path / "spec.json"
    with pytest.raises(BadSpec, match=r"spec\.json"):
        read_spec(tmp_path)
    path.write_text(json.dumps({**content, "instance_id": "a", "model_version": "0.0.1", "new": 1}))
    assert read_spec(tmp_path).instance_id == "a"
    path.write_text(json.dumps({**content, "instance_id": "a\r\nb", "model_version": "0.0.1"}))
    with pytest.raises(BadSpec, match="instance_id"):
        read_spec(tmp_path)
    path.write_text(json.dumps(content))
    with pytest.raises(BadSpec, match="instance_id"):
        read_spec(tmp_path)


def test_exits_are_told_in_words() -> None:
    assert describe_exit(3) == "it exited with status 3"
    assert describe_exit(-9) == "it was killed by SIGKILL"
    assert describe_exit(-99) == "it was killed by signal 99"
