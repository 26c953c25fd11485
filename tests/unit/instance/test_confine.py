"""What an instance is told of its confinement, and what it makes of the kernel's counts."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from modelyard_instance.sandbox.confine import (
    NAME,
    Confinement,
    oom_kills,
    parse_confinement,
    parse_oom_kills,
    read_confinement,
)
from modelyard_instance.sandbox.confined_launch import MemoryWatch


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_confinement(tmp_path) is None
    plan = Confinement(("/cg/a", "/cg/b"), 60_001, ("/h",), ("/h/p",), (("/l", "/h"),), "/h/t", 512)
    (tmp_path / NAME).write_bytes(plan.document())
    assert read_confinement(tmp_path) == plan


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"groups": 1}'])
def test_an_instance_does_not_run_free_for_an_unreadable_file(text: bytes) -> None:
    with pytest.raises(ValueError, match=NAME):
        parse_confinement(text)


def test_what_a_former_release_wrote_is_understood() -> None:
    assert parse_confinement(b'{"groups": ["/cg/a"], "uid": 0}') == Confinement(("/cg/a",))


def test_the_counts_of_both_versions() -> None:
    assert parse_oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n") == 3
    assert parse_oom_kills("low 0\nhigh 0\nmax 9\noom 4\noom_kill 2\noom_group_kill 0\n") == 2
    assert parse_oom_kills("") == 0


def test_a_death_is_memorys_only_when_the_count_has_grown(tmp_path: Path) -> None:
    counts = tmp_path / "memory.oom_control"
    counts.write_text("oom_kill 1\n")
    plan = Confinement(groups=(str(tmp_path / "cpu"), str(tmp_path)), memory_mb=300)
    assert oom_kills(plan) == 1
    (tmp_path / NAME).write_bytes(plan.document())
    guard = MemoryWatch(tmp_path)
    assert guard.cause(-signal.SIGKILL) == ""
    counts.write_text("oom_kill 2\n")
    assert guard.cause(-signal.SIGABRT) == ""
    assert guard.cause(-signal.SIGKILL) == (
        "out of memory: over the 300 MB of its flavour; choose a larger one"
    )
    assert MemoryWatch(tmp_path / "free").cause(-signal.SIGKILL) == ""
