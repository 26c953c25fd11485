"""Serves the classifier of handwritten digits: white strokes on black, any size."""

import joblib
import numpy as np
from PIL import Image

from model_service.model_service import SingleNodeService

SIDE = 8


class DigitsService(SingleNodeService):
    def __init__(self, model_name, model_path):
        self.model = joblib.load(model_path)

    def _preprocess(self, data):
        pictures = [
            Image.open(file).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
            for file in data["images"].values()
        ]
        return np.stack([np.asarray(one, dtype=float).reshape(-1) for one in pictures]) / 255

    def _inference(self, data):
        return self.model.predict_proba(data)

    def _postprocess(self, data):
        answers = []
        for row in data:
            order = row.argsort()[::-1]
            scores = [[str(self.model.classes_[index]), round(row[index], 4)] for index in order]
            answers.append({"predicted_label": scores[0][0], "scores": scores})
        return answers[0] if len(answers) == 1 else {"predictions": answers}
