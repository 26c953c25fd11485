from __future__ import annotations

from modelyard.domain.canary.request_counts import Tally, VersionKey
from modelyard.domain.canary.update_report import InstanceLife, update_report

M1, M2 = VersionKey("m1"), VersionKey("m2", "next")


def test_a_clean_update_says_so() -> None:
    report = update_report(
        1_000,
        3_500,
        tallies={M2: Tally(requests=2, longest_ms=9), M1: Tally(requests=800, errors=2, retried=3)},
        counted=True,
        instances=[
            InstanceLife(started_at=10, ready_at=20, drained_at=3_500),
            InstanceLife(started_at=1_000, ready_at=2_000),
            InstanceLife(started_at=1_001, killed_at=3_501),
        ],
        published=["aa", "bb"],
    )
    assert report.verdict == "0 lost"
    assert report.sentence == (
        "802 predictions in 2.5 s, none lost, 2 answered with an error by the model, "
        "3 repeated on another try; the slowest took 9 ms. "
        "2 instances started, 1 drained, 0 killed; 2 routings acknowledged."
    )
    body = report.to_json()
    assert (body["from"], body["until"], body["counted"]) == (1_000, 3_500, True)
    assert (body["requests"], body["errors"], body["lost"]) == (802, 2, 0)
    assert [one["model_id"] for one in body["versions"]] == ["m1", "m2"]
    assert body["instances"] == {"started": 2, "ready": 1, "drained": 1, "killed": 0}
    assert body["published"] == ["aa", "bb"]


def test_what_was_lost_is_not_hidden() -> None:
    tallies = {M1: Tally(requests=10, errors=3, lost=3, resets=1)}
    report = update_report(0, 1_000, tallies=tallies, counted=True, instances=[], published=["aa"])
    assert report.verdict == "3 lost"
    assert report.sentence.startswith("10 predictions in 1.0 s, 3 lost; ")
    partly = update_report(0, 1_000, tallies=tallies, counted=False, instances=[], published=[])
    assert partly.verdict == "3 lost"
    assert partly.sentence.startswith("At least 10 predictions")


def test_without_a_count_nothing_is_claimed() -> None:
    report = update_report(0, 1, tallies={}, counted=False, instances=[], published=[])
    assert report.verdict == "not counted"
    assert "not available" in report.sentence
    quiet = update_report(0, 1, tallies={}, counted=True, instances=[], published=[])
    assert quiet.verdict == "0 lost"
    assert quiet.sentence.startswith("0 predictions in 0.0 s, none lost.")
    some = update_report(
        0, 1, tallies={M1: Tally(requests=1)}, counted=False, instances=[], published=[]
    )
    assert some.verdict == "not counted"
