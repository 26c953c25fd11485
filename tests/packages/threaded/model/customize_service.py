"""Loads its model in a thread, as long loads do; requests wait for it."""

import threading

from model_service.pytorch_model_service import PTServingBaseService


class Threaded(PTServingBaseService):
    def __init__(self, model_name, model_path):
        self.model_name = model_name
        self.model_path = model_path
        self.thread = threading.Thread(target=self.load_model)
        self.thread.start()

    def load_model(self):
        with open(self.model_path, "rb") as file:
            self.model = file.read().decode()

    def _inference(self, data):
        self.thread.join()
        return {"model": self.model}
