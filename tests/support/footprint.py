"""What a platform leaves on the machine: processes, ports, sockets, files; to find leaks by."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from modelyard.runtime.limits.groups import children
from modelyard.runtime.limits.instance_limits import read_in_force
from modelyard.runtime.local.sweep import marked
from modelyard_instance.forks import PLACE
from stack import processes_of


@dataclass(frozen=True)
class Footprint:
    """``files`` are those of ``run`` outside the instances' folders, ``groups`` the control groups
    of instances by their ids.
    """

    instances: frozenset[str]
    files: frozenset[str]
    groups: frozenset[str]
    strangers: frozenset[int]
    ports: int

    def leaks(self, living: Collection[str], files: frozenset[str]) -> list[str]:
        """What is there beside ``living`` instances (one port each, one for all) and ``files``."""
        found = [f"instance folder {name}" for name in sorted(self.instances - set(living))]
        found += [f"no folder of instance {name}" for name in sorted(set(living) - self.instances)]
        found += [f"control group of {name}" for name in sorted(self.groups - set(living))]
        found += [f"file {name}" for name in sorted(self.files - files)]
        found += [f"process {_line(pid)}" for pid in sorted(self.strangers)]
        if self.ports != len(living) + 1:
            found.append(f"{self.ports} listening ports for {len(living)} instances and a gateway")
        return found


def footprint(home: Path, living: Collection[str], ours: Collection[int]) -> Footprint:
    """Look now. ``living``: ids of the instances on record, ``ours``: control plane and such."""
    run = home / "run"
    folders = frozenset(path.name for path in (run / "instances").iterdir())
    files = frozenset(str(path.relative_to(run)) for path in _files(run))
    of_instances = {pid for instance_id in living for pid in marked(instance_id)}
    processes = processes_of(home)
    known = of_instances | set(ours) | set(marked(PLACE))
    return Footprint(
        instances=folders,
        files=files,
        groups=frozenset(
            group.name for parent in read_in_force(run).parents for group in children(Path(parent))
        ),
        strangers=frozenset(p.pid for p in processes if p.pid not in known),
        ports=_listening(of_instances | {p.pid for p in processes}),
    )


def _files(run: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(run):
        here = Path(at)
        # Not looked into: instances come and go meanwhile.
        inside = here != run / "instances"
        # There is one for each engine as soon as an instance of it was started.
        yield from (
            here / name for name in (*folders, *names) if inside and not name.startswith("warm-")
        )
        if not inside:
            folders.clear()


def _listening(pids: Collection[int]) -> int:
    """How many TCP ports these processes listen on."""
    inodes = {inode for pid in pids for inode in _sockets(pid)}
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return len({row[1] for row in rows if row[3] == "0A" and row[9] in inodes})


def _sockets(pid: int) -> set[str]:
    found = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(descriptor)
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        return found
    return found


def _line(pid: int) -> str:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return f"{pid} (gone)"
    return f"{pid} {line.decode(errors='replace')}"
