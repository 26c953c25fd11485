"""Predicts with the SavedModel's signature, by the base's own _inference."""

from model_service.tfserving_model_service import TfServingBaseService


class Doubles(TfServingBaseService):
    def _preprocess(self, data):
        return {"x": [[value] for value in data["values"]]}

    def _postprocess(self, data):
        return [row[0] for row in data["y"]]
