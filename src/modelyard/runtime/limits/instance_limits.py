"""Holding local instances to their flavour, and their code to a user of its own.

What this machine allows is found out once per start of the platform (``Limits.find``) and written
down, so that ``modelyard status`` can tell: control groups of version 2 where they are delegated
to us, else of version 1, else rlimits; a user per instance where the platform is root. How a
process is shut in is ``modelyard_instance/sandbox/confine.py``'s; what it is told lies in
``confinement.json`` in the instance's folder, which also lets a later control plane, or
``modelyard down``, end what is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from modelyard.domain.rollout.instance import InstanceSpec
from modelyard.processes import write_private
from modelyard.runtime.folders import InstanceFolder, reserves_dir
from modelyard.runtime.limits import groups, users
from modelyard.runtime.limits.cgroups import CONTROLLERS, Kind, Quota
from modelyard_instance.environment import LIBRARY
from modelyard_instance.sandbox import confine
from modelyard_instance.sandbox.confine import Confinement
from modelyard_instance.sandbox.trial import FORKED

RECORD = "limits.json"
"""In the folder of the platform's records."""

RESERVE = "reserve-"
"""What the name of a zygote of a package's environment begins with, and of its control group."""

OPEN_FILES = 16_384
# What a zygote of a package's environment may use: it only imports.
_RESERVE_CPU, _RESERVE_MEMORY_MB = 1.0, 4096
_TRIAL_TIMEOUT_S = 60.0
# Where some packages look for themselves (models.md §9).
_PACKAGE_LINK = "/home/mind"
_ROUNDS = 10
_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class InForce:
    """What holds instances on this machine. ``warnings`` say what does not, and why.

    ``users``: the ids that instances get one of; empty: they run as the platform's user.
    ``parents``: the control groups that hold those of the instances.
    """

    kind: str = ""
    users: str = ""
    parents: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def sentence(self) -> str:
        """One line for people."""
        if not self.kind:
            return "told when the platform runs"
        controllers = f" ({', '.join(CONTROLLERS)})" if self.parents else ""
        own = f"users {self.users}" if self.users else "the platform's own user"
        return f"{self.kind}{controllers}, {own}"


def read_in_force(run_dir: Path) -> InForce:
    """What the platform whose records lie in ``run_dir`` found when it was started last."""
    try:
        data = json.loads((run_dir / RECORD).read_bytes())
        return InForce(
            str(data["kind"]),
            str(data["users"]),
            tuple(str(one) for one in data["parents"]),
            tuple(str(one) for one in data["warnings"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return InForce()


class Limits:
    """Shuts local instances in. ``node``: 8 hex digits that name the platform's home.

    ``ids``: user ids for instances, empty for none. ``pids``: most processes and threads of one.
    ``on`` False: no limits of resources; users are given all the same.
    """

    def __init__(
        self,
        *,
        node: str,
        home: Path,
        instances_dir: Path,
        run_dir: Path,
        ids: range = range(0),
        pids: int = 512,
        on: bool = True,
    ) -> None:
        # Of the place as well: a copied home has the same node, and is not to end our instances.
        self._name = f"modelyard-{node}-{zlib.crc32(os.fsencode(home)):08x}"
        self._home = home
        self._instances_dir = instances_dir
        self._run_dir = run_dir
        self._ids = ids
        self._pids = pids
        self._on = on
        self._kind = Kind.OFF
        self._parents: tuple[Path, ...] = ()
        self._has_users = False
        self._may_fork = False
        # Those whom foreign code may have kept the right to become.
        self._lent: set[int] = set()
        self._lock = threading.Lock()
        self._taken: dict[str, int] = {}

    def find(self) -> InForce:
        """Find out what this machine allows, once, and end what dead instances have left.

        Raises ``OSError`` when not even the records can be written.
        """
        warnings = []
        former = read_in_force(self._run_dir).parents
        if self._on:
            hierarchy = groups.find_hierarchy(self._name)
            self._kind = hierarchy.kind if hierarchy else Kind.RLIMITS
            self._parents = hierarchy.folders if hierarchy else ()
            if hierarchy is None:
                warnings.append(
                    "no control group can be made here, so a process of an instance is held to "
                    "the flavour's memory by an rlimit, and nothing holds it to its cores: run "
                    "the platform as root, or in a systemd unit with Delegate=yes"
                )
        trouble = self._why_no_users()
        self._has_users = not trouble
        if trouble:
            warnings.append(f"instances run as the platform's own user: {trouble}")
        found = InForce(
            self._kind,
            f"{self._ids.start}-{self._ids.stop - 1}" if self._has_users else "",
            tuple(str(one) for one in self._parents),
            tuple(warnings),
        )
        write_private(self._run_dir / RECORD, json.dumps(asdict(found)).encode())
        self._lent = users.lent()
        self._sweep({*former, *found.parents})
        return found

    def prepare(self, spec: InstanceSpec, folder: InstanceFolder, python: str) -> Mapping[str, str]:
        """Make ready what the instance will be shut in by, before its front is launched.

        ``python``: the front's interpreter. Gives what the front's environment must say more.
        Raises ``OSError``.
        """
        parents = [parent / spec.instance_id for parent in self._parents]
        uid = self._take_id(spec.instance_id) if self._has_users else 0
        plan = Confinement(
            groups=tuple(str(one) for one in parents),
            uid=uid,
            memory_mb=spec.memory_mb if self._on else 0,
            data_bytes=spec.memory_mb * _MB if self._kind is Kind.RLIMITS else 0,
            processes=self._pids if self._on and not parents else 0,
            open_files=OPEN_FILES if self._on else 0,
        )
        if uid:
            if spec.python:
                self._lent.add(uid)
            plan = self._with_view(plan, spec, folder.path, python)
            _give_scratch(folder.path)
            os.chown(folder.path / "spec.json", -1, uid)
            (folder.path / "spec.json").chmod(0o640)
            for place in self._needed_of_home(spec):
                users.let_others_read(place)
        # First, so that whoever finds the groups finds out what they were for.
        write_private(folder.path / confine.NAME, plan.document())
        groups.make(parents, self._kind, Quota(spec.cpu, spec.memory_mb, self._pids))
        return {"TMPDIR": "/tmp"} if uid else {}  # noqa: S108

    def lends(self) -> bool:
        """Whether foreign code may fork instances' workers here, and nothing of it is left free.

        Without users of their own, all run as the platform's; with them, the kernel has to allow
        it, and control groups to find all that it leaves.
        """
        return not self._has_users or (self._may_fork and bool(self._parents))

    def prepare_reserve(self, name: str, folder: Path, python: str) -> Mapping[str, str]:
        """As ``prepare``, for the zygote ``name`` in ``folder``, of ``python``'s environment."""
        parents = [parent / name for parent in self._parents]
        uid = self._take_id(name) if self._has_users else 0
        plan = Confinement(
            groups=tuple(str(one) for one in parents),
            uid=uid,
            memory_mb=_RESERVE_MEMORY_MB if self._on else 0,
            open_files=OPEN_FILES if self._on else 0,
        )
        if uid:
            shown = [folder / LIBRARY, *users.interpreter_folders(Path(python))]
            plan = replace(plan, scratch=str(folder / "tmp"))
            plan = _shown(plan, self._home, [*shown, *_program_folders(sys.executable)])
            _give_scratch(folder)
            os.chown(folder / "work", uid, uid)
            for place in self._in_home(users.interpreter_folders(Path(python))):
                users.let_others_read(place)
        write_private(folder / confine.NAME, plan.document())
        quota = Quota(_RESERVE_CPU, _RESERVE_MEMORY_MB, self._pids)
        groups.make(parents, self._kind, quota)
        # What is found by these while it is imported has to be in place for every worker.
        return {"TMPDIR": "/tmp", "HOME": "/home/work"} if uid else {}  # noqa: S108

    def release(self, instance_id: str) -> None:
        """The instance is no more: its user may be another's."""
        with self._lock:
            self._taken.pop(instance_id, None)

    def _take_id(self, instance_id: str) -> int:
        with self._lock:
            if instance_id in self._taken:
                return self._taken[instance_id]
            taken = {*self._taken.values(), *users.in_use()}
            uid = users.pick(instance_id, self._ids, taken)
            if uid in self._lent:
                self._lent &= users.lent()
                uid = users.pick(instance_id, self._ids, taken | self._lent)
            if uid is None:
                raise OSError(
                    f"all {len(self._ids)} user ids of MODELYARD_INSTANCE_UIDS are taken; widen it"
                )
            self._taken[instance_id] = uid
            return uid

    def _with_view(
        self, plan: Confinement, spec: InstanceSpec, folder: Path, python: str
    ) -> Confinement:
        shown = [
            Path(spec.package_dir),
            folder / "spec.json",
            folder / LIBRARY,
            *_program_folders(python),
            *(users.interpreter_folders(Path(spec.python)) if spec.python else ()),
        ]
        links = ((_PACKAGE_LINK, spec.package_dir),)
        plan = replace(plan, links=links, scratch=str(folder / "tmp"))
        return _shown(plan, self._home, shown)

    def _needed_of_home(self, spec: InstanceSpec) -> list[Path]:
        """What an instance needs of the home, where only we may look: package and environment."""
        places = [Path(spec.package_dir)]
        if spec.python:
            places += users.interpreter_folders(Path(spec.python))
        return self._in_home(places)

    def _in_home(self, places: list[Path]) -> list[Path]:
        return [one for one in places if self._home in one.parents]

    def _why_no_users(self) -> str:
        """Why instances cannot have users of their own; empty when they can. Tries it."""
        if not self._ids:
            return "MODELYARD_INSTANCE_UIDS is empty"
        if os.geteuid() != 0:
            return "only a platform that runs as root can give them others"
        missing = users.missing_capabilities(Path("/proc/self/status").read_text())
        if missing:
            return f"this root lacks {', '.join(missing)}"
        folder = self._run_dir / "trial"
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            plan = Confinement(uid=self._ids.start)
            plan = _shown(plan, self._home, _program_folders(sys.executable))
            write_private(folder / confine.NAME, plan.document())
            told, trouble = _try_out(folder)
            self._may_fork = FORKED in told
            return trouble
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _sweep(self, parents: set[str]) -> None:
        """Learn the users of living instances; end the groups of those that are no more."""
        for folder in (self._instances_dir, reserves_dir(self._instances_dir)):
            for path in folder.iterdir() if folder.is_dir() else ():
                plan = _plan_in(path)
                if plan is not None and plan.uid:
                    self._taken[path.name] = plan.uid
        for parent in map(Path, parents):
            for group in groups.children(parent):
                reserve = group.name.startswith(RESERVE) and groups.pids_in(group)
                if not reserve and not (self._instances_dir / group.name).is_dir():
                    groups.end([group])
            if parent not in self._parents:
                with contextlib.suppress(OSError):
                    parent.rmdir()


def end(folder: Path) -> None:
    """SIGKILL whatever the instance in ``folder`` is shut in with, and remove its groups."""
    plan = _plan_in(folder)
    if plan is None:
        return
    groups.end(Path(one) for one in plan.groups)
    if plan.uid and (not plan.groups or (folder / LIBRARY).exists()):
        # Who forks workers in an environment of their own may have kept one out of the groups.
        _end_user(plan.uid)


def forget_reserve(folder: Path) -> None:
    """Remove the groups of the zygote in ``folder``, which has ended; its nurseries go on."""
    plan = _plan_in(folder)
    if plan is not None:
        groups.end(Path(one) for one in plan.groups)


def why_killed(folder: Path) -> str:
    """That the kernel killed in the instance's group for its memory; empty when it did not."""
    plan = _plan_in(folder)
    if plan is None or not confine.oom_kills(plan):
        return ""
    return confine.out_of_memory(plan.memory_mb)


def take_away(run_dir: Path) -> None:
    """Remove the groups of a platform that is down; what is in use stays."""
    for parent in map(Path, read_in_force(run_dir).parents):
        for group in groups.children(parent):
            groups.end([group])
        for folder in (parent, groups.leaf_beside(parent)):
            with contextlib.suppress(OSError):
                folder.rmdir()
    shutil.rmtree(reserves_dir(run_dir / "instances"), ignore_errors=True)
    (run_dir / RECORD).unlink(missing_ok=True)


def _plan_in(folder: Path) -> Confinement | None:
    try:
        return confine.read_confinement(folder)
    except (OSError, ValueError):
        return None


def _end_user(uid: int) -> None:
    """SIGKILL the user's processes, also those forked while we look, and who could become it."""
    for _ in range(_ROUNDS):
        pids = list(users.holders(uid))
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _program_folders(python: str) -> list[Path]:
    """What the worker's program is made of: an interpreter and these sources."""
    sources = Path(confine.__file__).resolve().parents[2]
    return [*users.interpreter_folders(Path(python)), Path(sys.prefix), sources]


def _shown(plan: Confinement, home: Path, shown: list[Path]) -> Confinement:
    # A link may lead to where others may not go.
    shown = [path for one in shown for path in (one, one.resolve())]
    hidden = users.hidden_places(home, shown)
    return replace(
        plan,
        hidden=tuple(str(one) for one in hidden),
        shown=tuple(dict.fromkeys(str(one) for one in shown)),
    )


def _give_scratch(folder: Path) -> None:
    # As any /tmp: what we make there for a view, the user can neither rename nor replace.
    (folder / "tmp").mkdir(exist_ok=True)
    (folder / "tmp").chmod(0o1777)


def _try_out(folder: Path) -> tuple[list[str], str]:
    """What a trial says, and why it failed, if it did."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "modelyard_instance.sandbox.trial", "--dir", str(folder)],
            env={"PATH": os.defpath},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TRIAL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], f"a trial of it failed: {error}"
    if done.returncode == 0:
        return done.stdout.split(), ""
    lines = done.stderr.strip().splitlines()
    return [], f"a trial of it failed: {lines[-1] if lines else f'status {done.returncode}'}"
