"""What is accepted and what is refused, without any server (services.md §2, §3, §10)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.domain.admission.requests import Facts, ModelFacts
from modelyard.domain.admission.service_body import CREATE_FIELDS, read_create, read_update
from modelyard.domain.service.config import Schedule
from modelyard.errors import refuse

FACTS = Facts(
    models={
        "m1": ModelFacts("m1", "iris", "0.0.1", "published", ("real-time", "batch")),
        "m2": ModelFacts("m2", "iris", "0.0.2", "published", ("real-time",)),
        "new": ModelFacts("new", "iris", "0.0.3", "publishing", ("real-time",)),
        "batch": ModelFacts("batch", "iris", "0.0.4", "published", ("batch",)),
        "twin": ModelFacts("twin", "iris", "0.0.1", "published", ("real-time",)),
    }
)


def entry(**more: Any) -> dict[str, Any]:
    whole = {
        "model_id": "m1",
        "weight": 100,
        "specification": "modelarts.vm.cpu.2u",
        "instance_count": 1,
    } | more
    return {key: value for key, value in whole.items() if value is not ...}


def update(**config: Any) -> list[tuple[str, str]]:
    """(field, code) of every problem of an update with one version."""
    _, problems = read_update({"config": [entry(**config)]}, FACTS)
    return [(p.field, p.code) for p in problems]


@pytest.mark.parametrize("weight", [100, "100"])
def test_weight_is_a_number_or_digits(weight: object) -> None:
    wish, problems = read_update({"config": [entry(weight=weight)]}, FACTS)
    assert problems == []
    assert wish is not None and wish.config is not None
    assert wish.config[0].weight == 100


@pytest.mark.parametrize(
    ("config", "field", "code"),
    [
        ({"weight": ...}, "weight", "3610"),
        ({"weight": True}, "weight", "3037"),
        ({"weight": 101}, "weight", "3037"),
        ({"weight": -1}, "weight", "3037"),
        ({"weight": 99.5}, "weight", "3037"),
        ({"weight": "100 "}, "weight", "3037"),
        ({"weight": "1e2"}, "weight", "3037"),
        ({"weight": float("nan")}, "weight", "3037"),
        ({"model_id": ...}, "model_id", "3610"),
        ({"model_id": " "}, "model_id", "3610"),
        ({"model_id": "nobody"}, "model_id", "3507"),
        ({"model_id": "new"}, "model_id", "3515"),
        ({"model_id": "batch"}, "model_id", "3589"),
        ({"instance_count": 0}, "instance_count", "3037"),
        ({"instance_count": 6}, "instance_count", "3037"),
        ({"specification": "modelarts.vm.cpu.64u"}, "specification", "3037"),
        ({"specification": "modelsarts.vm.ai1.a310"}, "specification", "3518"),
        ({"envs": {"A": 1}}, "envs.A", "3037"),
        ({"envs": {"A=B": "1"}}, "envs", "3037"),
        ({"envs": []}, "envs", "3037"),
        ({"cluster_id": "c"}, "cluster_id", "3547"),
        ({"pool_name": "p"}, "pool_name", "50015001"),
        ({"affinity": {"node_affinity": {}}}, "affinity", "3037"),
        ({"deploy_timeout_in_seconds": 10}, "deploy_timeout_in_seconds", "3037"),
        ({"instance_cont": 3}, "instance_cont", "3037"),
        (
            {"additional_properties": {"log_volume": [{"host_path": "/a", "mount_path": "/b"}]}},
            "additional_properties.log_volume",
            "3037",
        ),
        (
            {"additional_properties": {"x": {"max_surge": 0}}},
            "additional_properties.x.max_surge",
            "3037",
        ),
    ],
)
def test_refused_by_name(config: dict[str, Any], field: str, code: str) -> None:
    assert (f"config[0].{field}", code) in update(**config)


def test_custom_needs_a_pool_and_a_custom_spec() -> None:
    found = update(specification="custom")
    assert ("config[0].specification", "3037") in found
    assert ("config[0].custom_spec", "3610") in found


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"cpu": 0.001, "memory": 1}, "cpu"),
        ({"cpu": 1e30, "memory": 1}, "cpu"),
        ({"cpu": 10**400, "memory": 1}, "cpu"),
        ({"cpu": 1, "memory": 1.5}, "memory"),
        ({"cpu": 1, "memory": 1, "gpu_p4": 0.125}, "gpu_p4"),
        ({"cpu": 1, "memory": 1, "gpu_p4": 1, "ascend_a310": 1}, "ascend_a310"),
    ],
)
def test_custom_spec_rules(spec: dict[str, Any], field: str) -> None:
    found = update(specification="custom", custom_spec=spec)
    assert (f"config[0].custom_spec.{field}", "3037") in found


def test_every_problem_is_reported_in_order() -> None:
    body = {"status": "paused", "description": "x" * 101, "load_balancer_policy": "RANDOM"}
    _, problems = read_update(body, FACTS)
    assert [p.field for p in problems] == ["description", "status", "load_balancer_policy"]
    assert refuse(problems).message.startswith("description")


def test_weights_sum_to_a_hundred_over_distinct_versions() -> None:
    _, problems = read_update({"config": [entry(weight=60), entry(model_id="m2")]}, FACTS)
    assert [p.field for p in problems] == ["config[*].weight"]
    twice = [entry(weight=60), entry(model_id="twin", weight=40)]
    _, problems = read_update({"config": twice}, FACTS)
    assert [(p.field, p.code) for p in problems] == [("config[1].model_id", "3516")]


def test_status_wins_over_config() -> None:
    wish, problems = read_update({"status": "stopped", "config": "nonsense"}, FACTS)
    assert problems == []
    assert wish is not None
    assert (wish.status, wish.config) == ("stopped", None)


def test_an_empty_element_says_nothing() -> None:
    wish, problems = read_update({"description": "", "config": [{}]}, FACTS)
    assert problems == []
    assert wish is not None
    assert (wish.description, wish.config) == ("", None)


def test_schedule() -> None:
    item = {"type": "stop", "time_unit": "HOURS", "duration": "2"}
    wish, _ = read_update({"schedule": [item]}, FACTS)
    assert wish is not None and wish.schedule == (Schedule("HOURS", 2),)
    assert wish.schedule[0].length_ms == 7_200_000
    off, _ = read_update({"schedule": []}, FACTS)
    assert off is not None and off.schedule == ()
    for bad in ([item, item], [{**item, "type": "start"}], [{**item, "duration": 0}], ["x"]):
        assert read_update({"schedule": bad}, FACTS)[1]


def test_rollout_limits_are_read_flat_or_one_level_down() -> None:
    limits = {"max_surge": 0.5, "max_unavailable": 0, "termination_grace_period_seconds": 7}
    for properties in (limits, {"rolling": limits}):
        wish, problems = read_update({"config": [entry(additional_properties=properties)]}, FACTS)
        assert problems == []
        assert wish is not None and wish.config is not None
        version = wish.config[0]
        assert (version.max_surge, version.max_unavailable, version.grace_s) == (0.5, 0, 7)
        assert version.additional_properties == properties


def test_what_cannot_be_changed_is_said() -> None:
    _, problems = read_update({"service_name": "other"}, FACTS)
    assert [p.field for p in problems] == ["service_name"]


@pytest.mark.parametrize("kind", ["batch", "edge"])
def test_other_kinds_of_service_are_refused_clearly(kind: str) -> None:
    body = {"service_name": "s", "infer_type": kind, "config": [entry()]}
    _, problems = read_create(body, FACTS)
    assert [(p.field, p.code) for p in problems] == [("infer_type", "3518")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
bodies = st.dictionaries(st.sampled_from([*CREATE_FIELDS, "status", "?"]), json_values)
configs = st.lists(
    st.dictionaries(st.sampled_from([*entry(), "envs", "additional_properties"]), json_values),
    max_size=3,
)


@given(body=bodies | json_values, config=configs)
def test_any_json_is_a_wish_or_problems_that_name_a_field(body: Any, config: Any) -> None:
    if isinstance(body, dict):
        body = body | {"config": config}
    for read in (read_create, read_update):
        wish, problems = read(body, FACTS)
        assert (wish is None) == bool(problems)
        assert all(p.field and p.reason and p.remedy for p in problems)
