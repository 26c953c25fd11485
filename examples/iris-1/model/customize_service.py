"""Serves the iris classifier, version 0.0.1."""

import json

import joblib

from model_service.python_model_service import XgSklServingBaseService

VERSION = "0.0.1"
FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
SPECIES = ("setosa", "versicolor", "virginica")


class IrisService(XgSklServingBaseService):
    def __init__(self, model_path):
        self.model = joblib.load(model_path)

    def _preprocess(self, data):
        rows = json.loads(data)["data"]["req_data"]
        return [[float(row[name]) for name in FEATURES] for row in rows]

    def _inference(self, data):
        return self.model.predict(data)

    def _postprocess(self, data):
        return [{"predict_result": SPECIES[kind], "model_version": VERSION} for kind in data]
