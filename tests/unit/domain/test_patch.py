"""A configuration, changed in part."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.domain.admission.patch import as_body, patch_config, pointed
from modelyard.domain.admission.requests import Facts, ModelFacts
from modelyard.domain.admission.service_body import read_update
from modelyard.domain.body_reader import Fields, Problems
from modelyard.domain.service.pools import Generation, Pool, PoolRef
from modelyard.domain.service.resources import Resources
from modelyard.errors import Problem

FACTS = Facts(
    models={
        name: ModelFacts(name, name, "0.0.1", "published", ("real-time",)) for name in ("a", "b")
    }
)
ITEM: dict[str, Any] = {
    "model_id": "a",
    "specification": "modelarts.vm.cpu.2u",
    "instance_count": 1,
    "weight": 100,
    "envs": {"A": "1", "a/b": "2", "m~n": "3"},
    "additional_properties": {"max_surge": 2, "g": {"max_unavailable": 1}},
}


def _patched(path: str, value: object) -> tuple[list[dict[str, Any]], list[Problem]]:
    return patch_config([ITEM], [{"op": "replace", "path": path, "value": value}])


@pytest.mark.parametrize(
    ("path", "value", "at", "expected"),
    [
        ("/config/0/weight", "30", ["weight"], 30),
        ("/config/0/weight", "x", ["weight"], "x"),
        ("/config/0/weight", "true", ["weight"], "true"),
        ("/config/0/envs/A", "5", ["envs", "A"], "5"),
        ("/config/0/envs/A", 5, ["envs", "A"], 5),
        ("/config/0/envs/a~1b", "x", ["envs", "a/b"], "x"),
        ("/config/0/envs/m~0n", "x", ["envs", "m~n"], "x"),
        ("/config/0/envs", '{"B": "2"}', ["envs"], {"B": "2"}),
        ("/config/0/envs", "[1]", ["envs"], "[1]"),
        ("/config/0/envs", {}, ["envs"], {}),
        ("/config/0/additional_properties/max_surge", "0.5",
         ["additional_properties", "max_surge"], 0.5),
        ("/config/0/additional_properties/g/max_unavailable", 2,
         ["additional_properties", "g", "max_unavailable"], 2),
        ("/config/0/deploy_timeout_in_seconds", 300, ["deploy_timeout_in_seconds"], 300),
        ("/config/0/custom_spec", '{"cpu": 1}', ["custom_spec"], {"cpu": 1}),
        ("/config/0", {"model_id": "b"}, [], {"model_id": "b"}),
        ("/config/0", '{"model_id": "b"}', [], {"model_id": "b"}),
    ],
)  # fmt: skip
def test_a_pointer_leads_to_its_value(
    path: str, value: object, at: list[str], expected: object
) -> None:
    [changed], problems = _patched(path, value)
    assert problems == []
    found: Any = changed
    for key in at:
        found = found[key]
    assert found == expected
    assert type(found) is type(expected)


def test_what_was_given_is_left_alone() -> None:
    before = repr(ITEM)
    _patched("/config/0/envs/A", "9")
    assert repr(ITEM) == before


def test_operations_are_applied_in_order() -> None:
    changes = [("/config/0/envs", {"N": "1"}), ("/config/0/envs/N", "2")]
    operations = [{"op": "replace", "path": path, "value": value} for path, value in changes]
    [changed], problems = patch_config([ITEM], operations)
    assert (changed["envs"], problems) == ({"N": "2"}, [])


@given(st.lists(st.sampled_from(["config", "0", "envs", "A", "~", "", "-1", "weight", "~1"])))
def test_any_pointer_is_applied_or_refused_by_name(tokens: list[str]) -> None:
    path = "/" + "/".join(tokens)
    [changed], problems = _patched(path, "7")
    assert changed == ITEM or not problems
    assert [problem.field for problem in problems] in ([], [path])


def test_problems_name_the_pointer() -> None:
    problem = pointed(Problem("config[1].envs.A", "r", "m"))
    assert (problem.field, problem.code, problem.status) == ("/config/1/envs/A", "3037", 400)
    unknown = pointed(Problem("config[0].model_id", "r", "m", "3507", 404))
    assert (unknown.field, unknown.code, unknown.status) == ("/config/0/model_id", "3529", 400)


@pytest.mark.parametrize(
    "item",
    [
        ITEM,
        {**ITEM, "deploy_timeout_in_seconds": 180, "envs": None},
        {**ITEM, "additional_properties": {"termination_grace_period_seconds": 0}},
    ],
)
def test_a_body_made_of_a_version_gives_that_version(item: dict[str, Any]) -> None:
    first, problems = read_update({"config": [item]}, FACTS)
    assert first and first.config and not problems
    again, problems = read_update({"config": [as_body(v) for v in first.config]}, FACTS)
    assert again and not problems
    assert again.config == first.config


def test_what_a_pool_adds_is_kept() -> None:
    ref = PoolRef("pool-a", Generation.V2)
    pools = (Pool(ref, "a", "Running", Resources(8, 64_000, 1.0), ("10.0.0.1", "10.0.0.2")),)
    node = {
        "mode": "required",
        "pool_infos": [{"pool_name": "pool-a", "nodes": [{"name": "10.0.0.1"}]}],
    }
    item = {
        **ITEM,
        "specification": "custom",
        "custom_spec": {"cpu": 1.5, "memory": 512, "gpu_p4": 0.25},
        "pool_name": "pool-a",
        "affinity": {"node_affinity": node},
        "additional_properties": {
            "log_volume": [{"host_path": "/var/log/svc", "mount_path": "/logs"}],
            "persistent_volumes": [{"name": "v", "mount_path": "/data"}],
        },
    }
    facts = Facts(models=FACTS.models, pools=pools)
    first, problems = read_update({"config": [item]}, facts)
    assert first and first.config and not problems
    again, problems = read_update({"config": [as_body(first.config[0])]}, facts)
    assert again and not problems
    assert again.config == first.config


def test_a_default_timeout_beyond_what_may_be_asked_for_is_left_out() -> None:
    quick = Facts(models=FACTS.models, default_deploy_timeout_s=5)
    read, _ = read_update({"config": [ITEM]}, quick)
    assert read and read.config
    [version] = read.config
    assert version.deploy_timeout_s == 5
    body = as_body(version)
    assert Fields(body, "", Problems()).has("deploy_timeout_in_seconds") is False
