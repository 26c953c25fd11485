"""A home with a package that has an environment of its own, for the tests of its zygote."""

from __future__ import annotations

import json
import os
import shutil
import sysconfig
import tempfile
import venv
from pathlib import Path
from typing import Any

from instance_support import instance_spec, until_ready, wait_for, write_package
from modelyard.domain.rollout.instance import InstanceReport, InstanceSpec
from modelyard.processes import ProcessIdentity
from modelyard.runtime.limits.instance_limits import Limits
from modelyard.runtime.local.local_runtime import LocalRuntime
from modelyard.runtime.local.zygotes import WarmStarts, end_all, zygotes

TELLTALE = """
import os, random, resource, signal, sys, threading
import numpy
from model_service.model_service import SingleNodeService
KEPT = ("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Threads", "SigIgn", "SigBlk", "Cap")
class Telltale(SingleNodeService):
    def inference(self, data):
        if data.get("die"):
            os.abort()
        while data.get("loop"):
            pass
        found = {}
        exec(data.get("do", ""), globals(), found)
        with open("/proc/self/status") as file:
            status = {
                line.split(":")[0]: line.split()[1:]
                for line in file if line.startswith(KEPT)
            }
        fds = {}
        for one in os.listdir("/proc/self/fd"):
            try:
                fds[one] = os.readlink(f"/proc/self/fd/{one}")
            except OSError:
                pass
        with open("/proc/self/cmdline") as file:
            forked = "reserve" in file.read()
        return {
            "pid": os.getpid(), "parent": os.getppid(), "group": os.getpgid(0),
            "cwd": os.getcwd(), "environment": dict(os.environ), "status": status, "fds": fds,
            "random": [random.random(), float(numpy.random.rand())], "forked": forked,
            "tasks": len(os.listdir("/proc/self/task")), "argv": sys.argv,
            "python": sys.executable, "answer": found.get("answer"),
            "limits": {
                name: resource.getrlimit(getattr(resource, name))
                for name in dir(resource) if name.startswith("RLIMIT_")
            },
        }
"""


class Yard:
    """A home with an environment, in a folder with a short name, so that sockets fit."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="own-"))
        self.run, self.sockets = self.root / "run", self.root / "s"
        self.instances = self.run / "instances"
        for folder in (self.instances, self.sockets):
            folder.mkdir(parents=True, mode=0o700)
        self.package = write_package(self.root / "packages" / "telltale", TELLTALE)
        self.python = environment(self.root / "environments" / "digest")
        self.warm = WarmStarts(self.sockets, self.root / "logs")
        self.runtime = self.open()

    def open(self, limits: Limits | None = None) -> LocalRuntime:
        self.runtime = LocalRuntime(
            self.instances, self.root / "logs", warm=self.warm, limits=limits
        )
        return self.runtime

    def limits(self) -> Limits:
        return Limits(
            node=f"{os.getpid():08x}",
            home=self.root,
            instances_dir=self.instances,
            run_dir=self.run,
            ids=range(60_000, 65_000),
            pids=64,
        )

    def spec(self, name: str, **more: Any) -> InstanceSpec:
        return instance_spec(name, self.root, self.package, **{"python": str(self.python), **more})

    async def ready(self, spec: InstanceSpec) -> InstanceReport:
        return await until_ready(self.runtime, spec)

    async def reserve(self) -> ProcessIdentity:
        """The zygote of the environment, once it listens; it was ordered by a first start."""
        path = self.reserve_socket()
        wait_for(lambda: str(path) in listening(), "the zygote to listen")
        (found,) = [one for one in zygotes(self.sockets) if is_of(one, b"reserve")]
        return found

    def reserve_socket(self) -> Path:
        """Once it has its name."""
        pattern = "warm-reserve-*.sock"
        wait_for(lambda: list(self.sockets.glob(pattern)) != [], "the zygote's socket")
        (path,) = self.sockets.glob(pattern)
        return path

    async def end(self) -> None:
        for report in await self.runtime.list():
            await self.runtime.stop(report.instance_id)
        self.runtime.close()
        await end_all(self.sockets)
        assert zygotes(self.sockets) == []
        shutil.rmtree(self.root)


def environment(folder: Path) -> Path:
    """An interpreter with what we have ourselves, as if it had been installed there."""
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "all.pth").write_text(sysconfig.get_path("purelib"))
    (folder / "environment.json").write_text(json.dumps({"wanted": ["scikit-learn==1.0"]}))
    return python


def install(python: Path, name: str, source: str) -> None:
    """Add the distribution ``name`` to the environment, as one that was asked for."""
    (packages,) = (python.parent.parent / "lib").glob("python*/site-packages")
    (packages / f"{name}.py").write_text(source)
    told = packages / f"{name}-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (told / "RECORD").write_text(f"{name}.py,,\n{name}-1.0.dist-info/METADATA,,\n")
    manifest = {"wanted": ["scikit-learn", f"{name}==1.0"]}
    (python.parent.parent.parent / "environment.json").write_text(json.dumps(manifest))


def listening() -> set[str]:
    """The Unix sockets that somebody listens at."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {words[7] for words in lines if len(words) > 7 and words[3] == "00010000"}


def is_of(process: ProcessIdentity, word: bytes) -> bool:
    """Whether the word is in its command line."""
    return word in Path(f"/proc/{process.pid}/cmdline").read_bytes()
