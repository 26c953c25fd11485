"""The documented way to import, beside the one that everybody takes; a class below a class."""

from __future__ import annotations

import os

import inner.numbers as plain
from model_service import SingleNodeService

from .inner.numbers import COUNT, total

HERE = os.path.dirname(os.path.abspath(__file__))


class Base(SingleNodeService):
    def _postprocess(self, data):
        return {"total": data, "unit": self.unit, "same": plain.total([1]) == total([1])}


class Leaf(Base):
    def __init__(self, model_name, model_path, device="cpu", **kwargs):
        SingleNodeService.__init__(self, model_name, model_path)
        assert device == "cpu" and kwargs == {}, kwargs
        assert os.path.isdir(self.model_path)
        with open(os.path.join(model_path, "net.ckpt"), "rb") as file:
            self.offset = int(file.read())
        with open(os.path.join(HERE, "unit.txt"), encoding="utf-8") as file:
            self.unit = file.read()

    def _preprocess(self, data):
        return data["rows"]

    def _inference(self, data):
        return total(data) + self.offset + COUNT
