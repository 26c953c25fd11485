"""MXNet's class and helpers; the engine itself is needed only where a picture is decoded."""

import os

import numpy as np

from mms.log import get_logger
from mms.model_service.mxnet_model_service import MXNetBaseService
from mms.utils.mxnet import image, ndarray

logger = get_logger()


class Scores(np.ndarray):
    def asnumpy(self):
        return np.asarray(self)


class Labels(MXNetBaseService):
    def __init__(self, model_name, model_path):
        assert os.path.isdir(model_path)
        with open(os.path.join(model_path, "synset.txt")) as file:
            self.labels = file.read().split()

    def _preprocess(self, data):
        if "images" in data:
            return [image.read(one) for one in data["images"].values()]
        return np.array([data["scores"]]).view(Scores)

    def _inference(self, data):
        return data

    def _postprocess(self, data):
        return ndarray.top_probability(data, self.labels, top=2)
