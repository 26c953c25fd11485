"""config.json: what real packages hold, what is refused and by which name (models.md §3, §9)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.packages.config.config_json import ConfigResult, parse_config

BASE: dict[str, Any] = {"model_type": "PyTorch", "model_algorithm": "image_classification"}
SPEC_EXAMPLE: dict[str, Any] = {
    **BASE,
    "runtime": "pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64",
    "metrics": {"f1": 0.91, "recall": 0.9, "precision": 0.92, "accuracy": 0.91},
    "apis": [
        {
            **{"protocol": "http", "url": "/", "method": "post"},
            "request": {
                "Content-type": "multipart/form-data",
                "data": {"type": "object", "properties": {"photo": {"type": "file"}}},
            },
            "response": {
                "Content-type": "application/json",
                "data": {"type": "object", "properties": {"label": {"type": "string"}}},
            },
        }
    ],
    "dependencies": [
        {
            "installer": "pip",
            "packages": [
                {"package_name": "Pillow", "package_version": "9.5.0", "restraint": "ATLEAST"}
            ],
        }
    ],
}


def parse(**changes: object) -> ConfigResult:
    return parse_config(json.dumps(BASE | changes).encode())


def test_the_specifications_example() -> None:
    config = parse(**SPEC_EXAMPLE).config
    assert config is not None
    assert config.metrics["precision"] == 0.92
    (api,) = config.apis
    assert api.request_type == "multipart/form-data"
    assert [param["param_name"] for param in api.input_params()] == ["photo"]
    assert [param["param_name"] for param in api.output_params()] == ["label"]
    (entry,) = config.dependencies
    assert str(entry.packages[0]) == "Pillow>=9.5.0"


TOLERATED: list[dict[str, object]] = [
    {"model_source": "custom", "tunable": False, "algorithm": "x", "downloadable_flag": True},
    {"apis": [{"procotol": "HTTP", "url": "/", "method": "POST"}]},
    {"apis": [{"protocol": "https", "request": {"Content-type": "applicaton/json"}}]},
    {"apis": [{"request": {"data": {"type": "object", "items": [{"type": "object"}]}}}]},
    {"apis": []},
    {"apis": None, "metrics": None, "dependencies": None, "health": None, "runtime": ""},
    {"model_algorithm": "image classification"},
    {"model_type": "pytorch"},
    {"metrics": {"f1": "0.9", "auc": "whatever", "recall": ""}},
    {"dependencies": [{"installer": "pip", "packages": [{"package_name": "numpy"}]}]},
    {
        "dependencies": [
            {"packages": [{"package_name": "a", "package_version": "", "restraint": ""}]}
        ]
    },
    {"dependencies": [{"packages": [{"package_name": "a", "package_version": "1.0"}]}]},
    {"dependencies": [{"packages": [{"package_name": "/home/mind/model/a-1.0.whl"}]}]},
    {"dependencies": [{"packages": [{"package_name": "scikit-learn[x]"}]}]},
    {"health": {"url": "/health", "period_seconds": "5", "failure_threshold": "10"}},
]


@pytest.mark.parametrize("changes", TOLERATED)
def test_tolerated(changes: dict[str, object]) -> None:
    result = parse(**changes)
    assert result.problems == ()
    assert result.config is not None
    assert result.config.model_type == "PyTorch"
    json.dumps([api.document() for api in result.config.apis])


def test_unknown_keys_are_told() -> None:
    assert "tunable" in parse(tunable=True).warnings[0]


def test_a_version_without_restraint_is_exact() -> None:
    config = parse(**TOLERATED[11]).config
    assert config is not None
    assert str(config.dependencies[0].packages[0]) == "a==1.0"


def _packages(**package: object) -> dict[str, object]:
    return {"dependencies": [{"installer": "pip", "packages": [package]}]}


REFUSED: list[tuple[dict[str, object], str, str]] = [
    ({"model_type": None}, "config.json.model_type", "3015"),
    ({"model_type": 3}, "config.json.model_type", "3015"),
    ({"model_type": "Fortran"}, "config.json.model_type", "3016"),
    ({"model_type": "Template"}, "config.json.model_type", "3016"),
    ({"swr_location": "a/b:1"}, "config.json.swr_location", "3016"),
    ({"cmd": "sh"}, "config.json.cmd", "3016"),
    ({"port": 80}, "config.json.port", "3016"),
    ({"model_algorithm": None}, "config.json.model_algorithm", "3015"),
    ({"model_algorithm": "1x"}, "config.json.model_algorithm", "3015"),
    ({"model_algorithm": "a<b"}, "config.json.model_algorithm", "3015"),
    ({"model_algorithm": "x" * 37}, "config.json.model_algorithm", "3015"),
    ({"runtime": 3.6}, "config.json.runtime", "3016"),
    ({"runtime": "../x"}, "config.json.runtime", "3016"),
    ({"metrics": []}, "config.json.metrics", "3015"),
    ({"metrics": {"recall": "good"}}, "config.json.metrics.recall", "3015"),
    ({"metrics": {"f1": True}}, "config.json.metrics.f1", "3015"),
    ({"apis": {}}, "config.json.apis", "3015"),
    ({"apis": [3]}, "config.json.apis[0]", "3015"),
    ({"apis": [{}, {}]}, "config.json.apis", "3016"),
    ({"apis": [{"url": "/x"}]}, "config.json.apis[0].url", "3016"),
    ({"apis": [{"method": "put"}]}, "config.json.apis[0].method", "3016"),
    ({"apis": [{"procotol": "grpc"}]}, "config.json.apis[0].procotol", "3016"),
    ({"apis": [{"request": []}]}, "config.json.apis[0].request", "3015"),
    ({"apis": [{"request": {"data": "x"}}]}, "config.json.apis[0].request.data", "3015"),
    ({"dependencies": {}}, "config.json.dependencies", "3041"),
    ({"dependencies": [1]}, "config.json.dependencies[0]", "3041"),
    ({"dependencies": [{"installer": "conda"}]}, "config.json.dependencies[0].installer", "3041"),
    (_packages(), "config.json.dependencies[0].packages[0].package_name", "3041"),
    (
        _packages(package_name="-r http://x"),
        "config.json.dependencies[0].packages[0].package_name",
        "3041",
    ),
    (
        _packages(package_name="git+https://x"),
        "config.json.dependencies[0].packages[0].package_name",
        "3041",
    ),
    (
        _packages(package_name="/home/mind/model/../../x.whl"),
        "config.json.dependencies[0].packages[0].package_name",
        "3041",
    ),
    (
        _packages(package_name="a", package_version="1; x"),
        "config.json.dependencies[0].packages[0].package_version",
        "3041",
    ),
    (
        _packages(package_name="a", package_version="1", restraint="ABOUT"),
        "config.json.dependencies[0].packages[0].restraint",
        "3041",
    ),
    ({"batching": 64}, "config.json.batching", "3016"),
    ({"batching": {}}, "config.json.batching.max_size", "3016"),
    ({"batching": {"max_size": 0}}, "config.json.batching.max_size", "3016"),
    ({"batching": {"max_size": 8, "wait": 1}}, "config.json.batching.wait", "3016"),
    ({"workers": "2"}, "config.json.workers", "3016"),
    ({"workers": 65}, "config.json.workers", "3016"),
    ({"model_type": "Image", "workers": 2}, "config.json.workers", "3016"),
    ({"model_type": "Image", "batching": {"max_size": 8}}, "config.json.batching", "3016"),
    ({"health": "x"}, "config.json.health", "3592"),
    ({"health": {"period_seconds": "x"}}, "config.json.health.period_seconds", "3592"),
    ({"health": {"period_seconds": 0}}, "config.json.health.period_seconds", "3592"),
    ({"health": {"initial_delay_seconds": -1}}, "config.json.health.initial_delay_seconds", "3592"),
    ({"health": {"protocol": "https"}}, "config.json.health.protocol", "3592"),
    (
        {"readiness_health": {"check_method": "EXEC"}},
        "config.json.readiness_health.command",
        "3592",
    ),
]


@pytest.mark.parametrize(("changes", "field", "code"), REFUSED)
def test_refused_by_name(changes: dict[str, object], field: str, code: str) -> None:
    result = parse(**changes)
    assert result.config is None
    assert (field, code) in [(problem.field, problem.code) for problem in result.problems]


def test_the_model_servers_own_options_are_known() -> None:
    result = parse(batching={"max_size": 64}, workers=2)
    assert result.config is not None
    assert result.warnings == ()


def test_each_fault_of_an_option_says_what_to_write() -> None:
    said = [one.sentence() for one in parse(batching={"size": 8}, workers="2").problems]
    assert said == [
        "config.json.batching.size: is no option of batching. "
        'Write "batching": {"max_size": 64}, or leave it out.',
        "config.json.batching.max_size: is missing. "
        'Write "batching": {"max_size": 64}, or leave it out.',
        "config.json.workers: is text and no whole number. "
        "Write a whole number from 1 to 64, without quotation marks, or leave it out.",
    ]


def test_everything_wrong_is_told() -> None:
    result = parse(model_type="x", metrics=[], apis=3, dependencies=4, health=5)
    assert len(result.problems) == 5


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "line 1, column 1"),
        (b'{"a": 1,\n "b" }', "line 2, column 6"),
        (b'{\n\n"a": "\xe9"}', "not UTF-8 (line 3"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": "\\ud800"}', "not text"),
        (b'{"a": "\\u0000"}', "not text"),
        (b'{"a\\u0000": 1}', "not text"),
        (b'{"a": 1e999}', "finite"),
        (b"[" * 200_000, "deeply"),
        (b'{"a": ' + b"[" * 150 + b"]" * 150 + b"}", "deeply"),
        (b"[]", "a list"),
        (b"1" * 10_000, "JSON"),
        (b" " * (2 << 20), "larger"),
    ],
)
def test_text_that_is_no_config(raw: bytes, said: str) -> None:
    result = parse_config(raw)
    assert result.config is None
    assert said in result.problems[0].sentence()


def test_a_byte_order_mark_is_no_fault() -> None:
    assert parse_config(b"\xef\xbb\xbf" + json.dumps(BASE).encode()).config is not None


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_keys = st.sampled_from(
    [
        *("model_type", "model_algorithm", "runtime", "metrics", "apis", "dependencies"),
        *("health", "swr_location", "installer", "packages", "package_name", "url", "request"),
        *("data", "properties", "protocol", "f1", "batching", "max_size", "workers"),
    ]
)
_names = _keys | st.text(max_size=5)
# One recursion: one within another is retried for its number of leaves again and again.
_documents = st.recursive(
    _scalars,
    lambda inner: st.dictionaries(_names, inner, max_size=6) | st.lists(inner, max_size=3),
    max_leaves=20,
)


@given(st.dictionaries(_keys, _documents, max_size=8))
def test_any_document_gives_an_answer(changes: dict[str, object]) -> None:
    raw = json.dumps(BASE | changes).encode()
    result = parse_config(raw)
    assert (result.config is None) == bool(result.problems)
    for problem in result.problems:
        assert problem.field.startswith("config.json")
        problem.sentence().encode()
    if result.config:
        json.dumps(result.config.document, allow_nan=False).encode()


@given(st.binary(max_size=200))
def test_any_bytes_give_an_answer(raw: bytes) -> None:
    assert parse_config(raw).problems
