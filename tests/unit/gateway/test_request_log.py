from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.domain.canary.request_counts import Tally, VersionKey, bucket
from modelyard.gateway.config.resources.names import ClusterName, cluster_name, parse_cluster
from modelyard.gateway.request_log import files as log_files
from modelyard.gateway.request_log import lines as log_lines
from modelyard.gateway.request_log import reader
from modelyard.gateway.request_log.lines import ended_at, parse
from modelyard.gateway.request_log.reader import RequestLog
from modelyard.gateway.stats import Admin

S, T = "5" * 36, "7" * 36
ID = "0b7f1c52-1111-4222-8333-123456789abc"


def line(
    ended: int,
    service: str = S,
    version: str = "m",
    *,
    micros: str = "1500",
    status: int = 200,
    flags: str = "-",
    attempts: int = 1,
    request_id: str = ID,
) -> str:
    return (
        f"{service}/{version} {ended} {micros} {status} {flags} {attempts} 4 i-1 "
        f"{request_id} predict\n"
    )


class Files:
    """A log on disk, without Envoy."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "requests.log"
        self.log = RequestLog(self.path, 64, Admin(folder / "none.sock"))

    def write(self, *lines: str) -> None:
        with self.path.open("a") as file:
            file.write("".join(lines))

    def rotate(self) -> None:
        self.path.replace(log_files.former(self.path))

    async def count(self, since: int, until: int) -> int:
        found = await self.log.tallies(S, since, until)
        return found.get(VersionKey("m"), Tally()).requests


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_line_is_taken_apart() -> None:
    found = parse(line(10_002, version="m@next", flags="UC,URX", status=503, attempts=5).strip())
    assert found is not None
    assert (found.service_id, found.model_id, found.variant) == (S, "m", "next")
    assert (found.at, found.duration_ms) == (10_000, 1.5)
    assert (found.status, found.flags, found.attempts) == (503, ("UC", "URX"), 5)
    assert (found.revision, found.instance_id, found.request_id) == (4, "i-1", ID)
    assert found.lost


def test_lines_of_another_kind_tell_of_no_prediction() -> None:
    assert parse(f"!{S}/m 10 UC") is None
    assert parse("") is None
    assert parse(line(1)[5:40]) is None
    assert parse(f"- 10 2 404 - 0 - - {ID} missing") is None
    unserved = parse(f"- 10 2 503 - 0 - - {ID} unserved/{S}")
    assert unserved is not None
    assert (unserved.service_id, unserved.model_id, unserved.lost) == (S, "", True)
    assert (unserved.revision, unserved.instance_id) == (None, "")


@pytest.mark.parametrize("flags", ["DC", "DC,UC", "-", "RL"])
def test_who_left_or_was_answered_lost_nothing(flags: str) -> None:
    found = parse(line(1, flags=flags, status=0, micros="-").strip())
    assert found is not None
    assert not found.lost


def test_names_of_clusters_can_be_read_back() -> None:
    assert cluster_name("s", "m") == "s/m"
    assert cluster_name("s", "m", "r7") == "s/m@r7"
    assert cluster_name("s", "m", shadow=True) == "s/m@shadow"
    assert cluster_name("s", "m", "r7", shadow=True) == "s/m@shadow-r7"
    assert cluster_name("s", "m", "shadow", shadow=True) == "s/m@shadow"
    assert parse_cluster("s/m@r7") == ClusterName("s", "m", "r7")
    assert parse_cluster("s/m") == ClusterName("s", "m")
    assert parse_cluster("control-plane") is None
    assert ClusterName("s", "m", "shadow-r7").shadow
    assert not ClusterName("s", "m", "shadowy").shadow
    with pytest.raises(ValueError, match="bad variant"):
        cluster_name("s", "m", "a.b")


async def test_only_the_span_and_the_service_count(files: Files) -> None:
    files.write(line(999), line(1_000), line(1_500, T), line(1_999, version="m@x"), line(2_000))
    found = await files.log.tallies(S, 1_000, 2_000)
    assert {key: tally.requests for key, tally in found.items()} == {
        VersionKey("m"): 1,
        VersionKey("m", "x"): 1,
    }
    assert found[VersionKey("m")].latencies[bucket(1.5)] == 1
    assert found[VersionKey("m")].longest_ms == 2
    assert await files.log.tallies(S, 2_000, 2_000) == {}


async def test_a_websocket_is_found_but_not_counted(files: Files) -> None:
    ended = line(1_500, status=101, flags="SI", micros="900000000")
    files.write(line(1_200), ended)
    found = await files.log.tallies(S, 1_000, 2_000)
    assert (found[VersionKey("m")].requests, found[VersionKey("m")].longest_ms) == (1, 2)
    told = parse(ended.strip())
    assert told is not None
    assert (told.status, told.instance_id) == (101, "i-1")


async def test_each_kind_of_trouble_has_its_count(files: Files) -> None:
    files.write(
        line(10, status=500),
        line(11, status=503, flags="UH"),
        line(12, status=200, flags="UC"),  # broken off in the middle of the answer
        line(13, status=0, flags="DC", micros="-"),
        line(14, attempts=3),
        f"!{S}/m 15 UC\n",
        f"- 16 2 503 - 0 - - {ID} unserved/{S}\n",
        f"- 17 2 503 - 0 - - {ID} unserved/{T}\n",
    )
    found = await files.log.tallies(S, 0, 100)
    own = found[VersionKey("m")]
    assert (own.requests, own.errors, own.lost, own.resets, own.retried) == (5, 3, 2, 1, 1)
    assert sum(own.latencies) == 4  # a client that left got no answer to time
    assert found[VersionKey("")].lost == 1
    assert found[VersionKey("")].requests == 1


async def test_asking_again_adds_what_came_since(files: Files) -> None:
    assert await files.count(1_000, 1_500) == 0
    files.write(line(1_100), line(1_600))
    assert await files.count(1_000, 1_500) == 1
    files.write(line(1_400))  # late, as when a thread paused before it wrote
    assert await files.count(1_000, 1_500) == 2
    assert await files.count(1_000, 2_000) == 3
    assert await files.count(1_000, 1_200) == 1  # a span that goes back is read anew


async def test_a_line_is_read_once_it_is_whole(files: Files) -> None:
    whole = line(1_100)
    files.write(whole[:60])
    assert await files.count(1_000, 2_000) == 0
    files.write(whole[60:])
    assert await files.count(1_000, 2_000) == 1


async def test_a_count_survives_what_is_rotated_away(files: Files) -> None:
    files.write(line(1_001))
    assert await files.count(1_000, 9_000) == 1
    for number in range(5):
        files.rotate()
        files.write(line(2_000 + number))
        assert await files.count(1_000, 9_000) == number + 2
    assert await files.log.complete(S, 1_000)
    assert not await files.log.complete(S, 1_002)
    assert await files.log.complete(S, 2_003)


async def test_what_is_missing_is_not_called_complete(files: Files) -> None:
    files.write(line(1_001))
    assert await files.count(1_000, 9_000) == 1
    for number in range(3):
        files.write(line(2_000 + number))
        files.rotate()
    files.write(line(3_000))
    assert await files.count(1_000, 9_000) == 3
    assert not await files.log.complete(S, 1_000)


async def test_a_span_in_a_long_log_is_found_without_reading_it_all(files: Files) -> None:
    files.write(*(line(number * 10, T if number % 3 else S) for number in range(30_000)))
    files.rotate()
    files.write(*(line(number * 10) for number in range(30_000, 60_000)))
    position, whole = log_files.lines_since(files.path, 450_000)
    assert position is not None
    assert whole
    with files.path.open("rb") as file:
        file.seek(position.offset)
        first = ended_at(file.readline())
    assert first is not None
    assert 440_000 < first < 450_000
    assert await files.count(450_000, 460_000) == 1_000
    assert await files.count(290_000, 310_000) == 1_000 + 333
    assert await files.count(0, 600_000) == 10_000 + 30_000


async def test_of_a_span_long_ago_what_came_since_is_not_read(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(*(line(1_000 * second) for second in range(100_000)))
    parsed: list[bytes] = []
    entry = log_lines._entry

    def counted(*parts: bytes) -> log_lines.Entry:
        parsed.append(parts[0])
        return entry(*parts)

    monkeypatch.setattr(log_lines, "_entry", counted)
    assert await files.count(1_000_000, 1_010_000) == 10
    assert len(parsed) < 10_000
    assert await files.count(1_000_000, 90_000_000) == 89_000, "what comes next is not forgotten"


async def test_a_request_is_found_in_either_file(files: Files) -> None:
    ids = [f"{number:036}" for number in range(4_000)]
    files.write(*(line(number, request_id=ids[number]) for number in range(2_000)))
    files.rotate()
    files.write(*(line(number, request_id=ids[number]) for number in range(2_000, 4_000)))
    for number in (0, 1_999, 2_000, 3_999):
        found = await files.log.find(ids[number])
        assert found is not None
        assert found.at == number - 2
    assert await files.log.find(" 200 - 1 ") is None


async def test_without_a_file_there_is_nothing(files: Files) -> None:
    assert await files.count(0, 10) == 0
    assert await files.log.find(ID) is None
    assert await files.log.complete(S, 0)
    await files.log.rotate()


async def test_readings_that_nobody_continues_are_dropped(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_MOST_KEPT", 50)
    files.write(*(line(number) for number in range(1_000, 1_040)))
    for since in range(900, 905):
        assert await files.count(since, 1_001) == 1
    assert list(files.log._readings) == [(S, 904)]
    monkeypatch.setattr(reader, "_FORGET_S", -1.0)
    assert await files.count(905, 2_000) == 40
    assert list(files.log._readings) == [(S, 905)]
