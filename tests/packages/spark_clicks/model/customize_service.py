"""Reads its labels beside the model; asks for a Spark session only when told to."""

import json
import os

from model_service.spark_model_service import SparkServingBaseService


class Clicks(SparkServingBaseService):
    def _preprocess(self, data):
        rows = json.loads(data)["data"]["req_data"]
        if any("spark" in row for row in rows):
            self.spark.createDataFrame(rows)
        return rows

    def _inference(self, data):
        folder = (
            self.model_path if os.path.isdir(self.model_path) else os.path.dirname(self.model_path)
        )
        with open(os.path.join(folder, "labels.json")) as file:
            labels = json.load(file)
        return [{"label": labels[row["click"]]} for row in data]
