"""The model that is served while its service is changed: a few lines that need no library."""

from __future__ import annotations

import json
from pathlib import Path

MODEL_TYPE = "PyTorch"
BODY = b'{"data": {"req_data": [{"x": 20}]}}'
"""A prediction's body; the model answers with the doubled number."""

_OBJECT = {"Content-type": "application/json", "data": {"type": "object"}}
_CONFIG = {
    "model_type": MODEL_TYPE,
    "model_algorithm": "predict_analysis",
    "apis": [
        {
            "protocol": "http",
            "url": "/",
            "method": "post",
            "request": _OBJECT,
            "response": _OBJECT,
        }
    ],
}
_SCRIPT = '''"""Doubles a number."""

from model_service.model_service import SingleNodeService


class Doubler(SingleNodeService):
    def _inference(self, data):
        rows = data["data"]["req_data"]
        return {"data": {"resp_data": [{"y": 2 * row["x"]} for row in rows]}}
'''


def write_package(folder: Path) -> Path:
    """A model package (models.md §2) below ``folder``; gives the folder that holds ``model/``."""
    model = folder / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps(_CONFIG), encoding="utf-8")
    (model / "customize_service.py").write_text(_SCRIPT, encoding="utf-8")
    (model / "none.pth").write_bytes(b"")
    return folder
