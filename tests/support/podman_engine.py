"""A container engine for the tests, and a custom image made without any registry.

Podman with its own store in a temporary folder, serving its API on a socket there; the image is
this Python, packed into a tar with a small server.
"""

from __future__ import annotations

import datetime
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from modelyard.processes import alive
from stack import processes_of

_SERVER = Path(__file__).parents[1] / "images" / "server.py"
_LEFT_OUT = {
    *("test", "tests", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip", "distutils"),
    *("site-packages", "dist-packages", "pydoc_data", "curses", "dbm", "sqlite3", "unittest"),
}
# What the server needs of the extension modules, and what those need in their turn.
_EXTENSIONS = {"_asyncio", "_bz2", "_contextvars", "_hashlib", "_json", "_lzma", "_ssl"}
_EXTENSIONS |= {"_socket", "_struct", "array", "binascii", "fcntl", "math", "select", "zlib"}
_EXTENSIONS |= {"_heapq", "_opcode", "_posixsubprocess", "_queue", "_random", "_sha512", "_bisect"}
START_LIMIT_S = 60.0


def missing() -> str:
    """Why no engine can be had here; empty when one can."""
    if os.geteuid() != 0:
        return "the tests' engine needs root"
    if shutil.which("podman") is None:
        return "podman is not installed: apt-get install podman runc"
    if not (shutil.which("runc") or shutil.which("crun")):
        return "no OCI runtime is installed: apt-get install runc"
    return ""


class Podman:
    """A throw-away engine; a context manager. ``socket`` is its address for the Docker SDK.

    ``reached_without``: whether containers are reached while it does not serve.
    """

    reached_without = True

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="my-pod-"))
        self.socket = f"unix://{self.home}/api.sock"
        self._server: subprocess.Popen[bytes] | None = None
        self._driver = "overlay"

    def __enter__(self) -> Self:
        try:
            self._choose_driver()
            self.serve()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        self.stop_serving()
        self.command("rm", "--all", "--force", "--time", "0", check=False)
        self.command("rmi", "--all", "--force", check=False)
        self._sweep()
        shutil.rmtree(self.home, ignore_errors=True)

    def _sweep(self) -> None:
        """End what watches over commands that have ended long since, and let go of the store."""
        for process in processes_of(self.home):
            if alive(process):
                os.kill(process.pid, signal.SIGKILL)
        for line in Path("/proc/mounts").read_text().splitlines():
            place = line.split()[1]
            if place.startswith(f"{self.home}/"):
                subprocess.run(["umount", "--lazy", place], capture_output=True)

    def serve(self) -> None:
        """Begin to answer on the socket."""
        log = (self.home / "service.log").open("ab")
        with log:
            self._server = subprocess.Popen(
                [*self._program, "system", "service", "--time", "0", self.socket],
                cwd=self.home,  # conmon leaves a file ``oom`` in it when a container runs out
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_LIMIT_S
        while not Path(self.socket.removeprefix("unix://")).exists():
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.home / "service.log").read_text()[-1000:])
            time.sleep(0.02)

    def stop_serving(self) -> None:
        """The engine does not answer any more; its containers go on."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait(30)
            self._server = None
        Path(self.socket.removeprefix("unix://")).unlink(missing_ok=True)

    def command(self, *arguments: str, check: bool = True, given: bytes | None = None) -> str:
        """Run podman on this store; gives what it prints."""
        done = subprocess.run([*self._program, *arguments], input=given, capture_output=True)
        if check and done.returncode:
            told = done.stderr.decode(errors="replace")[-1000:]
            raise RuntimeError(f"podman {arguments[0]} failed: {told}")
        return done.stdout.decode(errors="replace").strip()

    def build(self, name: str, tar: bytes, **variables: object) -> str:
        """Make the image ``localhost/NAME:RANDOM`` of a tree; gives its address."""
        address = f"localhost/{name}:{uuid.uuid4().hex[:12]}"
        changes = [f"ENV {key}={value}" for key, value in variables.items()]
        changes += ['CMD ["/python/bin/python3", "/app/server.py"]', "EXPOSE 8080/tcp"]
        flags = [part for change in changes for part in ("--change", change)]
        self.command("import", *flags, "-", address, given=tar)
        return address

    def inspect(self, name: str) -> dict[str, Any]:
        """The engine's document of a container."""
        found: dict[str, Any] = json.loads(self.command("inspect", name))[0]
        return found

    def kept_log(self, name: str) -> Path:
        """The file in which the engine keeps what a container prints."""
        return Path(self.inspect(name)["HostConfig"]["LogConfig"]["Path"])

    def containers(self) -> list[str]:
        """The names of all containers, running or not."""
        return self.command("ps", "--all", "--format", "{{.Names}}").split()

    @property
    def _program(self) -> list[str]:
        runtime = "runc" if shutil.which("runc") else "crun"
        return [
            *("podman", "--root", f"{self.home}/store", "--runroot", f"{self.home}/run"),
            *("--tmpdir", f"{self.home}/tmp", "--runtime", runtime),
            *("--cgroup-manager", "cgroupfs", "--events-backend", "file"),
            *("--storage-driver", self._driver),
        ]

    def _choose_driver(self) -> None:
        """Overlay where the kernel lends it to us, plain copies elsewhere."""
        try:
            self.command("info")
        except RuntimeError:
            shutil.rmtree(self.home / "store", ignore_errors=True)
            self._driver = "vfs"
            self.command("info")


def python_tree() -> bytes:
    """A tar of this Python with what it is linked to, the server and a certificate."""
    buffer = io.BytesIO()
    stdlib = Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix}))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        program = Path(os.path.realpath(sys.executable))
        tar.add(program, "python/bin/python3")
        extensions = [
            path
            for path in sorted((stdlib / "lib-dynload").glob("*.so"))
            if path.name.split(".")[0] in _EXTENSIONS
        ]
        for library in _linked([program, *extensions]):
            tar.add(os.path.realpath(library), str(library).lstrip("/"))
        tar.add(stdlib, f"python/lib/{version}", filter=_wanted)
        tar.add(_SERVER, "app/server.py")
        _put(tar, "app/tls.pem", _certificate())
        for folder in ("tmp", "etc", "proc", "dev", "sys"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(entry)
    return buffer.getvalue()


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = entry.name.split("/")
    unwanted = _LEFT_OUT.intersection(parts) or any(p.startswith("config-") for p in parts)
    if parts[-2] == "lib-dynload" and parts[-1].split(".")[0] not in _EXTENSIONS:
        return None
    return None if unwanted else entry


def _linked(files: list[Path]) -> list[Path]:
    """Every shared library that the files need, where their loader looks for it."""
    told = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True).stdout
    words = (word for line in told.splitlines() for word in line.split())
    found = {word for word in words if word.startswith("/") and not word.endswith(":")}
    return [Path(word) for word in sorted(found) if Path(word).is_file()]


def _certificate() -> bytes:
    """A key and a certificate that nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    secret = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    return secret + certificate.public_bytes(encoding)


def _put(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o755
    tar.addfile(entry, io.BytesIO(content))


class Images:
    """Makes the images of the tests in one engine; the tree is packed once."""

    def __init__(self, podman: Podman) -> None:
        self.podman = podman
        self._tree = python_tree()
        self._made: dict[str, str] = {}

    def make(self, version: str) -> str:
        """An image that answers as ``version``; gives its address."""
        if version not in self._made:
            self._made[version] = self.podman.build("server", self._tree, VERSION=version)
        return self._made[version]


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """An engine for the worker's tests; skips, loudly, where none can be had.

    ``MODELYARD_TEST_ENGINE=docker`` has them run with Docker.
    """
    import docker_engine

    docker = os.environ.get("MODELYARD_TEST_ENGINE") == "docker"
    reason = docker_engine.missing() if docker else missing()
    if reason:
        pytest.skip(f"NO CONTAINER ENGINE: {reason}")
    with docker_engine.Docker() if docker else Podman() as engine:
        yield engine


@pytest.fixture(scope="session")
def images(podman: Podman) -> Images:
    return Images(podman)


def container_name(podman: Podman, instance_id: str) -> str:
    """The container of an instance."""
    return next(name for name in podman.containers() if name.endswith(instance_id))


def cgroup_value(pid: int, controller: str, name: str, unified: str) -> str:
    """What the kernel holds the process to: file ``name`` of a v1 controller, or ``unified``."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            found = Path(f"/sys/fs/cgroup/{controller}{path}/{name}")
            if found.exists():
                return found.read_text().strip()
    line = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1]
    return Path(f"/sys/fs/cgroup{line.split(':', 2)[2]}/{unified}").read_text().strip()
