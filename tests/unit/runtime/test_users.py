"""Which user an instance gets, and what its processes must see of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelyard.runtime.limits.users import (
    closed_above,
    hidden_places,
    in_use,
    interpreter_folders,
    let_others_read,
    mapped,
    missing_capabilities,
    owners,
    pick,
)


def test_a_free_id_is_picked_until_there_is_none() -> None:
    ids = range(100, 110)
    taken: set[int] = set()
    for number in range(10):
        found = pick(f"instance-{number}", ids, taken)
        assert found in ids
        assert found not in taken
        taken.add(found)
    assert pick("one-more", ids, taken) is None


def test_where_to_look_first_depends_on_the_instance() -> None:
    ids = range(60_000, 65_000)
    assert len({pick(f"instance-{number}", ids, ()) for number in range(50)}) > 40
    assert pick("a", ids, ()) == pick("a", ids, ())


def test_missing_capabilities_are_named() -> None:
    assert missing_capabilities("CapEff:\t000001ffffffffff\n") == []
    without_mounts = "CapInh:\t0\nCapEff:\t00000000a80425fb\n"
    assert missing_capabilities(without_mounts) == ["CAP_SYS_ADMIN"]
    assert len(missing_capabilities("")) == 6


def test_our_own_process_has_its_owner() -> None:
    assert (os.getpid(), os.getuid()) in list(owners())
    assert os.getuid() in in_use()


def test_the_home_and_what_bars_the_way_are_hidden() -> None:
    closed = {Path("/root"), Path("/srv/closed"), Path("/root/home")}

    def may_pass(folder: Path) -> bool:
        return folder not in closed

    needed = [Path("/root/python"), Path("/srv/closed/deep/package"), Path("/usr")]
    assert closed_above(needed[1], may_pass) == Path("/srv/closed")
    assert closed_above(needed[2], may_pass) is None
    open_home = hidden_places(Path("/srv/home"), needed, may_pass)
    assert open_home == [Path("/home"), Path("/root"), Path("/srv/closed"), Path("/srv/home")]
    assert hidden_places(Path("/root/home"), needed, may_pass) == [
        Path("/home"),
        Path("/root"),
        Path("/srv/closed"),
    ]


def test_an_interpreter_needs_all_installations_on_the_way_to_its_program(tmp_path: Path) -> None:
    real = tmp_path / "python-3.11.7"
    (real / "bin").mkdir(parents=True)
    (real / "bin" / "python3.11").touch()
    (real / "bin" / "python3").symlink_to("python3.11")
    (tmp_path / "python-3.11").symlink_to(real)
    environment = tmp_path / "environment"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(tmp_path / "python-3.11" / "bin" / "python3")
    found = interpreter_folders(environment / "bin" / "python")
    assert found == [environment, tmp_path / "python-3.11", real]


def test_a_package_becomes_readable_and_nothing_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_text("x")
    outside.chmod(0o600)
    package = tmp_path / "package"
    (package / "model").mkdir(parents=True, mode=0o700)
    script = package / "model" / "run.sh"
    script.write_text("x")
    script.chmod(0o700)
    (package / "model" / "link").symlink_to(outside)
    package.chmod(0o700)
    let_others_read(package)
    assert script.stat().st_mode & 0o777 == 0o705
    assert (package / "model").stat().st_mode & 0o777 & 0o005 == 0o005
    assert package.stat().st_mode & 0o777 == 0o705
    assert outside.stat().st_mode & 0o777 == 0o600
    script.chmod(0o700)
    let_others_read(package)
    assert script.stat().st_mode & 0o777 == 0o700, "what is done is not done again"
    with pytest.raises(FileNotFoundError):
        let_others_read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("         0          0 4294967295\n", set()),
        ("     60001      60001          1\n", {60001}),
        ("0 1000 1\n1 100000 65536\n7 9 1\n", {1000, 9}),
        ("", set()),
    ],
)
def test_whom_a_process_can_become_stands_in_its_map(text: str, found: set[int]) -> None:
    assert mapped(text) == found
