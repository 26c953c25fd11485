"""A TensorFlow package on SingleNodeService: the base calls the three steps in their order."""

import os

from model_service.model_service import SingleNodeService


class Ordered(SingleNodeService):
    def __init__(self, model_name, model_path):
        self.order = []
        self.files = sorted(os.listdir(model_path))

    def _preprocess(self, data):
        self.order = ["preprocess"]
        return data

    def _inference(self, data):
        self.order.append("inference")
        return data

    def _postprocess(self, data):
        return {"order": self.order + ["postprocess"], "files": self.files}

    def ping(self):
        return "pong"

    def signature(self):
        return {}
