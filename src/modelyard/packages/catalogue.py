"""The engines and runtimes there are (models.md §1.7).

Every runtime is served by the platform's own Python on the CPU; the names of the older ones are
kept because packages carry them.
"""

from __future__ import annotations

from typing import TypedDict


class Accelerator(TypedDict):
    type: str
    name: str
    cuda_version: str
    driver_version_section: str


class EngineRuntimes(TypedDict):
    """One engine with parallel lists, as the API shows it."""

    ai_engine: str
    runtimes: list[str]
    request_mode: list[str]
    accelerators: list[Accelerator]
    arch: list[str]
    status_list: list[str]
    image_source: list[str]


_RUNTIMES: dict[str, tuple[str, ...]] = {
    "TensorFlow": (
        "python3.11",
        "tensorflow_2.1.0-cuda_10.1-py_3.7-ubuntu_18.04-x86_64",
        "tf2.1-python3.7",
        "tf1.13-python3.7-cpu",
        "tf1.13-python3.6-cpu",
        "python3.7",
        "python3.6",
    ),
    "PyTorch": (
        "python3.11",
        "pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64",
        "pytorch1.4-python3.7",
        "python3.7",
        "python3.6",
    ),
    "MindSpore": (
        "python3.11",
        "mindspore_1.7.0-cuda_10.1-py_3.7-ubuntu_18.04-x86_64",
    ),
    "MXNet": ("python3.7", "python3.6"),
    "Caffe": ("python3.7", "python3.6"),
    "Spark_MLlib": ("python3.7", "python3.6"),
    "Scikit_Learn": ("python3.11", "python3.7", "python3.6"),
    "XGBoost": ("python3.11", "python3.7", "python3.6"),
    "ONNX": ("python3.11",),
    "Pickle": ("python3.11",),
    "Joblib": ("python3.11",),
    "Safetensors": ("python3.11",),
}

SERVED_BY = "python3.11"
"""The runtime that stands for the platform's own Python."""


def engine_runtimes() -> list[EngineRuntimes]:
    """All engines, in a fixed order."""
    return [_document(engine, names) for engine, names in _RUNTIMES.items()]


def _document(engine: str, names: tuple[str, ...]) -> EngineRuntimes:
    none: Accelerator = {
        "type": "none",
        "name": "",
        "cuda_version": "",
        "driver_version_section": "",
    }
    return {
        "ai_engine": engine,
        "runtimes": list(names),
        "request_mode": ["sync" for _ in names],
        "accelerators": [none for _ in names],
        "arch": ["x86_64" for _ in names],
        "status_list": ["normal" for _ in names],
        "image_source": ["base_image" for _ in names],
    }
