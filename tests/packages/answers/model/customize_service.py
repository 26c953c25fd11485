"""Every kind of answer, and every kind of failure; no __init__ and no weights."""

import json

import numpy as np

from model_service.pytorch_model_service import PTServingBaseService


class Tensor:
    """As much of a tensor as matters here: rows and scalars of an engine's own type."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def tolist(self):
        return self.values.tolist()

    def item(self):
        return self.values.item()


ANSWERS = {
    "dict": {"a": 1},
    "list": [1, "b"],
    "text": "plain",
    "json": json.dumps({"a": [1, 2]}),
    "chinese": "你好, grün",
    "chinese-json": json.dumps({"答": "是"}, ensure_ascii=False),
    "array": np.arange(4, dtype=np.int64).reshape(2, 2),
    "scalar": {"x": np.float32(0.5), "n": np.int64(3), "yes": np.bool_(True)},
    "keys": {np.int64(1): "one", 2: "two"},
    "tensor": {"y": Tensor([[1.0, 2.0]]), "z": [Tensor(3)]},
    "nan": {"x": float("nan"), "y": np.array([1.0, np.inf])},
    "none": None,
    "object": object(),
}


class Answers(PTServingBaseService):
    def _inference(self, data):
        kind = data["kind"]
        if kind == "type":
            return 1 + "x"
        if kind == "value":
            raise ValueError("schlecht")
        return ANSWERS[kind]
