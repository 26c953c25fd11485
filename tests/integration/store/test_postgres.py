"""The platform on a real PostgreSQL: the whole life of a service, and the ordinary tests again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from live import entry, import_echo, load, put, service, show, update, wait_status, wait_update
from postgres import PostgresServer, binaries, wanted
from stack import Stack

_INTEGRATION = Path(__file__).resolve().parents[1]
# Enough to meet every table and every kind of statement; MODELYARD_POSTGRES_TESTS=all runs the
# whole folder.
_CHOSEN = (
    "test_conditions.py",
    "test_loop.py",
    "test_migrations.py",
    "test_pools.py",
    "test_reports.py",
    "test_time_travel.py",
)
_LIMIT_S = 580


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with PostgresServer() as running:
        yield running


def test_a_service_lives_on_postgres(server: PostgresServer, tmp_path: Path) -> None:
    url = server.new_database()
    with Stack(env={"MODELYARD_DATABASE_URL": url}) as stack:
        first, second = (import_echo(stack, tmp_path, "pg", f"{n}.0.0") for n in (1, 2))
        with (
            service(stack, [entry(first, 100)], description="on PostgreSQL") as service_id,
            load(stack, service_id, tmp_path, rate=200) as running,
        ):
            running.wait_more(100)
            update(stack, service_id, [entry(first, 20, 2), entry(second, 80)])
            answer = put(stack, service_id, {"config": [entry(second, 100, 2)]})
            assert answer.status_code == 200, answer.text
            stack.kill_control_plane()
            running.wait_more(200)
            stack.up()
            assert wait_update(stack, service_id)["result"] == "SUCCESS"
            running.wait_more(100)
            assert stack.predict(service_id, {}).json()["version"] == "2.0.0"
            summary = running.stop()
            assert put(stack, service_id, {"status": "stopped"}).status_code == 200
            wait_status(stack, service_id, "stopped")
            assert stack.predict(service_id, {}).json()["error_code"] == "ModelArts.4203"
            assert put(stack, service_id, {"status": "running"}).status_code == 200
            wait_status(stack, service_id, "running")
            assert show(stack, service_id)["description"] == "on PostgreSQL"
        assert summary.failed == []
        assert not list(stack.home.glob("*.db*")), "SQLite was used beside PostgreSQL"
        missing = stack.client.get(f"/v1/{stack.project_id}/services/no-uuid-at-all")
        assert missing.status_code == 404, missing.text
    assert int(server.psql("SELECT count(*) FROM pg_stat_user_tables", url.rsplit("/", 1)[1])) > 5


def database_tests() -> list[str]:
    """The integration tests that keep something in the store, or a choice of them."""
    if os.environ.get("MODELYARD_POSTGRES_TESTS") != "all":
        return [str(found) for name in _CHOSEN for found in _INTEGRATION.rglob(name)]
    return sorted(
        str(path)
        for path in _INTEGRATION.rglob("test_*.py")
        if path.name != Path(__file__).name
        and any(
            word in path.read_text(encoding="utf-8")
            for word in ("Database", "Settings(", "stack", "catalogue_support", "loop_support")
        )
    )


@pytest.mark.timeout(_LIMIT_S + 20)
@pytest.mark.skipif(wanted(), reason="this run is on PostgreSQL already")
def test_the_ordinary_integration_tests_pass_on_postgres(tmp_path: Path) -> None:
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    files = database_tests()
    assert files
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "postgres",
         "--basetemp", str(tmp_path / "again"), *files],
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
            "MODELYARD_TEST_DATABASE": "postgres",
            "PYTHONPATH": str(_INTEGRATION.parent / "support"),
        },
        cwd=_INTEGRATION.parents[1],
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
