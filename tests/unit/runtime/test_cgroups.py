"""Where control groups may lie, and what is written into them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from modelyard.runtime.limits import groups
from modelyard.runtime.limits.cgroups import (
    Hierarchy,
    Kind,
    Mount,
    Quota,
    own_folder,
    parse_membership,
    parse_mounts,
    settings_of,
    v1_hierarchy,
    v2_folders,
)

V1_MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /box /sys/fs/cgroup/my\\040memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
"""
V1_MEMBERSHIP = "9:name=systemd:/\n8:pids:/a\n4:memory:/box/b\n1:cpu,cpuacct:/\n0::/\n"


def test_version_1_has_one_folder_for_each_controller() -> None:
    found = v1_hierarchy(parse_mounts(V1_MOUNTS), parse_membership(V1_MEMBERSHIP))
    assert found == Hierarchy(
        Kind.V1,
        (
            Path("/sys/fs/cgroup/cpu,cpuacct"),
            Path("/sys/fs/cgroup/my memory/b"),
            Path("/sys/fs/cgroup/pids/a"),
        ),
    )


@pytest.mark.parametrize("missing", ["cpu", "memory", "pids"])
def test_version_1_without_a_controller_is_none(missing: str) -> None:
    lines = [line for line in V1_MOUNTS.splitlines() if f"rw,{missing}" not in line]
    mounts = parse_mounts("\n".join(lines))
    assert v1_hierarchy(mounts, parse_membership(V1_MEMBERSHIP)) is None


def test_controllers_that_share_a_hierarchy_share_a_folder() -> None:
    mounts = parse_mounts("32 31 0:29 / /cg rw - cgroup cgroup rw,cpu,memory,pids\n")
    found = v1_hierarchy(mounts, parse_membership("1:cpu,memory,pids:/x\n"))
    assert found == Hierarchy(Kind.V1, (Path("/cg/x"),))


def test_a_group_outside_of_the_mount_is_taken_at_its_top() -> None:
    mount = Mount(Path("/cg"), PurePosixPath("/docker/1"), frozenset({"memory"}), False)
    assert own_folder(mount, PurePosixPath("/docker/1/in")) == Path("/cg/in")
    assert own_folder(mount, PurePosixPath("/elsewhere")) == Path("/cg")


def test_what_is_written() -> None:
    quota = Quota(cpu=0.25, memory_mb=512, pids=64)
    folder = Path("/cg/i")
    assert settings_of(folder, Kind.V2, quota) == [
        (folder / "cpu.max", "25000 100000"),
        (folder / "memory.max", "536870912"),
        (folder / "memory.swap.max", "0"),
        (folder / "pids.max", "64"),
    ]
    written = [(path.name, text) for path, text in settings_of(folder, Kind.V1, quota)]
    assert written == [
        ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_quota_us", "25000"),
        ("memory.limit_in_bytes", "536870912"),
        ("memory.memsw.limit_in_bytes", "536870912"),
        ("pids.max", "64"),
    ]


def test_the_kernel_takes_no_less_than_a_hundredth_of_a_core() -> None:
    tiny = settings_of(Path("/cg"), Kind.V2, Quota(cpu=0.001, memory_mb=1, pids=1))
    assert tiny[0][1] == "1000 100000"


class V2:
    """A tree of plain files where the kernel would have one of control groups."""

    def __init__(self, root: Path, own: str, enabled: str = "", *, typed: bool = True) -> None:
        self.top = root / "cg"
        self.own = self.top / own
        self.proc = root / "proc"
        self.proc.mkdir()
        self.own.mkdir(parents=True)
        mountinfo = f"30 1 0:1 / {self.top} rw - cgroup2 cgroup2 rw\n"
        (self.proc / "mountinfo").write_text(mountinfo)
        (self.proc / "cgroup").write_text(f"0::/{own}\n")
        for folder in {self.top, self.own}:
            (folder / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
            (folder / "cgroup.subtree_control").write_text(enabled)
            (folder / "cgroup.procs").write_text("")
            if typed:
                (folder / "cgroup.type").write_text("domain\n")

    def find(self, monkeypatch: pytest.MonkeyPatch) -> Hierarchy | None:
        # The kernel fills a new group with its files; here that is done for it.
        real = Path.mkdir

        def mkdir(path: Path, *arguments: object, **more: object) -> None:
            real(path, *arguments, **more)  # type: ignore[arg-type]
            for name in ("cgroup.procs", "cgroup.subtree_control"):
                (path / name).touch()

        monkeypatch.setattr(Path, "mkdir", mkdir)
        return groups.find_hierarchy("modelyard-1", self.proc)


def test_version_2_whose_group_passes_its_controllers_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = V2(tmp_path, "unit", enabled="cpu memory pids")
    assert tree.find(monkeypatch) == Hierarchy(Kind.V2, (tree.own / "modelyard-1",))
    assert (tree.own / "modelyard-1" / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_version_2_in_a_container_moves_its_processes_into_a_leaf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = V2(tmp_path, ".")
    (tree.top / "cgroup.procs").write_text("17\n")
    assert tree.find(monkeypatch) == Hierarchy(Kind.V2, (tree.top / "modelyard-1",))
    assert (tree.top / "modelyard-1-platform" / "cgroup.procs").read_text() == "17"
    assert (tree.top / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_version_2_leaves_a_group_alone_that_was_not_handed_to_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login session's, say: then it is the machine's top, when that passes controllers on."""
    tree = V2(tmp_path, "session")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    (tree.top / "cgroup.subtree_control").write_text("cpu memory pids")
    (tree.own / "cgroup.procs").write_text("17\n")
    found = tree.find(monkeypatch)
    assert found == Hierarchy(Kind.V2, (tree.top / "modelyard-1",))
    assert not (tree.own / "modelyard-1-platform").exists()


def test_nothing_where_controllers_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = V2(tmp_path, "unit")
    for folder in (tree.top, tree.own):
        (folder / "cgroup.controllers").write_text("cpu\n")
    assert tree.find(monkeypatch) is None
    assert v2_folders([], {}) is None
