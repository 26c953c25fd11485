"""The weighted split through the whole platform (inference.md §1.4)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from live import entry, import_echo, load, service, update
from stack import Stack

PREDICTIONS = 10_000


@pytest.fixture(scope="module")
def models(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    folder = tmp_path_factory.mktemp("split")
    yield [import_echo(stack, folder, "split", f"{n}.0.0") for n in (1, 2, 3, 4)]


def test_ten_thousand_predictions_split_as_weighed(
    stack: Stack, models: list[str], tmp_path: Path
) -> None:
    weights = (70, 20, 10, 0)
    config = [entry(m, w) for m, w in zip(models, weights, strict=True)]
    with (
        service(stack, config) as service_id,
        load(stack, service_id, tmp_path, rate=0, count=PREDICTIONS) as running,
    ):
        summary = running.finish(240)
    assert summary.failed == []
    assert summary.ok == PREDICTIONS
    for number, weight in enumerate(weights, 1):
        assert abs(summary.share(f"{number}.0.0") - weight) <= 1, summary.versions
    assert "4.0.0" not in summary.versions


def test_a_new_split_holds_from_the_first_request_after_success(
    stack: Stack, models: list[str], tmp_path: Path
) -> None:
    first, second, third = models[:3]
    both = [entry(first, 100), entry(second, 0)]
    with (
        service(stack, both) as service_id,
        load(stack, service_id, tmp_path, rate=400) as running,
    ):
        running.wait_more(200)
        for old, new, config in (
            ("1.0.0", "2.0.0", [entry(first, 0), entry(second, 100)]),
            ("2.0.0", "3.0.0", [entry(third, 100)]),
            ("3.0.0", "1.0.0", [entry(third, 0, 1), entry(first, 100, 2)]),
        ):
            update(stack, service_id, config)
            live = time.time() * 1000
            running.wait_more(400)
            after = [r for r in running.records() if r.start_ms > live]
            wrong = [r for r in after if r.version != new]
            assert len(after) >= 200
            assert wrong == [], f"{old} -> {new}: {len(wrong)} of {len(after)}"
            assert len({r.revision for r in after}) == 1
        update(stack, service_id, [entry(first, 50), entry(second, 30), entry(third, 20)])
        live = time.time() * 1000
        running.wait_more(1000)
        after = [r for r in running.records() if r.start_ms > live]
        summary = running.stop()
    for version, weight in (("1.0.0", 50), ("2.0.0", 30), ("3.0.0", 20)):
        share = 100 * sum(r.version == version for r in after) / len(after)
        assert abs(share - weight) <= 2, (version, share)
    assert summary.failed == []
