"""The engines a package may name, and what each needs (models.md §1.1, §2)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Engine:
    """One value of ``model_type``.

    ``suffixes``: names of weight files; empty where the folder itself is the model. ``scriptless``:
    a package without ``customize_service.py`` is served by a default handler. ``marker``: the file
    that such a package must hold where the folder is the model. ``packaged``: served from a
    package. ``container``: served by a container of an image that the model names.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    scriptless: bool = False
    marker: str = ""
    packaged: bool = True
    container: bool = False


# The same names as the model server looks for.
_PICKLES = (".m", ".pkl", ".pickle", ".joblib", ".model")

ENGINES = (
    Engine("TensorFlow", scriptless=True, marker="saved_model.pb"),
    Engine("PyTorch", (".pth", ".pt", ".tar", ".pkl", ".bin", ".ckpt")),
    Engine("MindSpore"),
    Engine("MXNet"),
    Engine("Caffe"),
    Engine("XGBoost", (*_PICKLES, ".ubj", ".bst", ".json"), scriptless=True),
    Engine("Scikit_Learn", (*_PICKLES, ".sav"), scriptless=True),
    Engine("Spark_MLlib"),
    # Ours: what the field exchanges, without a script. Safetensors are tensors and no model, so
    # they need a script that builds one around them.
    Engine("ONNX", (".onnx",), scriptless=True),
    Engine("Pickle", (".pkl", ".pickle", ".m", ".model"), scriptless=True),
    Engine("Joblib", (".joblib", ".pkl", ".pickle", ".m", ".model"), scriptless=True),
    Engine("Safetensors", (".safetensors",)),
    Engine("Image", scriptless=True, packaged=False, container=True),
    Engine("Custom", scriptless=True, packaged=False, container=True),
    Engine("Template", packaged=False),
)

PACKAGED = tuple(engine.name for engine in ENGINES if engine.packaged)
"""The names of the engines that packages are served with."""

SUPPORTED = tuple(engine.name for engine in ENGINES if engine.packaged or engine.container)
"""Every ``model_type`` that can be imported."""


def engine_named(name: str) -> Engine | None:
    """The engine of a ``model_type`` in whatever case; None when there is none."""
    return next((engine for engine in ENGINES if engine.name.lower() == name.lower()), None)
