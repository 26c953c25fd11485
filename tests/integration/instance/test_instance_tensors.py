"""The Open Inference Protocol, on the same instance as the ModelArts forms."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from instance_support import ECHO, Instance, running, write_package
from modelyard_instance.inference.openinference import BadTensors, Target, rows_of, target_of

X, Y = load_iris(return_X_y=True)
MODEL = LogisticRegression(max_iter=1000).fit(X, Y)


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    folder = tmp_path_factory.mktemp("tensors")
    package = write_package(folder / "p", None, model_type="Scikit_Learn")
    (package / "model" / "iris.pkl").write_bytes(pickle.dumps(MODEL))
    spec = {"model_type": "Scikit_Learn", "model_name": "iris", "model_version": "1.2.3"}
    with running(package, folder / "i", **spec) as instance:
        instance.wait_phase("ready")
        yield instance


def tensor(rows: Any, **more: Any) -> dict[str, Any]:
    flat = [value for row in rows for value in row]
    shape = [len(rows), len(rows[0])]
    return {"name": "rows", "shape": shape, "datatype": "FP64", "data": flat, **more}


def test_server_and_model_tell_of_themselves(iris: Instance) -> None:
    assert iris.get("/v2").json()["name"] == "modelyard"
    assert iris.get("/v2/health/live").json() == {"live": True}
    assert iris.get("/v2/health/ready").json() == {"ready": True}
    told = iris.get("/v2/models/iris").json()
    assert told["inputs"] == [{"name": "rows", "datatype": "FP64", "shape": [-1, 4]}]
    assert told["versions"] == ["1.2.3"]
    assert iris.get("/v2/models/iris/versions/1.2.3").json() == told
    assert iris.get("/v2/models/iris/versions/1.2.3/ready").json()["ready"] is True
    for path in ("/v2/models/other", "/v2/models/iris/versions/9.9.9"):
        assert "not served here" in iris.get(path).json()["error"]
        assert iris.get(path).status_code == 404
    assert iris.get("/v2/nothing").status_code == 404
    assert iris.get("/v2/models/iris/infer").status_code == 405


def test_tensors_in_and_out(iris: Instance) -> None:
    rows = X[::30].tolist()
    body = {"id": "a", "inputs": [tensor(rows)], "outputs": [{"name": "predict"}]}
    answer = iris.post("/v2/models/iris/infer", json=body).json()
    predicted = MODEL.predict(rows).tolist()
    output = {"name": "predict", "shape": [5], "datatype": "INT64", "data": predicted}
    named = {"model_name": "iris", "model_version": "1.2.3"}
    assert answer == {**named, "id": "a", "outputs": [output]}
    body = {"inputs": [tensor(rows, data=rows)], "outputs": [{"name": "predict_proba"}]}
    (proba,) = iris.post("/v2/models/iris/versions/1.2.3/infer", json=body).json()["outputs"]
    assert (proba["shape"], proba["datatype"]) == ([5, 3], "FP64")
    assert proba["data"] == MODEL.predict_proba(rows).ravel().tolist()
    # The ModelArts form is still the model's, on the same port.
    same = iris.post("/", json={"req_data": rows}).json()["resp_data"]
    assert [one["predictresult"] for one in same] == predicted


def test_bad_requests_name_what_is_wrong(iris: Instance) -> None:
    url = "/v2/models/iris/infer"
    for body, word in (
        ({}, "inputs"),
        ({"inputs": [tensor([[1.0, 2.0]], data=[1])]}, "1 values for the shape [1, 2]"),
        ({"inputs": [tensor([[1.0]], datatype="FLOAT")]}, "FLOAT"),
        ({"inputs": [tensor([[1.0, 2, 3, 4]])], "outputs": [{"name": "x"}]}, "output 'x'"),
        ({"inputs": [tensor([[1.0, 2, 3, 4]])], "outputs": {"name": "x"}}, "outputs"),
    ):
        answer = iris.post(url, json=body)
        assert answer.status_code == 400
        assert word in answer.json()["error"]
    assert iris.post(url, content=b"{").status_code == 400
    wide = iris.post(url, json={"inputs": [tensor([[1.0, 2.0]])]})
    assert wide.status_code == 500
    assert "features" in wide.json()["error"]


def test_a_package_with_a_script_speaks_no_tensors(tmp_path: Path) -> None:
    package = write_package(tmp_path / "p", ECHO)
    with running(package, tmp_path / "i") as instance:
        instance.wait_phase("ready")
        assert instance.get("/v2/health/ready").status_code == 200
        answer = instance.get("/v2/models/echo")
        assert (answer.status_code, "script" in answer.json()["error"]) == (404, True)
        # An argument of that name is nothing special.
        assert instance.post("/?v2=1", json={}).json() == {"seen": {"v2": "1"}}


def test_columns_become_rows() -> None:
    one = {"name": "a", "shape": [2], "datatype": "INT32", "data": [1, 2]}
    two = {"name": "b", "shape": [2, 1], "datatype": "BYTES", "data": [["x"], ["y"]]}
    assert rows_of({"inputs": [one, two]}) == [[1, "x"], [2, "y"]]
    with pytest.raises(BadTensors, match="per column"):
        rows_of({"inputs": [one, {**two, "shape": [1, 2]}]})
    with pytest.raises(BadTensors, match="above 0"):
        rows_of({"inputs": [{**one, "shape": [0], "data": []}]})


def test_paths() -> None:
    assert target_of("/v2/models/a/versions/1/infer") == Target("infer", "a", "1")
    assert target_of("/v2/models/a/infer") == Target("infer", "a")
    assert target_of("/v2/") == Target("server")
    for path in ("/", "/v2/models", "/v2/models/a/b", "/v2/health", "/v3"):
        assert target_of(path) is None
