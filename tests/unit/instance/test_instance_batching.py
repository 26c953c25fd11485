"""Batched requests are answered as if each had come alone."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from modelyard_instance.headers import RequestHeader
from modelyard_instance.inference.base_services import (
    DefaultService,
    PTServingBaseService,
    SingleNodeService,
    XgSklServingBaseService,
)
from modelyard_instance.inference.defaults import OnnxService
from modelyard_instance.worker.apis import BadConfig
from modelyard_instance.worker.batching import (
    Batcher,
    CannotBatch,
    batcher_for,
    keeps_nothing,
    rows_apart,
)
from modelyard_instance.worker.handler import Answer, handle
from modelyard_instance.worker.options import Options, options_of
from modelyard_instance.worker.rows import Unbatchable, joined, parted

X, Y = load_iris(return_X_y=True)


def default(model: Any) -> DefaultService:
    service = DefaultService(model_path="x")
    service.model = model
    return service


IRIS = default(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y))
VALUES = st.one_of(
    st.floats(-10, 10),
    st.integers(-9, 9),
    st.sampled_from(["4", "x", None, True, 1 << 60, float("nan")]),
)
ROWS = st.lists(
    st.one_of(
        st.lists(st.floats(0, 8), min_size=4, max_size=4),
        st.lists(VALUES, min_size=3, max_size=5),
        st.fixed_dictionaries({name: st.floats(0, 8) for name in "dcba"}),
    ),
    max_size=4,
)
BODIES = st.one_of(
    ROWS.map(lambda rows: json.dumps({"data": {"req_data": rows}, "meta": {"uuid": len(rows)}})),
    ROWS.map(lambda rows: json.dumps({"req_data": rows})),
    st.sampled_from(["{", "[]", '{"data": 1}', '{"data": {}}', "", '{"req_data": 3}']),
)


def one_by_one(service: SingleNodeService, header: bytes, body: bytes) -> Answer:
    return handle(service, RequestHeader.decode(header), body)


@settings(max_examples=60, deadline=None)
@given(st.lists(BODIES, min_size=1, max_size=12))
def test_a_batch_is_answered_as_one_by_one(bodies: list[str]) -> None:
    frames = [(b"", body.encode()) for body in bodies]
    batcher = batcher_for(IRIS, Options())
    assert batcher is not None
    assert batcher.answer(frames) == [one_by_one(IRIS, *frame) for frame in frames]


def test_a_batch_is_one_call_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = IRIS.model.predict

    def predict(rows: Any) -> Any:
        sizes.append(len(rows))
        return real(rows)

    monkeypatch.setattr(IRIS.model, "predict", predict)
    one, bad = {"req_data": [[5.1, 3.5, 1.4, 0.2]]}, {"req_data": [[1, 2]]}
    frames = [(b"", json.dumps(body).encode()) for body in (one, one, bad, one)]
    answers = Batcher(IRIS, 64, asked=False).answer(frames)
    assert [one.status for one in answers] == [200, 200, 500, 200]
    assert sizes == [3, 1]


class Tensors(PTServingBaseService):
    """Rows as arrays under a name, scores as another."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def _preprocess(self, data: Any) -> Any:
        return {"x": np.asarray(data["x"], dtype=data.get("type", "float32"))}

    def _inference(self, data: Any) -> Any:
        self.calls.append(len(data["x"]))
        if (data["x"] < 0).any():
            raise ValueError("negative")
        return {"sum": data["x"].sum(axis=1), "rows": data["x"].tolist()}

    def _postprocess(self, data: Any) -> Any:
        if data["sum"][0] > 100:
            raise KeyError("too much")
        return {name: list(value) for name, value in data.items()}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"x": st.lists(st.lists(st.integers(-1, 60), min_size=2, max_size=2), max_size=3)},
            optional={"type": st.sampled_from(["int64", "float32"])},
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_package_that_asks_is_answered_as_one_by_one(requests: list[Any]) -> None:
    logging.disable()
    frames = [(b"", json.dumps(one).encode()) for one in requests]
    batcher = batcher_for(Tensors(), options_of({"batching": {"max_size": 8}}))
    assert batcher is not None
    assert batcher.answer(frames) == [one_by_one(Tensors(), *frame) for frame in frames]
    logging.disable(logging.NOTSET)


def test_what_cannot_be_taken_apart_is_computed_one_by_one() -> None:
    class Total(Tensors):
        def _inference(self, data: Any) -> Any:
            return {"sum": [data["x"].sum()]}

    frames = [(b"", json.dumps({"x": [[number, 1]] * 2}).encode()) for number in range(3)]
    answers = Batcher(Total(), 8, asked=True).answer(frames)
    assert [json.loads(one.body)["sum"] for one in answers] == [[2.0], [4.0], [6.0]]


@pytest.mark.parametrize(
    ("model", "apart"),
    [
        (LogisticRegression().fit(X, Y), True),
        (make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y), True),
        (DecisionTreeRegressor().fit(X, Y), True),
        (LinearRegression().fit(X, Y), False),
        (KNeighborsClassifier().fit(X, Y), False),
        (make_pipeline(FunctionTransformer(), LogisticRegression()).fit(X, Y), False),
        (
            make_pipeline(
                ColumnTransformer([("odd", FunctionTransformer(), [0])]), LogisticRegression()
            ).fit(X, Y),
            False,
        ),
        (type("Own", (LogisticRegression,), {})().fit(X, Y), False),
    ],
    ids=lambda value: str(value)[:30],
)
def test_only_models_whose_rows_do_not_touch(model: Any, apart: bool) -> None:
    assert rows_apart(model) is apart
    assert (batcher_for(default(model), Options()) is not None) is apart


def written(source: str) -> SingleNodeService:
    """A service of a script that has ``source`` as its class's body."""
    module = ModuleType("batching_script")
    sys.modules["batching_script"] = module
    lines = "\n".join(f"    {line}" for line in source.splitlines())
    base = (
        "from modelyard_instance.inference.base_services import XgSklServingBaseService as Base\n"
        "import json\n"
    )
    exec(f"{base}SEEN = []\nNAMES = ('a', 'b')\nclass Own(Base):\n{lines}\n", vars(module))
    service: SingleNodeService = module.Own(model_path="x")
    return service


READS = (
    "def _preprocess(self, data):\n    return [[r[n] for n in NAMES] for r in json.loads(data)]\n"
)


@pytest.mark.parametrize(
    ("source", "nothing"),
    [
        ("pass", True),
        (READS, True),
        (
            READS
            + "def _postprocess(self, data):\n    return json.dumps([NAMES[x] for x in data])",
            True,
        ),
        (READS + "def _postprocess(self, data):\n    self.last = data\n    return data", False),
        ("def _preprocess(self, data):\n    global SEEN\n    SEEN = data\n    return data", False),
        (
            "def _preprocess(self, data):\n    SEEN.append(data)\n    return data\n"
            "def _postprocess(self, data):\n    return [SEEN[-1], data]",
            False,
        ),
        (
            "kept = {}\ndef _preprocess(self, data):\n    self.kept['x'] = data\n    return data\n"
            "def _postprocess(self, data):\n    return self.kept['x']",
            False,
        ),
        (
            "def _preprocess(self, data):\n    return self.own(data)\ndef own(self, x): return x",
            False,
        ),
        ("def _preprocess(self, data):\n    setattr(self, 'x', data)\n    return data", False),
    ],
)
def test_hooks_that_may_remember_are_not_batched_unasked(source: str, nothing: bool) -> None:
    service = written(source)
    assert isinstance(service, XgSklServingBaseService)
    service.model = LogisticRegression().fit(X, Y)
    assert keeps_nothing(service) is nothing
    assert (batcher_for(service, Options()) is not None) is nothing


def test_a_package_that_computes_itself_is_batched_only_when_it_asks() -> None:
    assert batcher_for(Tensors(), Options()) is None
    assert batcher_for(Tensors(), Options(batch=1)) is None
    own = written("def _inference(self, data): return data")
    assert batcher_for(own, Options()) is None
    whole = written("def inference(self, data): return data")
    assert batcher_for(whole, Options()) is None
    with pytest.raises(CannotBatch, match="overrides inference"):
        batcher_for(whole, Options(batch=8))
    with pytest.raises(CannotBatch, match="named tensors"):
        batcher_for(OnnxService(), Options(batch=8))
    assert batcher_for(OnnxService(), Options()) is None


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        ("return self.model.predict(data)", True),
        ('"""Predicts."""\n    return self.model.predict(data)', True),
        ("result = self.model.predict(data)\n    return result", True),
        ("return self.model.predict(np.array(data))", True),
        ("data = np.asarray(data)\n    found = self.model.predict(data)\n    return found", True),
        ("return self.model.predict_proba(data)", False),
        ("return self.other.predict(data)", False),
        ("return self.model.predict(fake.array(data))", False),
        ("return self.model.predict(np.zeros(data))", False),
        ("return self.model.predict(data)[:1]", False),
        ("yield self.model.predict(data)", False),
        ("self.last = data\n    return self.model.predict(data)", False),
    ],
)
def test_a_method_that_only_predicts_is_as_good_as_the_base_class_s(
    source: str, plain: bool
) -> None:
    service = written(
        f"import numpy as np\nfake = np.random\ndef _inference(self, data):\n    {source}"
    )
    assert isinstance(service, XgSklServingBaseService)
    vars(sys.modules["batching_script"]).update(np=np, fake=json)
    assert batcher_for(service, Options()) is None  # no model of its own yet
    service.model = LogisticRegression().fit(X, Y)
    batcher = batcher_for(service, Options())
    assert (batcher is not None) is plain
    if batcher is not None:
        rows = [X[n : n + 1 + n % 3].tolist() for n in range(0, 120, 7)]
        frames = [(b"", json.dumps({"data": {"req_data": one}}).encode()) for one in rows]
        assert batcher.answer(frames) == [one_by_one(service, *frame) for frame in frames]


def test_other_ways_to_predict_are_never_in_a_batch() -> None:
    class Hooked(Tensors):
        def batch_inference(self, data: Any) -> Any:
            return {"hook": data["x"], "calls": len(self.calls)}

    service = Hooked()
    body = json.dumps({"x": [[1, 2]]}).encode()
    frames = [(b"", body), (b'{"hook": "batch"}', body), (b"", body), (b'{"v2": "1.0.0"}', body)]
    answers = Batcher(service, 8, asked=True).answer(frames)
    assert service.calls == [2]
    assert json.loads(answers[1].body) == {"hook": [[1, 2]], "calls": 1}
    assert [one.status for one in answers] == [200, 200, 200, 400]


def test_the_options_of_a_package_are_checked() -> None:
    assert options_of({}) == Options()
    assert options_of({"batching": {"max_size": 8}, "workers": 3}) == Options(8, 3)
    of = partial(Options.workers_for, memory_mb=4096)
    bare = [of(Options(), cpu, script=False) for cpu in (0.5, 1, 1.9, 2, 64)]
    assert bare == [1, 1, 1, 2, 4]
    assert of(Options(), 64, script=True) == 1
    assert of(Options(workers=3), 1, script=True) == 3
    # Each has the whole model; what its flavour holds for one, several would break.
    assert [of(Options(), 4, script=False, files_mb=size) for size in (1, 600, 1500)] == [4, 2, 1]
    assert of(Options(workers=3), 4, script=False, files_mb=1500) == 3
    for bad in (
        {"batching": 8},
        {"batching": {"size": 8}},
        {"batching": {"max_size": True}},
        {"workers": 0},
        {"workers": "2"},
    ):
        with pytest.raises(BadConfig, match=r"config\.json"):
            options_of(bad)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: joined([[[1.0]], [["a"]]]),
        lambda: joined([{"a": [1]}, {"b": [1]}]),
        lambda: joined([np.zeros((1, 2)), np.zeros((1, 3))]),
        lambda: joined([np.float64(1), np.float64(2)]),
        lambda: joined(["ab", "cd"]),
        lambda: parted("ab", [1, 1]),
        lambda: parted([1, 2, 3], [1, 1]),
        lambda: parted({"a": 3.0}, [1, 1]),
    ],
)
def test_what_is_no_rows_is_not_taken_for_rows(attempt: Callable[[], object]) -> None:
    with pytest.raises(Unbatchable):
        attempt()
