"""The doctor's sample requests and its conclusions; nothing is started here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelyard.cli.doctor.advice import check_answer, check_result, suggest
from modelyard.cli.doctor.sample import from_file, from_schema
from modelyard.cli.doctor.trial import Answers, Memory
from modelyard.packages.config.apis import Api
from modelyard.packages.doctor import Level
from modelyard_instance.worker.rehearse import oddities


def api(**properties: Any) -> Api:
    return Api(request_schema={"type": "object", "properties": properties})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "number"}, 1.0),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "boolean"}, True),
        ({"type": "string"}, "text"),
        ({"type": "string", "enum": ["a", "b"]}, "a"),
        ({"type": "integer", "default": 9}, 9),
        ({"type": "array", "items": [{"type": "number"}]}, [1.0]),
        ({"type": "array", "items": {"type": "string"}}, ["text"]),
        ({"type": "array"}, []),
        ({"properties": {"a": {"type": "null"}}}, {"a": None}),
        ("nonsense", None),
    ],
)
def test_a_schema_becomes_a_body(schema: object, value: object) -> None:
    sample = from_schema(api(x=schema))
    assert sample is not None
    assert json.loads(sample.content) == {"x": value}
    assert sample.frame() == b"\n" + sample.content


def test_a_file_in_the_schema_makes_a_form() -> None:
    sample = from_schema(api(images={"type": "file"}, top={"type": "integer"}))
    assert sample is not None
    assert sample.is_form
    assert [(field, name) for field, name, _ in sample.files] == [("images", "images.png")]
    assert sample.fields == (("top", "1"),)
    header, _, body = sample.frame().partition(b"\n")
    parts = json.loads(header)["parts"]
    assert parts[0] == ["top", None, "", 1]
    assert sum(part[3] for part in parts) == len(body)


def test_nothing_described_is_nothing_to_ask() -> None:
    assert from_schema(Api()) is None
    assert from_schema(Api(request_schema={"type": "object"})) is None


def test_a_file_of_ones_own_is_json_or_an_upload() -> None:
    assert from_file("a.json", b'{"a": 1}', Api()).content == b'{"a": 1}'
    assert from_file("a.png", b"\x89PNG", Api()).files == (("images", "a.png", b"\x89PNG"),)
    own = from_file("a.png", b"\x89PNG", api(photo={"type": "file"}))
    assert own.files == (("photo", "a.png", b"\x89PNG"),)
    assert own.given


@pytest.mark.parametrize(
    ("memory", "seconds", "rate", "flavor", "count"),
    [
        (Memory(100, 30), 0.01, 10, "modelarts.vm.cpu.2u", 1),
        (Memory(100, 30), 0.1, 10, "modelarts.vm.cpu.2u", 2),
        (Memory(100, 30), 1.0, 10, "modelarts.vm.cpu.2u", 15),
        (Memory(7000, 30), 0.01, 10, "custom", 1),
    ],
)
def test_a_suggestion_holds_the_model_and_the_rate(
    memory: Memory, seconds: float, rate: float, flavor: str, count: int
) -> None:
    told = suggest(memory, Answers(200, "", (5.0, seconds)), rate)
    assert (told.flavor, told.count) == (flavor, count)
    assert told.memory_mb >= memory.workers_mb * 1.3
    assert told.memory_mb % 128 == 0


def test_without_an_answer_one_instance_is_suggested() -> None:
    assert suggest(Memory(1, 1), None, 100).count == 1
    assert suggest(Memory(1, 1), Answers(500, "", (1.0,)), 100).count == 1


def test_a_failed_answer_weighs_more_when_the_request_was_given() -> None:
    assert check_answer(Answers(200, ""), given=True) == []
    assert check_answer(Answers(500, "x"), given=True)[0].level is Level.ERROR
    assert check_answer(Answers(400, "x"), given=False)[0].level is Level.WARNING


def test_what_json_hides_is_told() -> None:
    numpy = pytest.importorskip("numpy")
    result = {
        "a": numpy.array([[1.0, numpy.nan]]),
        "b": [numpy.float32(1), float("inf")],
        2: "two",
        "fine": {"x": [1, 2.5, "t", None, True]},
    }
    found = sorted(set(oddities(result)))
    assert found == [
        ("foreign", "answer.a", "numpy.ndarray"),
        ("foreign", "answer.b[0]", "numpy.float32"),
        ("key", "answer", "builtins.int"),
        ("nan", "answer.a", "nan"),
        ("nan", "answer.b[1]", "inf"),
    ]
    levels = {one.kind: one.level for one in check_result(found)}
    assert levels == {
        "result-foreign": Level.NOTE,
        "result-key": Level.NOTE,
        "result-nan": Level.WARNING,
    }
    assert list(oddities({"plain": [1]})) == []
