"""Weights beside code whose modules are called as everybody calls them; nothing is set on self."""

import os

import numpy as np

import log
from backbone import widen
from config import SCALE
from model import Net
from models.heads import head
from model_service.pytorch_model_service import PTServingBaseService
from src.pipeline import scaled
from tools import tool
from utils import loaded

logger = log.getLogger(__name__)
logger.setLevel(log.INFO)


class whatever_it_is_called(PTServingBaseService):
    def __init__(self, model_name, model_path):
        # No super().__init__, and self.model_path is read below without having been set.
        here = os.path.dirname(os.path.realpath(self.model_path))
        with open(os.path.join(here, "labels.txt")) as file:
            self.labels = file.read().split()
        net = Net()
        net.load(loaded(model_path))
        self.model = net.eval()
        logger.warning("loaded %s", os.path.basename(model_path))

    def _preprocess(self, data):
        return {"x": np.array([scaled(float(data["x"]), SCALE)])}

    def _postprocess(self, data):
        value = tool(head(widen(data["x"])))
        return {"y": value, "label": self.labels[int(value > 10)], "model": self.model_name}
