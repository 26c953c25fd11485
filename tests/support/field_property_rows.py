"""What a version says in ``additional_properties`` and ``affinity`` (services.md §5.2, §5.3)."""

from __future__ import annotations

from typing import Any

from field_kit import (
    ABSENT,
    BAD_PATHS,
    BLANK,
    GONE,
    M2,
    NOT_ARRAY,
    NOT_NUMBER,
    NOT_OBJECT,
    NOT_TEXT,
    NOT_WHOLE,
    PATHS,
    POOLED,
    Bad,
    Json,
    Row,
    config_of,
    entry,
    in_config,
    in_properties,
)

_NODES = ("config", 0, "affinity", "node_affinity")
_INFO: Json = {"pool_name": "cards", "nodes": [{"name": "10.0.0.1"}]}
_AFFINITY: Json = {"node_affinity": {"mode": "required", "pool_infos": [_INFO]}}
_WITH_AFFINITY = config_of(entry(pool_name="cards", affinity=_AFFINITY))
_ONE_VOLUME: Json = {"name": "v", "mount_path": "/v"}
_ONE_LOG: Json = {"host_path": "/h", "mount_path": "/l"}


def _volumes(key: str, count: int, **more: Any) -> list[Json]:
    other = "name" if key == "persistent_volumes" else "host_path"
    return [{other: "/h", "mount_path": f"/m{n}"} | more for n in range(count)]


VERSION_PROPERTY_ROWS = (
    in_config(
        "additional_properties",
        good=(ABSENT, None, {}, {"x": {}}),
        bad=(*NOT_OBJECT, Bad({"x": 1}, at=".x"), Bad({"x": {"y": 1}}, at=".x.y")),
    ),
    in_config(
        "additional_properties",
        bad=(Bad({"max_surge": 1, "x": {"max_surge": 2}}, at=".x.max_surge"),),
    ),
    *in_properties(
        "max_surge",
        good=(ABSENT, None, 0.01, 0.5, 0.99, 1, 1.0, 3),
        bad=(0, -0.1, 1.5, *NOT_NUMBER),
    ),
    *in_properties(
        "max_unavailable",
        good=(ABSENT, None, 0, 0.0, 0.5, 1, 2),
        bad=(-0.1, 1.5, *NOT_NUMBER),
    ),
    *in_properties(
        "termination_grace_period_seconds",
        good=(ABSENT, None, 0, 60, 3600, "30"),
        bad=(-1, 3601, *NOT_WHOLE),
    ),
    *in_properties("shadow", good=(ABSENT, None), bad=(0, 101, *NOT_WHOLE, 1, 100)),
    *in_properties(
        "shadow",
        good=(1, 100, "50"),
        bad=(0, 101, -1),
        around=config_of(entry(weight=0), entry(model_id=M2)),
    ),
    # In the shared pool volumes are refused, but an empty list asks for nothing.
    *in_properties("persistent_volumes", good=(ABSENT, None, []), bad=(*NOT_ARRAY, [_ONE_VOLUME])),
    *in_properties("log_volume", good=(ABSENT, None, []), bad=(*NOT_ARRAY, [_ONE_LOG])),
    *in_properties(
        "persistent_volumes",
        good=([], [_ONE_VOLUME], _volumes("persistent_volumes", 10)),
        bad=(
            *NOT_ARRAY,
            Bad(["x"], at="[0]"),
            Bad([{**_ONE_VOLUME, "size": 1}], at="[0].size"),
            Bad([_ONE_VOLUME, _ONE_VOLUME], at="[1].mount_path"),
            Bad([_ONE_VOLUME, {**_ONE_VOLUME, "mount_path": "/v/w"}], at="[1].mount_path"),
            Bad([{**_ONE_VOLUME, "mount_path": "/v/w/"}, _ONE_VOLUME], at="[1].mount_path"),
        ),
        around=POOLED,
    ),
    *in_properties(
        "log_volume",
        good=([], [_ONE_LOG], _volumes("log_volume", 10)),
        bad=(
            *NOT_ARRAY,
            Bad(["x"], at="[0]"),
            Bad([{**_ONE_LOG, "size": 1}], at="[0].size"),
            Bad([_ONE_LOG, _ONE_LOG], at="[1].mount_path"),
        ),
        around=POOLED,
    ),
    in_config(
        "additional_properties",
        good=(
            {"persistent_volumes": [_ONE_VOLUME], "log_volume": [_ONE_LOG]},
            {"a": {"persistent_volumes": [_ONE_VOLUME]}, "b": {"log_volume": [_ONE_LOG]}},
        ),
        bad=(
            {"a": {"log_volume": _volumes("log_volume", 11)}},
            {
                "persistent_volumes": _volumes("persistent_volumes", 6),
                "log_volume": _volumes("log_volume", 5),
            },
            Bad(
                {
                    "persistent_volumes": [_ONE_VOLUME],
                    "x": {"log_volume": [_ONE_LOG | {"mount_path": "/v"}]},
                },
                at=".x.log_volume[0].mount_path",
            ),
        ),
        around=POOLED,
    ),
    *(
        Row(
            ("config", 0, "additional_properties", "persistent_volumes", 0, key),
            good=good,
            bad=bad,
            around=config_of(
                entry(
                    pool_name="cards",
                    additional_properties={"persistent_volumes": [_ONE_VOLUME]},
                )
            ),
        )
        for key, good, bad in (
            ("mount_path", PATHS, (*BLANK, *BAD_PATHS)),
            ("name", ("v", "v" * 255), (*BLANK, "v" * 256, *NOT_TEXT)),
            ("storage_type", (ABSENT, None, "sfs_turbo"), ("", "nfs", "SFS_TURBO", *NOT_TEXT)),
            ("source_address", (ABSENT, None, "", "id", "s" * 255), ("s" * 256, *NOT_TEXT)),
        )
    ),
    Row(
        ("config", 0, "additional_properties", "persistent_volumes", 0),
        good=({"mount_path": "/v", "storage_type": "sfs_turbo", "source_address": "id"},),
        bad=(
            Bad({"mount_path": "/v"}, "3610", ".name"),
            Bad({"mount_path": "/v", "storage_type": "sfs_turbo"}, "3610", ".source_address"),
        ),
        around=POOLED,
    ),
    *(
        Row(
            ("config", 0, "additional_properties", "log_volume", 0, key),
            good=PATHS,
            bad=(*BLANK, *BAD_PATHS),
            around=config_of(
                entry(pool_name="cards", additional_properties={"log_volume": [_ONE_LOG]})
            ),
        )
        for key in ("host_path", "mount_path")
    ),
    in_config("affinity", good=(ABSENT, None, {}), bad=(*NOT_OBJECT, _AFFINITY)),
    in_config(
        "affinity",
        good=(ABSENT, None, {}, _AFFINITY),
        bad=(*NOT_OBJECT, Bad({"pod_affinity": {}}, at=".pod_affinity")),
        around=POOLED,
    ),
    Row(_NODES, good=(ABSENT,), bad=(Bad(None, "3610"), *NOT_OBJECT), around=_WITH_AFFINITY),
    Row(
        (*_NODES, "mode"),
        good=("required", "preferred"),
        bad=(*BLANK, "Required", "must", *NOT_TEXT),
        around=_WITH_AFFINITY,
    ),
    Row(
        (*_NODES, "pool_infos"),
        good=([_INFO], [{"pool_name": "cards"}], [{"pool_name": "cards", "nodes": []}]),
        bad=(*GONE, Bad([], "3610"), *NOT_ARRAY, [_INFO, _INFO], Bad(["x"], at="[0]")),
        around=_WITH_AFFINITY,
    ),
    Row((*_NODES, "weight"), bad=(1,), around=_WITH_AFFINITY),
    Row(
        (*_NODES, "pool_infos", 0, "pool_name"),
        good=("cards",),
        bad=(*BLANK, "plain", "none", *NOT_TEXT),
        around=_WITH_AFFINITY,
    ),
    Row(
        (*_NODES, "pool_infos", 0, "nodes"),
        good=(ABSENT, None, [], [{"name": "10.0.0.1"}, {"name": "10.0.0.2"}]),
        bad=(
            *NOT_ARRAY,
            Bad(["10.0.0.1"], at="[0]"),
            Bad([{"name": "10.0.0.1"}] * 2, at="[1].name"),
            Bad([{"name": "10.0.0.1", "zone": "a"}], at="[0].zone"),
        ),
        around=_WITH_AFFINITY,
    ),
    Row(
        (*_NODES, "pool_infos", 0, "nodes", 0, "name"),
        good=("10.0.0.1", "10.0.0.2"),
        bad=(*BLANK, "10.0.0.3", *NOT_TEXT),
        around=_WITH_AFFINITY,
    ),
)
