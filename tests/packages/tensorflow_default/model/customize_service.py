"""Leaves predicting to the base: the SavedModel's signature."""

from model_service.tfserving_model_service import TfServingBaseService


class Saved(TfServingBaseService):
    def _postprocess(self, data):
        return {"outputs": data}
