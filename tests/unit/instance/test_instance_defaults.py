"""Packages without a script whose model takes named tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelyard_instance.inference.defaults import OnnxService, SavedModelService
from modelyard_instance.inference.engines import EngineMissing
from modelyard_instance.inference.payloads import BadRequest
from modelyard_instance.inference.tensors import (
    BARE_ROWS,
    INSTANCES,
    NAMED,
    ROWS,
    TensorSpec,
    read_inputs,
    write_outputs,
)
from modelyard_instance.spec import Spec
from modelyard_instance.worker.loader import construct, load

COLUMNS = [TensorSpec("a", "float32", (None, 1)), TensorSpec("b", "float32", (None, 1))]
TABLE = [TensorSpec("x", "float32", (None, 3))]


@pytest.mark.parametrize(
    ("specs", "data", "values", "form"),
    [
        (COLUMNS, {"a": [[1]], "b": [[2]], "more": 0}, {"a": [[1]], "b": [[2]]}, NAMED),
        (COLUMNS, {"req_data": [{"b": 2, "a": 1}]}, {"a": [[1]], "b": [[2]]}, BARE_ROWS),
        (COLUMNS, {"req_data": [{"b": [2], "a": 1}]}, {"a": [[1]], "b": [[2]]}, BARE_ROWS),
        (TABLE, {"data": {"req_data": [{"u": 1, "v": 2, "w": 3}]}}, {"x": [[1, 2, 3]]}, ROWS),
        (TABLE, {"data": {"req_data": [{"x": [1, 2, 3]}]}}, {"x": [[1, 2, 3]]}, ROWS),
        (TABLE, {"instances": [[1, 2, 3]]}, {"x": [[1, 2, 3]]}, INSTANCES),
        (
            [TensorSpec("instances", "int64", (None,))],
            {"instances": [1]},
            {"instances": [1]},
            NAMED,
        ),
    ],
)
def test_every_form_names_the_inputs(
    specs: list[TensorSpec], data: object, values: dict[str, Any], form: str
) -> None:
    assert read_inputs(data, specs) == (values, form)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([1], "send a JSON object"),
        ({"a": 1}, "the inputs b are missing; wanted: a"),
        ({"req_data": {}}, "req_data is not a list of rows"),
        ({"data": {"req_data": []}}, "data.req_data is not a list of rows"),
        ({"instances": [{"a": 1}]}, "each row of instances must have the inputs a"),
    ],
)
def test_what_is_missing_is_named(data: object, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        read_inputs(data, COLUMNS)


@pytest.mark.parametrize(
    ("form", "request_", "answer"),
    [
        (NAMED, {}, {"y": [[1.0]], "p": [0.5]}),
        (INSTANCES, {}, {"predictions": [{"y": [1.0], "p": 0.5}]}),
        (ROWS, {"meta": 7}, {"meta": 7, "data": {"resp_data": [{"y": [1.0], "p": 0.5}]}}),
        (BARE_ROWS, {}, {"resp_data": [{"y": [1.0], "p": 0.5}]}),
    ],
)
def test_answers_have_the_form_of_the_request(form: str, request_: object, answer: object) -> None:
    assert write_outputs({"y": [[1.0]], "p": [0.5]}, form, request_) == answer


def test_onnx_shapes_and_types_are_judged_before_the_model_is(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="NOT TESTED: onnx is not installed")
    pytest.importorskip("onnxruntime", reason="NOT TESTED: onnxruntime is not installed")
    helper, kind = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)],
        "total",
        [helper.make_tensor_value_info("x", kind.INT64, ["rows", 2])],
        [helper.make_tensor_value_info("y", kind.INT64, [])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "net.onnx").write_bytes(model.SerializeToString())
    service = load(Spec("i", "s", "p", "m", "net", "0.0.1", "onnx", str(tmp_path)))
    assert isinstance(service, OnnxService)
    assert service.specs() == [TensorSpec("x", "int64", (None, 2))]
    assert service.inference({"x": [[1, 2], [3, 4]]}) == {"y": 10}
    for wrong, words in (
        ([[1, 2, 3]], r"has the shape \[1, 3\]"),
        ([1, 2], "has the shape"),
        ([[1], [1, 2]], "cannot be read as int64"),
    ):
        with pytest.raises(BadRequest, match=words):
            service.inference({"x": wrong})


def test_a_saved_model_names_the_package_it_needs() -> None:
    with pytest.raises(EngineMissing, match="'tensorflow'"):
        construct(SavedModelService, "n", "/nowhere").warm_up()
