"""Small model packages without any machine-learning library, for tests that need no real model."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

ECHO = '''
"""Answers its version and what it was asked."""
from model_service.model_service import SingleNodeService


class Echo(SingleNodeService):
    def _preprocess(self, data):
        return data

    def _inference(self, data):
        return {{"version": "{version}", "echo": data}}

    def _postprocess(self, data):
        return data
'''


def write_package(folder: Path, version: str, script: str | None = None, **more: object) -> Path:
    """A package in ``folder`` (made): ``model/`` with config, script and a stand-in for weights.

    The default script answers ``{"version": version, "echo": body}``. ``more`` goes into the
    config.
    """
    model = folder / "model"
    model.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "PyTorch",
        "model_algorithm": "predict_analysis",
        "apis": [
            {
                "protocol": "http",
                "url": "/",
                "method": "post",
                "request": {"Content-type": "application/json", "data": {"type": "object"}},
                "response": {"Content-type": "application/json", "data": {"type": "object"}},
            }
        ],
        **more,
    }
    (model / "config.json").write_text(json.dumps(config))
    (model / "weights.pth").write_bytes(b"none")
    text = ECHO.format(version=version) if script is None else dedent(script)
    (model / "customize_service.py").write_text(text)
    return folder
