"""Which pool is in force, what makes instances differ, what is shown as pending."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from field_kit import FACTS, M1, M2, OWN, entry
from modelyard.domain.admission.not_in_force import ServiceSettings, pending
from modelyard.domain.admission.requests import Facts, Present, Secret, ServiceCreate
from modelyard.domain.admission.service_body import read_create, read_update
from modelyard.domain.service.config import CustomSpec, VersionConfig
from modelyard.domain.service.pools import Generation, PoolRef
from modelyard.domain.service.rollout_policy import Rollout

OLD, PLAIN, CARDS = (
    PoolRef("old", Generation.V1),
    PoolRef("plain", Generation.V2),
    PoolRef("cards", Generation.V2),
)
VOLUME = {"name": "v", "mount_path": "/data/"}
AFFINITY = {
    "node_affinity": {
        "mode": "preferred",
        "pool_infos": [{"pool_name": "cards", "nodes": [{"name": "10.0.0.2"}]}],
    }
}


def created(config: dict[str, Any], **service: Any) -> ServiceCreate:
    body = {"service_name": "s", "infer_type": "real-time", "config": [config]} | service
    wish, problems = read_create(body, FACTS)
    assert problems == []
    assert wish is not None
    return wish


def version(config: dict[str, Any], **service: Any) -> VersionConfig:
    return created(config, **service).config[0]


@pytest.mark.parametrize(
    ("config", "service", "pool"),
    [
        ({}, {}, None),
        ({"pool_name": "", "cluster_id": " "}, {}, None),
        ({}, {"cluster_id": "old"}, OLD),
        ({}, {"cluster_id": "old", "pool_name": "plain"}, PLAIN),
        ({"cluster_id": "old"}, {"pool_name": "plain"}, OLD),
        ({"cluster_id": "old", "pool_name": "cards"}, {"pool_name": "plain"}, CARDS),
    ],
)
def test_the_nearest_and_newest_pool_is_in_force(
    config: dict[str, Any], service: dict[str, Any], pool: PoolRef | None
) -> None:
    read = version(entry(**config), **service)
    assert read.pool == pool
    assert read.pool_name == config.get("pool_name", "")
    assert read.cluster_id == config.get("cluster_id", "").strip()


def test_an_update_remembers_the_services_pool() -> None:
    def judged(present: Present, **config: Any) -> tuple[PoolRef | None, list[tuple[str, str]]]:
        facts = Facts(models=FACTS.models, pools=FACTS.pools, present=present)
        wish, problems = read_update({"config": [entry(**config)]}, facts)
        pool = wish.config[0].pool if wish and wish.config else None
        return pool, [(p.field, p.code) for p in problems]

    assert judged(Present(pool_name="plain")) == (PLAIN, [])
    assert judged(Present(cluster_id="old")) == (OLD, [])
    assert judged(Present(cluster_id="old"), pool_name="cards") == (CARDS, [])
    # The pool has gone or stopped since; a version that names another is not touched by it.
    assert judged(Present(pool_name="gone")) == (None, [("pool_name", "50015001")])
    assert judged(Present(cluster_id="gone")) == (None, [("cluster_id", "3547")])
    assert judged(Present(pool_name="waiting")) == (None, [("pool_name", "3037")])
    assert judged(Present(pool_name="gone"), cluster_id="old") == (OLD, [])


def test_a_pool_of_the_service_that_is_down_counts_only_where_it_is_used() -> None:
    wish = created(entry(pool_name="plain"), pool_name="waiting")
    assert (wish.pool_name, wish.config[0].pool) == ("waiting", PLAIN)


def test_custom_resources_are_canonical() -> None:
    spec = {"cpu": 1.235, "memory": "2048", "gpu_p4": 0.25, "ascend_a310": 0}
    read = version(entry(pool_name="cards", specification="custom", custom_spec=spec))
    assert read.custom_spec == CustomSpec(1.24, 2048, 0.25, 0)
    assert read.custom_spec.to_json() == {"cpu": 1.24, "memory": 2048, "gpu_p4": 0.25}
    # Void beside another flavor.
    assert version(entry(custom_spec={"cpu": "x"})).custom_spec is None


@pytest.mark.parametrize(
    "more",
    [
        {"additional_properties": {"persistent_volumes": [VOLUME]}},
        {"additional_properties": {"x": {"log_volume": [{"host_path": "/h", "mount_path": "/l"}]}}},
        {"pool_name": "plain"},
        {"specification": "custom", "custom_spec": OWN},
        {"envs": {"A": "1"}},
    ],
)
def test_what_instances_are_made_of_replaces_them(more: dict[str, Any]) -> None:
    before = version(entry(pool_name="cards"))
    assert version(entry(pool_name="cards") | more).fingerprint != before.fingerprint


@pytest.mark.parametrize(
    "more",
    [
        {"additional_properties": {"max_surge": 2, "termination_grace_period_seconds": 5}},
        {"instance_count": 3, "deploy_timeout_in_seconds": 300},
        {"affinity": AFFINITY},
    ],
)
def test_what_instances_do_not_hold_leaves_them_alone(more: dict[str, Any]) -> None:
    before = version(entry(pool_name="cards"))
    assert version(entry(pool_name="cards") | more).fingerprint == before.fingerprint


def test_another_name_of_a_flavor_restarts_nothing() -> None:
    one = version(entry(pool_name="cards", specification="modelarts.vm.gpu.p4"))
    other = version(entry(pool_name="cards", specification="modelarts.vm.gpu.pnt004"))
    assert one.fingerprint == other.fingerprint
    assert other.specification == "modelarts.vm.gpu.pnt004"


def test_the_order_of_volumes_restarts_nothing() -> None:
    volumes = [VOLUME, {"name": "w", "mount_path": "/w"}]
    one, other = (
        version(entry(pool_name="cards", additional_properties={"persistent_volumes": order}))
        for order in (volumes, volumes[::-1])
    )
    assert one.fingerprint == other.fingerprint


def test_a_version_comes_back_from_the_store_as_it_went_in() -> None:
    whole = version(
        entry(
            cluster_id="old",
            pool_name="cards",
            specification="custom",
            custom_spec=OWN,
            affinity=AFFINITY,
            additional_properties={
                "persistent_volumes": [VOLUME],
                "x": {"log_volume": [{"host_path": "/h", "mount_path": "/l"}]},
            },
        )
    )
    stored = VersionConfig.from_json(whole.to_json() | {"slot": ""})
    assert stored == whole
    assert stored.affinity is not None and stored.affinity.to_json() == AFFINITY
    assert stored.persistent_volumes[0].mount_path == "/data"


def test_containers_have_mounts_and_ceilings() -> None:
    made = version(
        entry(
            pool_name="cards",
            specification="custom",
            custom_spec={"cpu": 1, "memory": 1024},
            additional_properties={
                "persistent_volumes": [VOLUME],
                "log_volume": [{"host_path": "/h", "mount_path": "/l"}],
            },
        )
    )
    here = {item.field for item in pending(ServiceSettings(), [made])}
    there = {item.field for item in pending(ServiceSettings(), [made], {made.model_id})}
    assert here - there == {
        "config[0].additional_properties.persistent_volumes",
    }
    assert "config[0].additional_properties.log_volume" in there


def test_service_settings_are_read() -> None:
    wish = created(
        entry(),
        priority="3",
        service_secrets=[{"secretId": "s", "mountPath": "/s/"}],
        additional_properties={"rollout": {"keep_former_minutes": 2}, "team": "a"},
    )
    assert wish.priority == 3
    assert wish.secrets == (Secret("s", "/s"),)
    assert wish.secrets[0].to_json() == {"secretId": "s", "mouthPath": "/s"}
    assert wish.rollout == Rollout(keep_former_s=120)
    assert created(entry()).priority == 1


def test_an_update_says_what_the_map_now_says_of_rollouts() -> None:
    def rollout(body: dict[str, Any]) -> Rollout | None:
        wish, problems = read_update(body, FACTS)
        assert problems == []
        assert wish is not None
        return wish.rollout

    assert rollout({"description": "x"}) is None
    assert rollout({"additional_properties": {"a": "b"}}) == Rollout()
    kept = {"rollout": '{"keep_former_minutes": 1}'}
    assert rollout({"additional_properties": kept}) == Rollout(keep_former_s=60)


def test_shadow_is_read() -> None:
    body = {
        "config": [
            entry(weight=0, additional_properties={"shadow": "20"}),
            entry(model_id=M2),
        ]
    }
    wish, problems = read_update(body, FACTS)
    assert problems == []
    assert wish is not None and wish.config is not None
    assert [v.shadow for v in wish.config] == [20, 0]


def test_what_is_not_in_force_is_pending_with_its_reason() -> None:
    quiet = version(entry())
    assert pending(ServiceSettings(additional_properties={"smn_notification": {}}), [quiet]) == ()
    config = version(
        entry(
            pool_name="cards",
            specification="custom",
            custom_spec={**OWN, "gpu_p4": 0.5},
            affinity=AFFINITY,
            additional_properties={
                "persistent_volumes": [VOLUME],
                "log_volume": [{"host_path": "/h", "mount_path": "/l"}],
            },
        )
    )
    service = ServiceSettings(
        3, True, {"smn_notification": {"n": {}}, "log_report_channels": [{}], "team": "a"}
    )
    found = pending(service, [quiet, config])
    assert [item.field for item in found] == [
        "priority",
        "service_secrets",
        "additional_properties.smn_notification",
        "additional_properties.log_report_channels",
        "config[1].pool_name",
        "config[1].custom_spec.gpu_p4",
        "config[1].additional_properties.persistent_volumes",
        "config[1].additional_properties.log_volume",
        "config[1].affinity",
    ]
    assert all(item.reason for item in found)


def test_the_pool_of_the_service_is_pending_under_its_own_name() -> None:
    inherited = version(entry(), cluster_id="old")
    assert [item.field for item in pending(ServiceSettings(), [inherited])] == ["cluster_id"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
members = st.sampled_from(
    [
        *("persistent_volumes", "log_volume", "max_surge", "shadow", "name", "mount_path", "mode"),
        *("node_affinity", "pool_infos", "pool_name", "nodes", "cpu", "memory", "gpu_p4"),
        *("smn_notification", "log_report_channels", "rollout", "topic_urn", "events", "type"),
    ]
)
nested = st.recursive(
    json_values,
    lambda inner: st.dictionaries(members, inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=8,
)


@given(
    config=st.dictionaries(
        st.sampled_from(
            ["additional_properties", "affinity", "custom_spec", "specification", "pool_name"]
        ),
        nested | st.sampled_from(["custom", "cards"]),
    ),
    service=st.dictionaries(
        st.sampled_from(["additional_properties", "service_secrets", "priority", "pool_name"]),
        nested,
    ),
)
def test_any_json_is_a_wish_or_problems_that_name_a_field(
    config: dict[str, Any], service: dict[str, Any]
) -> None:
    whole = entry(model_id=M1, pool_name="cards") | config
    body = {"service_name": "s", "infer_type": "real-time", "config": [whole]} | service
    wish, problems = read_create(body, FACTS)
    assert (wish is None) == bool(problems)
    assert all(p.field and p.reason and p.remedy for p in problems)
    if wish is not None:
        stored = VersionConfig.from_json(wish.config[0].to_json())
        assert stored.fingerprint == wish.config[0].fingerprint
