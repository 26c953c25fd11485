"""What each package of this folder shows, how it is called and what it must answer."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

FOLDER = Path(__file__).parent

Upload = tuple[str, tuple[str, bytes]]


@dataclass(frozen=True)
class Call:
    """One prediction through the gateway. ``want``: the JSON of the answer.

    ``says``: words of the answer instead. ``unless``: an engine; where it is installed the call is
    left out, since it shows what happens without.
    """

    want: Any = None
    body: Any = None
    raw: bytes | None = None
    files: Sequence[Upload] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""
    status: int = 200
    says: str = ""
    unless: str = ""


@dataclass(frozen=True)
class Story:
    """One package. ``weights`` makes its model files in the folder ``model/`` it is given.

    ``import_fails``, ``start_fails``: words of the reason where that is how it must end.
    ``logged``: words that its log must hold. ``warned``: words of its model's events. ``unless``,
    ``needs``: an engine without which, and only with which, it can be shown.
    """

    name: str
    shows: Sequence[str]
    calls: Sequence[Call] = ()
    weights: Callable[[Path], None] | None = None
    import_fails: str = ""
    start_fails: str = ""
    logged: Sequence[str] = ()
    warned: Sequence[str] = ()
    unless: str = ""
    needs: str = ""


def written(name: str, content: bytes) -> Callable[[Path], None]:
    """Weights of a fixed content."""

    def write(model: Path) -> None:
        (model / name).write_bytes(content)

    return write


def factor(model: Path) -> None:
    (model / "net.pth").write_bytes(pickle.dumps({"factor": 3.0}))


def wheel(model: Path) -> None:
    """A wheel that can be installed, as packages bring them along."""
    info = "pinned_helper-1.0.dist-info"
    files = {
        "pinned_helper.py": "WORD = 'helped'\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: pinned-helper\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(model / "pinned_helper-1.0-py3-none-any.whl", "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)


def tree(name: str) -> Callable[[Path], None]:
    """A real estimator: it tells whether the first of two values is the larger one."""

    def write(model: Path) -> None:
        import joblib  # type: ignore[import-untyped, unused-ignore]
        from sklearn.tree import DecisionTreeClassifier  # type: ignore[import-untyped]

        estimator = DecisionTreeClassifier(random_state=0)
        estimator.fit([[0, 1], [1, 2], [1, 0], [2, 1]], [0, 0, 1, 1])
        joblib.dump(estimator, model / name)

    return write


def sums(model: Path) -> None:
    """An ONNX graph over two columns: ``y = 2 a + 2 b + 1``."""
    from onnx import TensorProto, helper

    def column(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 1])

    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["a", "two"], ["a2"]),
            helper.make_node("Mul", ["b", "two"], ["b2"]),
            helper.make_node("Add", ["a2", "b2"], ["ab"]),
            helper.make_node("Add", ["ab", "one"], ["y"]),
        ],
        "sums",
        [column("a"), column("b")],
        [column("y")],
        [
            helper.make_tensor("two", TensorProto.FLOAT, [], [2.0]),
            helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    content = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    (model / "sums.onnx").write_bytes(content)


def state_dict(model: Path) -> None:
    """Weights of the network in ``torch_net``: x -> (x0, x0 + x1)."""
    import torch  # type: ignore[import-not-found, unused-ignore]

    weights = {
        "line.weight": torch.tensor([[1.0, 0.0], [1.0, 1.0]]),
        "line.bias": torch.zeros(2),
    }
    torch.save(weights, model / "net.pth")


def saved_model(model: Path) -> None:
    """A SavedModel that doubles a column; in a process of its own, since it is slow to import."""
    script = (
        "import sys, tensorflow as tf\n"
        "module = tf.Module()\n"
        "module.factor = tf.Variable(2.0)\n"
        "@tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name='x')])\n"
        "def double(x):\n"
        "    return {'y': x * module.factor}\n"
        "tf.saved_model.save(module, sys.argv[1], signatures=double)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(model)], check=True)


def picture(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def failed(reason: str) -> dict[str, Any]:
    return {"erno": "MR.0105", "msg": "Recognition failed", "words_result": {}, "reason": reason}


def asked(kind: str, want: Any, status: int = 200) -> Call:
    return Call(want, body={"kind": kind}, status=status)


STORIES = (
    Story(
        "siblings",
        [
            *("path-file", "beside-realpath", "base-pt", "import-log", "class-name-free"),
            *("init-name-path", "default-inference-pt", "answer-dict", "answer-numpy", "json-dict"),
            *("no-super", "reads-unset-path", "plain-siblings", "config-procotol", "prints"),
            *("config-content-type", "config-blank-algorithm", "config-unknown-keys", "runtimes"),
        ],
        [
            Call({"y": 12.0, "label": "large", "model": "siblings"}, body={"x": 1}),
            Call({"y": 6.0, "label": "small", "model": "siblings"}, body={"x": "0.5"}),
            Call(body={"z": 1}, status=400, want=failed("KeyError: 'x'")),
        ],
        factor,
        logged=["loaded net.pth"],
        warned=["'tunable' is unknown", "runtime python3.6"],
    ),
    Story(
        "pinned",
        ["old-pins", "base-single", "answer-numpy", "runtimes"],
        [Call({"sum": 6, "newer": True}, body={"x": [1, 2, 3]})],
        wheel,
        warned=["numpy==1.16.4"],
    ),
    Story(
        "relative",
        [
            *("path-directory", "beside-file", "base-single", "import-short", "class-leaf"),
            *("init-kwargs", "grandparent-init", "relative-imports", "both-imports", "runtimes"),
            *("config-array-items", "answer-non-ascii"),
        ],
        [Call({"total": 106, "unit": "µm", "same": True}, body={"rows": [1, 2, 3]})],
        written("net.ckpt", b"100"),
    ),
    Story(
        "tabular",
        [
            *("base-xgskl", "init-path", "json-text", "ml-wrapped", "ml-meta", "batch-inference"),
            *("multipart-ml", "state-on-self", "answer-numpy"),
        ],
        [
            Call(
                {
                    "meta": {"uuid": "7"},
                    "data": {"resp_data": [{"predict_result": 1, "keys": "ba"}]},
                },
                raw=b'{"meta": {"uuid": "7"}, "data": {"req_data": [{"b": 1, "a": 2}]}}',
            ),
            Call(
                {"data": {"resp_data": [{"batch": True, "predict_result": 0, "keys": "ab"}]}},
                body={"data": {"req_data": [{"a": 1, "b": 2}]}},
                path="/batch",
            ),
            Call(files=[("f", ("a.png", b"x"))], status=400, says="takes JSON, not a form"),
            Call(raw=b'{"data": ', status=400, says="ModelArts.4105"),
        ],
        tree("rows.m"),
    ),
    Story(
        "scriptless",
        ["no-script", "default-preprocess-rows", "default-inference-ml", "ml-wrapped", "ml-meta"],
        [
            Call(
                {"data": {"resp_data": [{"predictresult": 1}, {"predictresult": 0}]}},
                body={"data": {"req_data": [{"z": 2, "a": 1}, {"z": 1, "a": 2}]}},
            ),
            Call(
                {"meta": 1, "resp_data": [{"predictresult": 0}]},
                body={"meta": 1, "req_data": [[1, 2]]},
            ),
            Call(body={"req_data": [[1, 2]]}, path="/batch", status=404, says="ModelArts.4204"),
        ],
        tree("any.pkl"),
    ),
    Story(
        "onnx_sums",
        ["no-script-ours"],
        [
            Call({"y": [[7.0], [11.0]]}, body={"a": [[1], [2]], "b": [[2], [3]]}),
            Call(
                {"meta": 1, "data": {"resp_data": [{"y": [7.0]}]}},
                body={"meta": 1, "data": {"req_data": [{"b": 2, "a": 1}]}},
            ),
            Call({"predictions": [{"y": [1.0]}]}, body={"instances": [{"a": 0, "b": 0}]}),
            Call(body={"a": [[1]]}, status=400, says="the inputs b are missing"),
            Call(body={"a": [[1]], "b": ["x"]}, status=400, says="b cannot be read as float32"),
        ],
        sums,
        needs="onnxruntime",
    ),
    Story(
        "joblib_any",
        ["no-script-ours"],
        [Call({"resp_data": [{"predictresult": 1}]}, body={"req_data": [{"x": 3, "y": 1}]})],
        tree("any.joblib"),
    ),
    Story(
        "boosted",
        ["init-name-path", "default-preprocess-rows", "default-inference-ml", "answer-dict"],
        [
            Call(
                {"data": {"resp_data": [{"score": 1.0}]}},
                body={"data": {"req_data": [{"first": 2, "second": 1}]}},
            )
        ],
        tree("booster.pkl"),
    ),
    Story(
        "measured",
        [
            *("override-inference", "import-model-service-log", "import-metrics", "state-on-self"),
            *("config-unknown-keys", "runtimes"),
        ],
        [
            Call({"own": True}, body={"own": 1}),
            Call(
                {
                    "x": 5,
                    "calls": ["pre", "infer", "post"],
                    "gauges": ["LatencyInference", "LatencyOverall", "LatencyPreprocess"],
                },
                body={"x": 5},
            ),
        ],
        written("net.pth", b""),
    ),
    Story(
        "ordered",
        ["order", "any-base", "ping-signature", "path-directory", "runtimes"],
        [
            Call(
                {
                    "order": ["preprocess", "inference", "postprocess"],
                    "files": ["config.json", "customize_service.py", "saved_model.pb"],
                },
                body={},
            )
        ],
        written("saved_model.pb", b""),
    ),
    Story(
        "tensorflow_own",
        [
            *("base-tf", "init-none", "default-preprocess", "default-postprocess"),
            *("engine-missing", "answer-list", "runtimes"),
        ],
        [
            Call(
                {"detection_classes": ["q", "b", "a"]},
                body={"b": 1, "a": 2},
                path="?q=1",
            )
        ],
    ),
    Story(
        "torch_net",
        ["base-pt", "answer-tensor", "default-inference-pt", "plain-siblings"],
        [
            Call({"logits": [[1.0, 3.0]], "label": 1, "shape": [1, 2]}, body={"x": [1, 2]}),
            Call(body={"x": ["a"]}, status=500, says="ValueError"),
        ],
        state_dict,
        needs="torch",
    ),
    Story(
        "saved_model",
        ["no-script-ours", "default-inference-tf"],
        [
            Call({"y": [[2.0], [4.0]]}, body={"x": [[1], [2]]}),
            Call({"predictions": [{"y": [6.0]}]}, body={"instances": [{"x": 3}]}),
            Call(body={"x": [1]}, status=400, says="has the shape [1]"),
        ],
        saved_model,
        needs="tensorflow",
    ),
    Story(
        "saved_model_script",
        ["base-tf", "default-inference-tf", "answer-list"],
        [Call([2.0, 5.0], body={"values": [1, 2.5]})],
        saved_model,
        needs="tensorflow",
    ),
    Story(
        "mxnet_labels",
        ["base-mxnet", "import-mms", "engine-missing", "answer-list", "path-directory"],
        [
            Call(
                [{"probability": 0.7, "class": "dog"}, {"probability": 0.2, "class": "owl"}],
                body={"scores": [0.1, 0.7, 0.2]},
            ),
            Call(
                files=[("images", ("a.png", picture(2, 2)))],
                status=500,
                says="mms.utils.mxnet.image needs the package 'mxnet'",
                unless="mxnet",
            ),
        ],
    ),
    Story(
        "caffe_net",
        ["base-caffe", "engine-missing"],
        [Call(body={"x": 1}, status=500, says="Net needs the package 'caffe'", unless="caffe")],
    ),
    Story(
        "spark_clicks",
        ["base-spark", "path-spark", "engine-missing", "json-text"],
        [
            Call(
                {"data": {"resp_data": [{"label": "yes"}, {"label": "no"}]}},
                body={"data": {"req_data": [{"click": 1}, {"click": 0}]}},
            ),
            Call(
                body={"data": {"req_data": [{"click": 1, "spark": 1}]}},
                status=500,
                says="Clicks needs the package 'pyspark'",
                unless="pyspark",
            ),
        ],
    ),
    Story(
        "pictures",
        [
            *("multipart", "multipart-pil", "multipart-repeated", "multipart-text", "query"),
            *("scratch", "prints", "default-postprocess", "config-procotol", "config-content-type"),
        ],
        [
            Call(
                {
                    "images/a.png": [3, 2],
                    "images/a_1.png": [4, 5],
                    "images/b.png": [1, 1],
                    "note": "grün",
                    "tag": ["x", "y"],
                    "top": "5",
                },
                files=[
                    ("images", ("a.png", picture(3, 2))),
                    ("images", ("a.png", picture(4, 5))),
                    ("images", ("b.png", picture(1, 1))),
                ],
                fields={"note": "grün", "tag": ["x", "y"]},
                path="?top=5",
            ),
            Call(files=[("images", ("a.png", b"no picture"))], status=500, says="MR.0105"),
        ],
        written("net.pth", b""),
        logged=["this is printed while the model loads", "this is written below python"],
    ),
    Story(
        "answers",
        [
            *("init-none", "answer-dict", "answer-list", "answer-str", "answer-json-text"),
            *("answer-non-ascii", "answer-numpy", "answer-tensor", "answer-not-json"),
            *("error-body", "error-400", "error-500", "json-dict"),
        ],
        [
            asked("dict", {"a": 1}),
            asked("list", [1, "b"]),
            asked("text", "plain"),
            asked("json", {"a": [1, 2]}),
            asked("chinese", "你好, grün"),
            asked("chinese-json", {"答": "是"}),
            asked("array", [[0, 1], [2, 3]]),
            asked("scalar", {"x": 0.5, "n": 3, "yes": True}),
            asked("keys", {"1": "one", "2": "two"}),
            asked("tensor", {"y": [[1.0, 2.0]], "z": [3]}),
            asked("nan", {"x": None, "y": [1.0, None]}),
            asked("none", None),
            asked("object", failed("TypeError: a builtins.object cannot be told in JSON"), 500),
            asked("unknown", failed("KeyError: 'unknown'"), 400),
            asked(
                "type",
                failed("TypeError: unsupported operand type(s) for +: 'int' and 'str'"),
                400,
            ),
            asked("value", failed("ValueError: schlecht"), 500),
        ],
        written("net.pth", b""),
    ),
    Story(
        "home_mind",
        ["home-mind"],
        [Call({"labels": ["a"], "same": True, "work": [], "hidden": "found"}, body={})],
        written("net.pth", b""),
    ),
    Story("threaded", ["init-thread"], [Call({"model": "w"}, body={})], written("a.pt", b"w")),
    Story(
        "several",
        ["class-several"],
        weights=written("net.pth", b""),
        start_fails="several service classes (First, Second)",
    ),
    Story("weightless", ["weights-none"], start_fails="IsADirectoryError"),
    Story("not_json", ["config-not-json"], import_fails="line 3, column 31"),
    Story("not_utf8", ["config-not-utf8"], import_fails="not UTF-8 (line 2"),
)


def model_type(story: Story) -> str:
    """``model_type`` of the story's package; PyTorch where its config.json cannot be read."""
    try:
        config = json.loads((FOLDER / story.name / "model" / "config.json").read_bytes())
    except ValueError:
        return "PyTorch"
    return str(config["model_type"])
