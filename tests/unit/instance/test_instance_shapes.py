from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from modelyard_instance.inference import codec
from modelyard_instance.inference.payloads import (
    BadRequest,
    Upload,
    answer_body,
    form_data,
    json_data,
    with_query,
    wrapped,
)


def test_a_form_becomes_fields_of_named_files() -> None:
    parts = [
        ("images", "a.png", "image/png", 2),
        ("note", None, "", 3),
        ("images", "b.png", "", 1),
        ("images", "a.png", "", 1),
        ("raw", "", "", 1),
    ]
    data: dict[str, Any] = form_data(parts, b"AAabcBCD")
    assert list(data) == ["images", "note", "raw"]
    assert {name: file.read() for name, file in data["images"].items()} == {
        "a.png": b"AA",
        "b.png": b"B",
        "a_1.png": b"C",
    }
    assert data["note"] == "abc"
    upload = data["raw"]["raw"]
    assert isinstance(upload, Upload)
    assert (upload.name, bytes(upload), upload.read()) == ("raw", b"D", b"D")


def test_a_repeated_text_becomes_a_list() -> None:
    assert form_data([("a", None, "", 1)] * 3, b"xyz") == {"a": ["x", "y", "z"]}


@pytest.mark.parametrize("order", [(None, "f"), ("f", None)])
def test_a_field_is_file_or_text(order: tuple[str | None, str | None]) -> None:
    with pytest.raises(BadRequest, match="'a'"):
        form_data([("a", name, "", 1) for name in order], b"xy")


def test_query_arguments_join_and_the_body_wins() -> None:
    assert with_query({"a": 1}, {"a": "2", "b": "3"}) == {"a": 1, "b": "3"}
    assert with_query([1], {"a": "2"}) == [1]


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000])
def test_malformed_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        json_data(body)


@pytest.mark.parametrize(
    ("result", "request_body", "expected"),
    [
        ([1], {"data": {"req_data": []}}, {"data": {"resp_data": [1]}}),
        ([1], {"req_data": []}, {"resp_data": [1]}),
        (
            [1],
            {"meta": {"uuid": "u"}, "data": {"req_data": []}},
            {"meta": {"uuid": "u"}, "data": {"resp_data": [1]}},
        ),
        ({"resp_data": [1]}, {"data": {"req_data": []}}, {"data": {"resp_data": [1]}}),
        ({"resp_data": [1]}, {"req_data": []}, {"resp_data": [1]}),
        ({"data": {"resp_data": [1]}}, {"data": {}}, {"data": {"resp_data": [1]}}),
        ('[{"a": 1}]', {"data": {}}, {"data": {"resp_data": [{"a": 1}]}}),
        ({"own": 1}, {"data": {}}, {"own": 1}),
        ([1], [5], {"data": {"resp_data": [1]}}),
    ],
)
def test_machine_learning_answers_take_the_form_of_their_request(
    result: object, request_body: object, expected: object
) -> None:
    assert wrapped(result, request_body) == expected


class Tensor:
    def tolist(self) -> list[float]:
        return [1.5]


@pytest.mark.parametrize("with_orjson", [True, False])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            {"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True)},
            {"a": 0.5, "b": 3, "c": True},
        ),
        ({"a": np.arange(4).reshape(2, 2).T}, {"a": [[0, 2], [1, 3]]}),
        ({"t": Tensor()}, {"t": [1.5]}),
        ({1: "x", np.int64(2): "y"}, {"1": "x", "2": "y"}),
        ([float("nan"), np.float64("inf")], [None, None]),
        (
            {"s": {3}, "d": Decimal("1.5"), "b": b"x", "g": (1, 2)},
            {"s": [3], "d": 1.5, "b": "x", "g": [1, 2]},
        ),
        ("blüte", "blüte"),
        (None, None),
        (2**70, 2**70),
        ("\ud800", "\ud800"),
    ],
)
def test_any_result_becomes_json(
    monkeypatch: pytest.MonkeyPatch, value: object, expected: object, with_orjson: bool
) -> None:
    if not with_orjson:
        monkeypatch.setattr(codec, "orjson", None)
    assert json.loads(codec.encode(value)) == expected


def test_what_json_cannot_tell_is_an_error() -> None:
    with pytest.raises(TypeError, match="object"):
        codec.encode({"a": object()})


@pytest.mark.parametrize("with_orjson", [True, False])
def test_json_of_careless_clients_is_read(
    monkeypatch: pytest.MonkeyPatch, with_orjson: bool
) -> None:
    if not with_orjson:
        monkeypatch.setattr(codec, "orjson", None)
    assert codec.decode(b'\xef\xbb\xbf{"a": Infinity}') == {"a": float("inf")}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ('{"a": 1}', (b'{"a": 1}', "application/json")),
        ("plain text", (b'"plain text"', "application/json")),
        ("[broken", (b'"[broken"', "application/json")),
        (b'{"a":1}', (b'{"a":1}', "application/json")),
        (b"\xff\x00", (b"\xff\x00", "application/octet-stream")),
        ([1, "é"], ('[1,"é"]'.encode(), "application/json")),
    ],
)
def test_texts_lists_and_bytes_are_answers(result: object, expected: tuple[bytes, str]) -> None:
    assert answer_body(result) == expected
