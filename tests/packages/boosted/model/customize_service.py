"""Leaves everything but the names of its answer to the base; called as (model_name, model_path)."""

from model_service.python_model_service import XgSklServingBaseService


class Boosted(XgSklServingBaseService):
    def __init__(self, model_name, model_path):
        super(Boosted, self).__init__(model_name, model_path)

    def _postprocess(self, data):
        return {"resp_data": [{"score": float(value)} for value in data]}
