"""Looks for its files where ModelArts puts a package."""

import json
import os
import sys

from model_service.pytorch_model_service import PTServingBaseService

sys.path.append("/home/mind/model/extra")

import hidden  # noqa: E402


class AtHome(PTServingBaseService):
    def __init__(self, model_name, model_path):
        with open("/home/mind/model/labels.json") as file:
            self.labels = json.load(file)
        self.same = os.path.samefile(model_path, "/home/mind/model/net.pth")
        self.work = os.listdir("/home/work")

    def _inference(self, data):
        return {"labels": self.labels, "same": self.same, "work": self.work, "hidden": hidden.WORD}
