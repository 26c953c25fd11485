"""A real PostgreSQL for the tests, and the fixture that puts any test on it.

``MODELYARD_TEST_DATABASE=postgres pytest tests/integration`` runs the ordinary integration tests on
PostgreSQL: every test then finds ``MODELYARD_DATABASE_URL`` set to a fresh database of its own, as
a person would set it. Without the variable nothing here does anything.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

_USER = "modelyard"
_START_LIMIT_S = 60.0


def binaries() -> Path | None:
    """The folder of the newest installed PostgreSQL's programs; None when there is none."""
    found = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    on_path = shutil.which("postgres")
    if on_path and not found:
        found.append(Path(on_path).resolve().parent)
    return max(found, key=lambda p: (p.parent.name.zfill(6), str(p)), default=None)


def _as_postgres(argv: Sequence[str]) -> list[str]:
    """PostgreSQL refuses to run as root: then it runs as the system's ``postgres`` user."""
    if os.geteuid() != 0:
        return list(argv)
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *argv]


class PostgresServer:
    """One throw-away server on a loopback port; a context manager.

    Durability is off: nothing outlives the test. Raises ``RuntimeError`` when it does not start.
    """

    def __init__(self) -> None:
        folder = binaries()
        if folder is None:
            raise RuntimeError("PostgreSQL is not installed (package postgresql)")
        self._bin = folder
        self._password = secrets.token_hex(8)
        self._databases = 0

    def __enter__(self) -> Self:
        self._home = Path(tempfile.mkdtemp(prefix="modelyard-pg-"))
        self._log = self._home / "server.log"
        password_file = self._home / "password"
        password_file.write_text(self._password)
        if os.geteuid() == 0:
            for path in (self._home, password_file):
                shutil.chown(path, "postgres", "postgres")
        data = self._home / "data"
        self._run("initdb", "-D", str(data), "-U", _USER, "-A", "scram-sha-256", "--no-sync",
                  "-E", "UTF8", "--locale=C", f"--pwfile={password_file}")  # fmt: skip
        self.port = self._free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": "200",
        }
        argv = [str(self._bin / "postgres"), "-D", str(data)]
        argv += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                _as_postgres(argv), stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        try:
            self._wait_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        # SIGINT: PostgreSQL's fast shutdown, which ends the sessions that are still open.
        self._server.send_signal(signal.SIGINT)
        try:
            self._server.wait(30)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    def new_database(self) -> str:
        """A fresh empty database, as SQLAlchemy's URL for asyncpg."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.psql(f"CREATE DATABASE {name}")
        return f"postgresql+asyncpg://{_USER}:{self._password}@127.0.0.1:{self.port}/{name}"

    def psql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement and give its rows, unaligned."""
        return self._run(
            "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", _USER, "-d", database,
            "-XAtqc", statement,
        )  # fmt: skip

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            _as_postgres([str(self._bin / program), *arguments]),
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "PGPASSWORD": self._password},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()[-500:]}")
        return done.stdout.strip()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _START_LIMIT_S
        while True:
            try:
                self.psql("SELECT 1")
            except RuntimeError as error:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    tail = self._log.read_text(errors="replace")[-500:]
                    raise RuntimeError(f"PostgreSQL did not start: {error}; {tail}") from error
                time.sleep(0.05)
            else:
                return

    @staticmethod
    def _free_port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])


def wanted() -> bool:
    return os.environ.get("MODELYARD_TEST_DATABASE") == "postgres"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the test session; skips, with the reason, where PostgreSQL is missing."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def _database_of_the_session(request: pytest.FixtureRequest) -> Iterator[None]:
    """For what the session's tests share."""
    with pytest.MonkeyPatch.context() as patch:
        if wanted():
            server: PostgresServer = request.getfixturevalue("postgres_server")
            patch.setenv("MODELYARD_DATABASE_URL", server.new_database())
        yield


@pytest.fixture(autouse=True)
def _database_of_the_test(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if wanted():
        server: PostgresServer = request.getfixturevalue("postgres_server")
        monkeypatch.setenv("MODELYARD_DATABASE_URL", server.new_database())
