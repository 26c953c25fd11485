"""The raw JSON text, in the order of its keys, and the micro-batch hook."""

import json
from collections import OrderedDict

import joblib

from model_service.python_model_service import XgSklServingBaseService


class Rows(XgSklServingBaseService):
    def __init__(self, model_path):
        self.model_path = model_path
        self.model = joblib.load(model_path)

    def _preprocess(self, data):
        assert isinstance(data, str)
        rows = json.loads(data, object_pairs_hook=OrderedDict)["data"]["req_data"]
        self.keys = ["".join(row) for row in rows]
        return [[row["a"], row["b"]] for row in rows]

    def _postprocess(self, data):
        return [{"predict_result": value, "keys": keys} for value, keys in zip(data, self.keys)]

    def batch_inference(self, data):
        return [{"batch": True, **row} for row in self.inference(data)]
