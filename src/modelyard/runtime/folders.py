"""The folders of local instances: what lies in them, made whole and taken away whole.

::

    <instances_dir>/<instance_id>/
        spec.json      what was ordered, with the log's place
        process.json   pid and start time, written by whoever launched it
        state.json     the front's own word: pid, start time, port, phase, message
        launch.log     what the front printed before it had a log
        confinement.json  what the instance is shut in by, if anything (``runtime/limits``)
        work/          the worker's current folder
        tmp/           what the worker finds as /tmp, when it has a user of its own

A folder appears under its name only when its ``spec.json`` is complete.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from modelyard.domain.rollout.instance import InstanceSpec
from modelyard.processes import ProcessIdentity, write_private, write_record

_PLAIN = re.compile(r"[A-Za-z0-9][\w.-]{0,127}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class FrontState:
    """``state.json``: what the front said last. ``phase`` is in its own words."""

    process: ProcessIdentity
    port: int
    phase: str
    message: str


@dataclass(frozen=True, slots=True)
class InstanceFolder:
    """One instance's folder, and the few facts needed to report on it."""

    path: Path
    instance_id: str
    service_id: str
    model_id: str
    log_file: Path

    @property
    def launch_log(self) -> Path:
        return self.path / "launch.log"

    def state(self) -> FrontState | None:
        """The front's word, or None before its first."""
        try:
            data = json.loads((self.path / "state.json").read_bytes())
            if data["instance_id"] != self.instance_id:
                return None
            return FrontState(
                ProcessIdentity(int(data["pid"]), int(data["start_ticks"])),
                int(data["port"]),
                str(data["phase"]),
                str(data["message"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def recorded(self) -> ProcessIdentity | None:
        """The process that was launched here last, alive or not."""
        try:
            data = json.loads((self.path / "process.json").read_bytes())
            return ProcessIdentity(int(data["pid"]), int(data["start_ticks"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def record(self, process: ProcessIdentity) -> None:
        """Leave word of the launched process."""
        write_record(self.path / "process.json", process, instance_id=self.instance_id)

    def remove(self) -> None:
        """Take the folder away; the log stays."""
        # Under another name first: cut off half-way, nobody would know it for an instance's again.
        aside = self.path.with_name(f".{self.path.name}.gone")
        try:
            self.path.rename(aside)
        except OSError:
            aside = self.path
        shutil.rmtree(aside, ignore_errors=True)


def reserves_dir(instances_dir: Path) -> Path:
    """Where the folders of packages' zygotes lie (``runtime/local/env_zygotes.py``). Pure."""
    return instances_dir.with_name("reserves")


def is_plain(name: str) -> bool:
    """Whether ``name`` may be a folder's name. Pure."""
    return _PLAIN.match(name) is not None


def create(instances_dir: Path, log_file: Path, spec: InstanceSpec) -> InstanceFolder:
    """Make the folder of ``spec``, or order anew in the one that is there.

    Raises ``OSError``, and ``ValueError`` for ids that cannot name a folder.
    """
    for name in (spec.instance_id, spec.service_id):
        if not is_plain(name):
            raise ValueError(f"{name!r} cannot name a folder")
    path = instances_dir / spec.instance_id
    folder = InstanceFolder(path, spec.instance_id, spec.service_id, spec.model_id, log_file)
    content = json.dumps({**asdict(spec), "envs": dict(spec.envs), "log_file": str(log_file)})
    if path.is_dir():
        write_private(path / "spec.json", content.encode())
        return folder
    aside = instances_dir / f".{spec.instance_id}.new"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True, mode=0o700)
    write_private(aside / "spec.json", content.encode())
    aside.rename(path)
    return folder


def forget_unfinished(instances_dir: Path) -> None:
    """Remove what was left by a launch or a removal that was cut off half-way."""
    for aside in (*instances_dir.glob(".*.new"), *instances_dir.glob(".*.gone")):
        shutil.rmtree(aside, ignore_errors=True)


def read(path: Path) -> InstanceFolder | None:
    """The instance in ``path``, or None when there is none."""
    try:
        data = json.loads((path / "spec.json").read_bytes())
        if data["instance_id"] != path.name:
            return None
        return InstanceFolder(
            path,
            str(data["instance_id"]),
            str(data["service_id"]),
            str(data["model_id"]),
            Path(str(data["log_file"])),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def scan(instances_dir: Path) -> Iterator[InstanceFolder]:
    """Every instance under ``instances_dir``."""
    try:
        paths = sorted(instances_dir.iterdir())
    except FileNotFoundError:
        return
    for path in paths:
        if is_plain(path.name) and (found := read(path)) is not None:
            yield found
