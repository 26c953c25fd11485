"""The fields of a service (services.md §2.1, §3.1, §5.1, §6)."""

from __future__ import annotations

from field_kit import (
    ABSENT,
    BAD_PATHS,
    BLANK,
    GONE,
    M2,
    NOT_ARRAY,
    NOT_OBJECT,
    NOT_TEXT,
    NOT_WHOLE,
    PATHS,
    POOLED,
    SHARED,
    TWIN,
    Bad,
    Json,
    Row,
    entry,
)
from modelyard.domain.admission.requests import Present

HOUR = {"type": "stop", "time_unit": "HOURS", "duration": 1}
_DEEP = {"a": {"b": [1, "x", None, {"c": 1.5}]}}

SERVICE_ROWS = (
    Row(
        ("service_name",),
        good=("a", "Z9", "a-b_c", "n" * 64),
        bad=(*BLANK, "n" * 65, "1a", "-a", "_a", "a b", "a.b", "ä", "a/b", "a\n", *NOT_TEXT),
        calls=("POST",),
    ),
    Row(
        ("infer_type",),
        good=("real-time",),
        bad=(
            *BLANK,
            Bad("edge", "3518"),
            *("realtime", "Real-Time", "real-time ", *NOT_TEXT),
        ),
        calls=("POST",),
    ),
    Row(
        ("description",),
        good=(ABSENT, None, "", "d" * 100, "型" * 100, "a, b; c."),
        bad=("d" * 101, "型" * 101, *(f"a{c}b" for c in "!<>+&\"'"), *NOT_TEXT),
        calls=("POST",),
    ),
    Row(
        ("description",),
        good=(ABSENT, None, "", "d" * 100, "!<>+&\"'"),
        bad=("d" * 101, *NOT_TEXT),
        calls=("PUT",),
    ),
    Row(
        ("workspace_id",),
        good=(ABSENT, None, "", "0"),
        bad=(Bad("1", "0102"), Bad("default", "0102"), *NOT_TEXT),
        calls=("POST",),
    ),
    *(
        Row((key,), good=(ABSENT, None), bad=("x", "0", 1), calls=("PUT",))
        for key in ("service_name", "infer_type", "workspace_id", "cluster_id", "pool_name")
    ),
    *(
        Row((key,), good=(ABSENT, None), bad=("x",), calls=("PUT",))
        for key in ("vpc_id", "subnet_network_id", "security_group_id")
    ),
    *(
        Row((key,), good=(ABSENT, None, ""), bad=("x", *NOT_TEXT), around=SHARED, calls=("POST",))
        for key in ("vpc_id", "subnet_network_id", "security_group_id")
    ),
    # A dedicated pool has a network of its own, which makes these void.
    *(
        Row((key,), good=("x",), bad=NOT_TEXT, around=POOLED, calls=("POST",))
        for key in ("vpc_id", "subnet_network_id", "security_group_id")
    ),
    Row(
        ("cluster_id",),
        good=(ABSENT, None, "", " ", "old", "ailing"),
        bad=(Bad("none", "3547"), Bad("cards", "3547"), "broken", *NOT_TEXT),
        calls=("POST",),
    ),
    Row(
        ("pool_name",),
        good=(ABSENT, None, "", " ", "plain", "cards"),
        bad=(Bad("none", "50015001"), Bad("old", "50015001"), "waiting", *NOT_TEXT),
        calls=("POST",),
    ),
    Row(
        ("status",),
        good=(ABSENT, None, "running", "stopped"),
        bad=("", "Running", "paused", "deleting", *NOT_TEXT),
        around={},
        calls=("PUT",),
    ),
    # status wins over config, which is then neither judged nor kept.
    Row(("config",), good=("nonsense", [], [1], 5), around={"status": "stopped"}, calls=("PUT",)),
    Row(
        ("config",),
        bad=(
            *GONE,
            Bad([], "3610"),
            *NOT_ARRAY,
            *(Bad([item], at="[0]") for item in ("x", 1, None, [])),
            [entry(weight=1)] * 101,
        ),
        calls=("POST",),
    ),
    Row(
        ("config",),
        good=(ABSENT, None, [{}], [{}, {}]),
        bad=(
            Bad([], "3610"),
            *NOT_ARRAY,
            *(Bad([item], at="[0]") for item in ("x", 1, None, [])),
            [entry(weight=1)] * 101,
        ),
        calls=("PUT",),
    ),
    Row(
        ("config",),
        good=(
            [entry(weight=60), entry(model_id=M2, weight=40)],
            [entry(weight="60"), entry(model_id=M2, weight=40)],
            [entry(weight=0), entry(model_id=M2)],
        ),
        bad=(
            *(
                Bad([entry(weight=a), entry(model_id=M2, weight=b)], at="[*].weight")
                for a, b in ((60, 39), (60, 41), (0, 0), (100, 100), ("50", 51))
            ),
            Bad([entry(weight=99)], at="[*].weight"),
            Bad([entry(weight=50), entry(weight=50)], "3516", "[1].model_id"),
            Bad([entry(weight=50), entry(model_id=TWIN, weight=50)], "3516", "[1].model_id"),
            Bad([entry(pool="x")], at="[0].pool"),
        ),
    ),
    Row(
        ("schedule",),
        good=(ABSENT, None, [], [HOUR], [{**HOUR, "duration": "90"}]),
        bad=(*NOT_ARRAY, [HOUR, HOUR], Bad(["x"], at="[0]"), Bad([None], at="[0]")),
    ),
    Row(("schedule", 0, "type"), good=("stop",), bad=(*BLANK, "start", "STOP", *NOT_TEXT)),
    Row(
        ("schedule", 0, "time_unit"),
        good=("DAYS", "HOURS", "MINUTES"),
        bad=(*BLANK, "SECONDS", "hours", *NOT_TEXT),
    ),
    Row(
        ("schedule", 0, "duration"),
        good=(1, 10_000, "1"),
        bad=(*GONE, 0, -1, 10_001, *NOT_WHOLE),
    ),
    Row(("schedule", 0, "at"), bad=("12:00",)),
    Row(
        ("load_balancer_policy",),
        good=(ABSENT, None, "ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP"),
        bad=("", "RANDOM", "round_robin", *NOT_TEXT),
    ),
    Row(
        ("priority",),
        good=(ABSENT, None, 1, 2, 3, "1", "3"),
        bad=(0, 4, -1, "0", "4", *NOT_WHOLE),
    ),
    Row(("service_secrets",), good=(ABSENT, None, []), bad=(*NOT_ARRAY, Bad([1], at="[0]"))),
    Row(
        ("service_secrets", 0, "secretId"),
        good=("s", "s" * 255),
        bad=(*BLANK, "s" * 256, *NOT_TEXT),
    ),
    Row(("service_secrets", 0, "mouthPath"), good=PATHS, bad=(*BLANK, *BAD_PATHS)),
    Row(
        ("service_secrets", 0),
        good=({"secretId": "s", "mountPath": "/s"},),
        bad=(
            Bad({"secretId": "s"}, "3610", ".mouthPath"),
            Bad({"secretId": "s", "mouthPath": "/a", "mountPath": "/b"}, at=".mountPath"),
            Bad({"secretId": "s", "mouthPath": "/a", "key": "x"}, at=".key"),
        ),
    ),
    Row(
        ("service_secrets",),
        good=([{"secretId": "s", "mouthPath": f"/s{n}"} for n in range(10)],),
        bad=(
            [{"secretId": "s", "mouthPath": f"/s{n}"} for n in range(11)],
            Bad([{"secretId": "s", "mouthPath": "/s"}] * 2, at="[1].mouthPath"),
        ),
    ),
    Row(("favourite",), bad=("x", None, 1)),
)

TOPIC: Json = {"topic_urn": "urn:t", "events": [1]}
LTS: Json = {
    "type": "LTS",
    "configuration": {"log_group_id": "g" * 64, "log_stream_id": "s" * 64},
}
CHANNELS = ("additional_properties", "log_report_channels")
SMN = ("additional_properties", "smn_notification")
_ON = Present(additional_properties={"log_report_channels": [LTS]})
PROPERTY_ROWS = (
    Row(
        ("additional_properties",),
        good=(ABSENT, None, {}, {"a": "b"}, {"a": ""}, _DEEP, {"a": None, "b": [], "c": 1.5}),
        bad=NOT_OBJECT,
    ),
    Row(
        SMN,
        good=(ABSENT, None, "", {}, {"n": TOPIC}, '{"n": {"topic_urn": "u", "events": [3]}}'),
        bad=("x", 1, [], "[1]", Bad({"n": "x"}, at=".n"), Bad({"n": None}, "3610", ".n")),
    ),
    Row((*SMN, "n", "topic_urn"), good=("urn:t",), bad=(*BLANK, *NOT_TEXT)),
    Row(
        (*SMN, "n", "events"),
        good=([1], [1, 3, 7, 11], []),
        bad=(*GONE, *NOT_ARRAY, *(Bad([e], at="[0]") for e in (0, 2, 12, "x", True, None, []))),
    ),
    Row((*SMN, "n", "level"), bad=("x",)),
    Row(
        CHANNELS,
        good=(ABSENT, None, "", [], [LTS]),
        bad=("x", 1, {"a": 1}, Bad(["x"], at="[0]"), Bad([{**LTS, "x": 1}], at="[0].x")),
    ),
    Row((*CHANNELS, 0, "type"), good=("LTS",), bad=(*BLANK, "lts", "OBS", *NOT_TEXT)),
    Row((*CHANNELS, 0, "configuration"), bad=(*GONE, *NOT_OBJECT)),
    *(
        Row(
            (*CHANNELS, 0, "configuration", key),
            good=("g", "g" * 64),
            bad=(*BLANK, "g" * 65, *NOT_TEXT),
        )
        for key in ("log_group_id", "log_stream_id")
    ),
    Row(
        CHANNELS,
        good=([LTS],),
        bad=(
            ABSENT,
            None,
            [],
            [LTS, LTS],
            [{**LTS, "configuration": {"log_group_id": "other", "log_stream_id": "s"}}],
        ),
        calls=("PUT",),
        present=_ON,
    ),
    Row(
        ("additional_properties", "websocket_upgrade"),
        good=(ABSENT, None, "", False, "false", True, "true"),
        bad=("yes", 0, 1, [], {}),
    ),
    Row(
        ("additional_properties", "websocket_upgrade"),
        good=(ABSENT, None, "", True, "true"),
        bad=(False, "false", "yes", 0, 1),
        calls=("PUT",),
        present=Present(additional_properties={"websocket_upgrade": True}),
    ),
    Row(
        ("additional_properties", "rollout"),
        good=(
            *(ABSENT, None, "", {}, "{}"),
            {"steps": [5, 25, 50]},
            '{"steps": [10], "hold_seconds": 5}',
            {"keep_former_minutes": 10},
            {"steps": [1], "check": "probe"},
        ),
        bad=(
            *(1, True, [], "x"),
            Bad({"steps": "x"}, at=".steps"),
            Bad({"colour": 1}, at=".colour"),
            Bad({"keep_former_minutes": 1441}, at=".keep_former_minutes"),
            Bad({"steps": [5], "hold_seconds": 0}, at=".hold_seconds"),
            Bad({"steps": [5], "check": "nobody"}, at=".check"),
        ),
    ),
)
