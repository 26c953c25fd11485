from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from modelyard.cli.proving.account import (
    Account,
    Reported,
    RequestedUpdates,
    results_of,
    sum_reports,
)
from modelyard.cli.proving.load import Counts, Failure, Load
from modelyard.cli.proving.package import write_package
from modelyard.cli.proving.patience import patiently
from modelyard.cli.proving.updates import Means, TargetConfig, Version, next_update
from modelyard.client.documents import Document
from modelyard.client.failures import ApiFailure, PlatformDown

MODELS = ("m1", "m2", "m3", "m4")
NONE_REPORTED = sum_reports([])


# -- updates -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_every_update_is_valid_and_changes_something(seed: int) -> None:
    chance = random.Random(seed)
    present, kinds = TargetConfig((Version("m1", 100),)), Counter[str]()
    for _ in range(300):
        kind, wanted = next_update(chance, present, Means(MODELS, most=2))
        kinds[kind] += 1
        assert wanted != present
        assert sum(v.weight for v in wanted.versions) == 100
        assert all(0 <= v.weight <= 100 and 1 <= v.count <= 2 for v in wanted.versions)
        used = [v.model_id for v in wanted.versions]
        assert len(set(used)) == len(used) <= 3
        present = wanted
    assert len(kinds) == 8


def test_one_model_and_one_instance_leave_few_kinds() -> None:
    chance, present = random.Random(1), TargetConfig((Version("m1", 100),))
    kinds = {next_update(chance, present, Means(("m1",), most=1))[0] for _ in range(200)}
    assert kinds == {"envs", "surge", "policy"}


def test_a_seed_repeats_its_updates() -> None:
    def story(seed: int) -> list[str]:
        chance, present, told = random.Random(seed), TargetConfig((Version("m1", 100),)), []
        for _ in range(20):
            kind, present = next_update(chance, present, Means(MODELS))
            told.append(f"{kind} {present.body()}")
        return told

    assert story(7) == story(7) != story(8)


def test_the_package_is_whole(tmp_path: Path) -> None:
    model = write_package(tmp_path / "package") / "model"
    assert {path.name for path in model.iterdir()} == {
        "config.json",
        "customize_service.py",
        "none.pth",
    }
    compile((model / "customize_service.py").read_text(), "customize_service.py", "exec")


# -- the account -------------------------------------------------------------------------------


def log(result: str, reason: str = "", **report: object) -> Document:
    return Document({"result": result, "reason": reason} | ({"report": report} if report else {}))


def account(counts: Counts, reported: Reported = NONE_REPORTED, *wrong: str) -> Account:
    return Account(RequestedUpdates(), Counter(), counts, reported, wrong)


def test_results_tell_overtaken_from_rolled_back() -> None:
    logs = [
        log("SUCCESS"),
        log("FAIL", "a later update took its place"),
        log("FAIL", "it does not start"),
        log("RUNNING"),
    ]
    assert results_of(logs) == {"succeeded": 1, "overtaken": 1, "rolled back": 1, "running": 1}


def test_reports_are_summed() -> None:
    one = {
        "requests": 10,
        "lost": 1,
        "errors": 2,
        "retried": 3,
        "resets": 4,
        "counted": True,
        "instances": {"started": 2, "ready": 2, "drained": 1, "killed": 0},
        "published": ["a", "b"],
    }
    found = sum_reports([log("SUCCESS", **one), log("SUCCESS", **one), log("SUCCESS")])
    assert found.sums == {
        "requests": 20,
        "lost": 2,
        "errors": 4,
        "retried": 6,
        "resets": 8,
        "started": 4,
        "drained": 2,
        "killed": 0,
        "published": 4,
    }
    assert (found.missing, found.counted) == (1, True)
    assert not sum_reports([log("SUCCESS", counted=False)]).counted


def test_all_is_well() -> None:
    found = account(Counts(sent=3, ok=3))
    assert (found.verdict, found.good) == ("0 lost", True)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (account(Counts(sent=3, ok=1, failed=2, lost=1)), "2 lost"),
        (account(Counts(sent=3, ok=3), sum_reports([log("SUCCESS", lost=4)])), "4 lost"),
        (account(Counts(sent=3, ok=3), NONE_REPORTED, "it is stopped"), "0 lost; it is stopped"),
    ],
)
def test_whoever_saw_a_loss_is_believed(found: Account, verdict: str) -> None:
    assert (found.verdict, found.good) == (verdict, False)


def test_a_loss_is_named_by_its_request() -> None:
    counts = Counts(sent=2, failed=2, lost=1)
    counts.failures = [
        Failure(5, 503, "no instance", "r-1", lost=True),
        Failure(6, 0, "ReadError", "", lost=True),
    ]
    assert account(counts).losses() == [
        "5 ms: 503 no instance (request id r-1)",
        "6 ms: no answer ReadError",
    ]


def test_the_document_and_the_table_hold_the_same() -> None:
    counts = Counts(sent=2, ok=2, seconds=1.0)
    counts.times.extend([1.0, 3.0])
    counts.versions["1.0.0"] = 2
    found = account(counts)
    document = found.document()
    assert Document(document).part("predictions").number("longest_ms") == 3
    assert dict(found.rows())["  by version"] == "1.0.0: 2"


# -- patience ----------------------------------------------------------------------------------


def test_calls_are_repeated_while_nobody_answers() -> None:
    answers = iter([PlatformDown("a", "refused"), ApiFailure(503, "", "away")])

    def call() -> str:
        for failure in answers:
            raise failure
        return "there"

    assert patiently(call, limit_s=5) == "there"


@pytest.mark.parametrize("failure", [ApiFailure(400, "c", "no"), PlatformDown("a", "refused")])
def test_patience_has_ends(failure: Exception) -> None:
    def call() -> None:
        raise failure

    with pytest.raises(type(failure)):
        patiently(call, limit_s=0)


# -- load --------------------------------------------------------------------------------------


class _Instance(BaseHTTPRequestHandler):
    """Answers 200, and 503 without an instance's name to every third request."""

    protocol_version = "HTTP/1.1"
    count = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).count += 1
        refused = self.count % 3 == 0
        self.send_response(503 if refused else 200)
        if refused:
            self.send_header("X-Request-Id", f"r-{self.count}")
        else:
            self.send_header("x-modelyard-model-version", "1.0.0")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Instance)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_load_counts_what_it_is_answered() -> None:
    seen = threading.Event()
    with serving() as url, Load(url, b"{}", "t", rate=200, timeout_s=5) as load:
        while load.counts.sent < 30:
            seen.wait(0.01)
    counts = load.counts
    assert counts.sent == counts.ok + counts.failed >= 30
    assert counts.failed == counts.lost == counts.sent // 3 == len(counts.failures)
    assert counts.versions == {"1.0.0": counts.ok}
    # Answers of several connections may be counted in another order than they were given.
    assert all(int(one.request_id.removeprefix("r-")) % 3 == 0 for one in counts.failures)
    assert len(counts.times) == counts.sent


def test_nobody_there_is_a_loss_each() -> None:
    with serving() as url:
        pass
    seen = threading.Event()
    with Load(url, b"{}", "t", rate=100, timeout_s=5) as load:
        while load.counts.lost < 3:
            seen.wait(0.01)
    assert load.counts.failed == load.counts.lost == load.counts.sent
    assert load.counts.failures[0].status == 0
