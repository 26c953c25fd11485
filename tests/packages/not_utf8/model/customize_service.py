"""Was packed without its weights."""

from model_service.pytorch_model_service import PTServingBaseService


class Weightless(PTServingBaseService):
    def __init__(self, model_name, model_path):
        with open(model_path, "rb") as file:
            self.model = file.read()
