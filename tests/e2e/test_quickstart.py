"""The tour, as a newcomer takes it."""

from __future__ import annotations

import json

import pytest

from stack import Stack

pytest.importorskip("sklearn", reason="the examples need modelyard[examples]")
pytest.importorskip("PIL", reason="the examples need modelyard[examples]")


def test_the_tour_passes_twice_and_shows_its_requests(fresh_stack: Stack) -> None:
    for _ in range(2):
        done = fresh_stack.run("quickstart", "--json")
        summary = json.loads(done.stdout)
        assert sum(summary["split"].values()) == 300
        assert 0.60 <= summary["split"]["0.0.1"] / 300 <= 0.80
        assert summary["shifted"] == {"0.0.2": 300}
        # Under a minute on an idle machine of two cores; here the tests compete for them.
        assert summary["seconds"] < 180
        for request in ("POST /v3/auth/tokens", "/models", "PUT /v1/", "POST /v1/infers/"):
            assert request in done.stderr
        assert fresh_stack.credentials["password"] not in done.stderr
    names = {service["service_name"] for service in fresh_stack.api("GET", "/services")["services"]}
    assert names == {"quickstart-iris", "quickstart-digits"}


def test_cleanup_leaves_nothing(stack: Stack) -> None:
    stack.run("quickstart", "--name", "tidy", "--no-digits", "--cleanup")
    services = stack.api("GET", "/services", service_name="tidy")
    models = stack.api("GET", "/models", model_name="tidy")
    assert (services["total_count"], models["total_count"]) == (0, 0)


def test_without_a_platform_it_says_how_to_start_one() -> None:
    stack = Stack(forked=False)
    try:
        refused = stack.run("quickstart", check=False)
    finally:
        stack.sweep()
    assert refused.returncode == 1
    assert "modelyard up" in refused.stderr
