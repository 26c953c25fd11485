"""The fields of a model version (services.md §3.3, §3.4)."""

from __future__ import annotations

from field_kit import (
    ABSENT,
    BATCH,
    BLANK,
    CUSTOM,
    GONE,
    M1,
    M2,
    MAX_INSTANCES,
    NEW,
    NOT_NUMBER,
    NOT_OBJECT,
    NOT_TEXT,
    NOT_WHOLE,
    OWN,
    POOLED,
    UNKNOWN,
    Bad,
    Row,
    config_of,
    entry,
    in_config,
)

_CUSTOM_IN_OLD = config_of(entry(cluster_id="old", specification="custom", custom_spec=OWN))

CONFIG_ROWS = (
    in_config(
        "model_id",
        good=(M1, M2),
        bad=(
            *BLANK,
            Bad(UNKNOWN, "3507", status=404),
            Bad("nobody", "3507", status=404),
            Bad(NEW, "3515"),
            Bad(BATCH, "3589"),
            *NOT_TEXT,
        ),
    ),
    in_config(
        "weight",
        good=(100, "100"),
        bad=(*GONE, Bad("", "3610"), 101, -1, "101", 10**20, *NOT_WHOLE),
    ),
    in_config(
        "specification",
        good=("modelarts.vm.cpu.2u",),
        bad=(
            *BLANK,
            *("modelarts.vm.cpu.8u", "MODELARTS.VM.CPU.2U", *NOT_TEXT),
            *(
                Bad(name, "3518")
                for name in (
                    *("modelarts.vm.gpu.p4", "modelarts.vm.gpu.pnt004", "modelarts.vm.ai1.a310"),
                    *("modelsarts.vm.ai1.a310", "modelarts.vm.ai1.snt3"),
                )
            ),
        ),
    ),
    in_config(
        "specification",
        good=(
            *("modelarts.vm.cpu.2u", "modelarts.vm.gpu.p4", "modelarts.vm.gpu.pnt004"),
            *("modelarts.vm.ai1.a310", "modelsarts.vm.ai1.a310", "modelarts.vm.ai1.snt3"),
        ),
        bad=(*BLANK, "nothing"),
        around=POOLED,
    ),
    in_config(
        "specification",
        good=("modelarts.vm.cpu.2u",),
        bad=("modelarts.vm.gpu.p4", "modelarts.vm.ai1.a310"),
        around=config_of(entry(pool_name="plain")),
    ),
    # custom needs a dedicated pool.
    in_config("specification", bad=("custom",), around=config_of(entry(custom_spec=OWN))),
    in_config(
        "instance_count",
        good=(1, MAX_INSTANCES, "1"),
        bad=(*GONE, Bad("", "3610"), 0, -1, MAX_INSTANCES + 1, "0", *NOT_WHOLE),
    ),
    in_config(
        "envs",
        good=(ABSENT, None, {}, {"A": ""}, {"A": "1", "b_c": "型"}),
        bad=(
            *NOT_OBJECT,
            {"": "x"},
            {"A=B": "x"},
            *(Bad({"A": value}, at=".A") for value in (1, None, True, [], {})),
        ),
    ),
    in_config(
        "deploy_timeout_in_seconds",
        good=(ABSENT, None, "", 180, 7200, "600"),
        bad=(179, 7201, 0, -1, *NOT_WHOLE),
    ),
    in_config(
        "cluster_id",
        good=(ABSENT, None, "", "  ", "old", "ailing"),
        bad=(Bad("none", "3547"), Bad("plain", "3547"), "broken", *NOT_TEXT),
    ),
    in_config(
        "pool_name",
        good=(ABSENT, None, "", "plain", "cards"),
        bad=(Bad("none", "50015001"), Bad("old", "50015001"), "waiting", *NOT_TEXT),
    ),
    # pool_name beats cluster_id, whose state then does not matter; but it must exist.
    in_config(
        "cluster_id",
        good=("old", "broken"),
        bad=(Bad("none", "3547"),),
        around=config_of(entry(pool_name="plain")),
    ),
    *(
        in_config(key, good=("x", "", None, 1, ["a"], {"a": 1}))
        for key in (
            *("src_path", "dest_path", "req_uri", "mapping_type", "mapping_rule", "src_type"),
            "nodes",
        )
    ),
    in_config("instance_cont", bad=(1, None)),
    # Void beside another flavor.
    in_config("custom_spec", good=(ABSENT, None, OWN, "x", {"cpu": -1})),
    in_config("custom_spec", bad=(*GONE, *NOT_OBJECT), around=CUSTOM),
    Row(
        ("config", 0, "custom_spec", "cpu"),
        good=(0.01, 1, 2.5, 1.234, 1e12),
        bad=(*GONE, 0, 0.009, -1, 1e13, 10**400, *NOT_NUMBER),
        around=CUSTOM,
    ),
    Row(
        ("config", 0, "custom_spec", "memory"),
        good=(1, 2048, "2048", 10**9),
        bad=(*GONE, 0, -1, 10**9 + 1, *NOT_WHOLE),
        around=CUSTOM,
    ),
    Row(
        ("config", 0, "custom_spec", "gpu_p4"),
        good=(ABSENT, None, 0, 0.0, 0.25, 1, 2.5),
        bad=(-0.01, 0.125, 0.001, *NOT_NUMBER),
        around=CUSTOM,
    ),
    Row(
        ("config", 0, "custom_spec", "ascend_a310"),
        good=(ABSENT, None, 0, 1, "2"),
        bad=(-1, *NOT_WHOLE),
        around=CUSTOM,
    ),
    Row(
        ("config", 0, "custom_spec", "ascend_a910"),
        good=(ABSENT, None, 0),
        bad=(1, -1, 1.5),
        around=CUSTOM,
    ),
    in_config(
        "custom_spec",
        good=({**OWN, "gpu_p4": 0, "ascend_a310": 1}, {**OWN, "gpu_p4": 1, "ascend_a310": 0}),
        bad=(
            Bad({**OWN, "gpu_p4": 1, "ascend_a310": 1}, at=".ascend_a310"),
            Bad({**OWN, "disk": 1}, at=".disk"),
        ),
        around=CUSTOM,
    ),
    in_config(
        "custom_spec",
        good=(OWN, {**OWN, "gpu_p4": 0}),
        bad=(
            Bad({**OWN, "gpu_p4": 0.5}, at=".gpu_p4"),
            Bad({**OWN, "ascend_a310": 1}, at=".ascend_a310"),
        ),
        around=_CUSTOM_IN_OLD,
    ),
)
