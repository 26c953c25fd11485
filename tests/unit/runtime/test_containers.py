"""The pure parts of the container runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.domain.rollout.instance import Phase
from modelyard.runtime.containers.docker_api import container_of
from modelyard.runtime.containers.engine import usual_sockets
from modelyard.runtime.containers.images import image_facts
from modelyard.runtime.containers.log import Resume, parse_line
from modelyard.runtime.containers.probing import Streak, checks_of
from modelyard.runtime.containers.records import ContainerRecord, Records
from modelyard.runtime.containers.watch import cause_of
from modelyard.runtime.quiet import count

PROBE = {
    "url": "/health",
    "protocol": "http",
    "check_method": "HTTP",
    "command": "",
    "period_seconds": 5,
    "initial_delay_seconds": 12,
    "timeout_seconds": 1,
    "failure_threshold": 3,
}


@pytest.mark.parametrize(
    ("probes", "gates", "liveness"),
    [
        ({}, ["readiness"], None),
        ({"health": PROBE}, ["health"], "health"),
        ({"readiness_health": PROBE, "health": PROBE}, ["readiness"], "health"),
        ({"startup_health": PROBE}, ["startup"], None),
        ({"startup_health": PROBE, "health": PROBE}, ["startup"], "health"),
        (
            {"startup_health": PROBE, "readiness_health": PROBE, "health": {}},
            ["startup", "readiness"],
            None,
        ),
    ],
)
def test_what_gates_and_what_replaces(
    probes: dict[str, object], gates: list[str], liveness: str | None
) -> None:
    checks = checks_of(probes)
    assert [gate.name for gate in checks.gates] == gates
    assert (checks.liveness.name if checks.liveness else None) == liveness


def test_failures_count_in_a_row_and_after_the_delay() -> None:
    check = checks_of({"health": PROBE}).gates[0]
    streak = Streak(check)
    assert [streak.take("status 503", age) for age in (1, 2, 3, 11.9)] == [False] * 4
    assert [streak.take("status 503", age) for age in (12, 17)] == [False] * 2
    assert not streak.take(None, 22)
    assert [streak.take("status 503", 30) for _ in range(3)] == [False, False, True]
    assert streak.told("status 503") == (
        "health check failed 3 times in a row: GET /health: status 503"
    )


def test_before_the_delay_it_is_asked_often() -> None:
    check = checks_of({"health": PROBE}).gates[0]
    assert check.pause_s(0) < 1 < check.pause_s(12) == 5


def test_an_image_without_probes_may_take_its_time() -> None:
    streak = Streak(checks_of({}).gates[0])
    assert not any(streak.take("connection refused", 1000.0) for _ in range(1000))


def test_times_of_lines() -> None:
    assert parse_line(b"2026-01-02T03:04:05Z a b") == ("2026-01-02T03:04:05.000Z", b"a b")
    assert parse_line(b"2026-01-02T05:04:05.5+02:00 a") == ("2026-01-02T03:04:05.500Z", b"a")
    assert parse_line(b"no time") == ("", b"no time")


def test_copying_goes_on_where_it_stopped(tmp_path: Path) -> None:
    log = tmp_path / "i.log"
    log.write_text(
        "2026-01-02T03:04:04.000Z model first\n"
        "2026-01-02T03:04:05.000Z model same\n"
        "2026-01-02T03:04:05.000Z model same\n"
    )
    resume = Resume(log)
    assert resume.since == 1767323045
    lines = [
        ("2026-01-02T03:04:04.000Z", b"first"),
        ("2026-01-02T03:04:05.000Z", b"same"),
        ("2026-01-02T03:04:05.000Z", b"same"),
        ("2026-01-02T03:04:05.000Z", b"same"),
        ("2026-01-02T03:04:05.000Z", b"other"),
        ("2026-01-02T03:04:06.000Z", b"later"),
    ]
    assert [resume.knows(*line) for line in lines] == [True, True, True, False, False, False]
    log.rename(tmp_path / "i.log.1")
    assert Resume(log).since == 1767323045


def test_a_new_log_knows_nothing(tmp_path: Path) -> None:
    resume = Resume(tmp_path / "none.log")
    assert resume.since == 0
    assert not resume.knows("2026-01-02T03:04:05.000Z", b"x")


def test_records_are_read_as_written(tmp_path: Path) -> None:
    records = Records(tmp_path / "containers")
    record = ContainerRecord("i1", "s1", "m1", "modelyard-n-i1", 60.0, 512, {"port": 8080})
    records.write(record)
    (tmp_path / "containers" / "broken.json").write_text("{")
    assert list(records.scan()) == [record]
    records.remove("i1")
    records.remove("i1")
    assert list(records.scan()) == []
    with pytest.raises(ValueError, match="cannot name a file"):
        records.write(ContainerRecord("../i", "s", "m", "n", 1.0, 1))


def test_the_engines_documents() -> None:
    document = {
        "Id": "abc",
        "Name": "/one",
        "State": {"Status": "exited", "Pid": 0, "ExitCode": 137, "OOMKilled": True},
        "NetworkSettings": {"Ports": {"8080/tcp": [{"HostPort": "4000"}], "9/tcp": None}},
    }
    found = container_of(document)
    assert (found.name, found.host_port, found.runs) == ("one", 4000, False)
    assert cause_of(found, Phase.READY, 64).startswith("out of memory")
    assert cause_of(None, Phase.READY, 64).startswith("the container is gone")
    assert cause_of(found, Phase.DRAINING, 64) == "the container ended after its drain"
    facts = image_facts(
        {"Id": "sha256:1", "Size": 5, "Config": {"ExposedPorts": {"9/udp": {}, "80/tcp": {}}}}
    )
    assert (facts.image_id, facts.size, facts.ports) == ("sha256:1", 5, (80,))


def test_where_sockets_are_looked_for() -> None:
    here = usual_sockets({"XDG_RUNTIME_DIR": "/run/user/7", "DOCKER_HOST": "unix:///x.sock"})
    assert here[0] == "unix:///x.sock"
    assert "unix:///run/user/7/podman/podman.sock" in here
    # Instances are reached on loopback: another machine's engine is of no use.
    assert usual_sockets({"DOCKER_HOST": "tcp://example.com:2375"})[0].startswith("unix:///var/run")


def test_connections_are_counted_from_the_callers_side() -> None:
    head = "  sl  local_address rem_address   st tx_queue"
    rows = [
        "   0: 0100007F:1F90 00000000:0000 0A 0",
        "   1: 0100007F:C350 0100007F:1F90 01 0",
        "   2: 0100007F:1F90 0100007F:C350 01 0",
        "   3: 0100007F:C351 0100007F:1F90 06 0",
    ]
    assert count([head, *rows], 8080) == 1
