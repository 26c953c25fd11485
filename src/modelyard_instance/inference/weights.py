"""Which path a script is handed as ``model_path``, and how a bare estimator is loaded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelyard_instance.inference.engines import need

logger = logging.getLogger(__name__)

_SUFFIXES: dict[str, tuple[str, ...]] = {
    "pytorch": (".pth", ".pt", ".tar", ".pkl", ".bin", ".ckpt"),
    "scikit_learn": (".m", ".pkl", ".pickle", ".joblib", ".sav", ".model"),
    "xgboost": (".m", ".pkl", ".pickle", ".joblib", ".model", ".ubj", ".bst", ".json"),
    # Ours.
    "onnx": (".onnx",),
    "pickle": (".pkl", ".pickle", ".m", ".model"),
    "joblib": (".joblib", ".pkl", ".pickle", ".m", ".model"),
    "safetensors": (".safetensors",),
}
_SAVED_MODEL = "saved_model.pb"
_BOOSTER = (".json", ".ubj", ".bst", ".model")
_NO_WEIGHTS = ("config.json",)


class WeightsMissing(FileNotFoundError):
    """The package has no model file, or several and nothing to choose by."""


def candidates(model_type: str, names: Sequence[str]) -> list[str]:
    """The files that may be the weights of a file-based engine, likeliest first. Pure.

    Empty for engines that are handed the directory (models.md §2).
    """
    suffixes = _SUFFIXES.get(model_type.lower())
    if suffixes is None:
        return []
    found = [
        name
        for name in names
        if name not in _NO_WEIGHTS and name.lower().endswith(suffixes) and not name.startswith(".")
    ]

    def rank(name: str) -> tuple[int, str]:
        suffix = "." + name.lower().rpartition(".")[2]
        return suffixes.index(suffix), name

    return sorted(found, key=rank)


def model_path(model_type: str, model_dir: Path) -> str:
    """``model_path`` for the script: the one file or the directory (models.md §2).

    Several candidates: the likeliest, with a warning. None: the directory, with a warning; scripts
    that need no weights exist, and one that does will say so itself.
    """
    if model_type.lower() not in _SUFFIXES:
        return str(model_dir)
    found = candidates(model_type, [one.name for one in model_dir.iterdir() if one.is_file()])
    if not found:
        logger.warning("no model file of %s in %s; model_path is the folder", model_type, model_dir)
        return str(model_dir)
    if len(found) > 1:
        logger.warning("several model files, %s is taken out of %s", found[0], ", ".join(found))
    return str(model_dir / found[0])


def is_there(model_type: str, path: str) -> bool:
    """Whether ``path`` is a model that a default handler can load."""
    if model_type.lower() in _SUFFIXES:
        return Path(path).is_file()
    return (Path(path) / _SAVED_MODEL).is_file()


def load_estimator(model_type: str, path: str) -> Any:
    """The estimator in the file ``path``: joblib or pickle, for XGBoost its own formats as well.

    Raises ``WeightsMissing``, or whatever unpickling raises.
    """
    if not Path(path).is_file():
        raise WeightsMissing(f"{path} is no model file: put exactly one into the folder model/")
    if model_type.lower() == "xgboost" and path.lower().endswith(_BOOSTER):
        return _load_booster(path)
    try:
        import joblib  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        import pickle

        with Path(path).open("rb") as file:
            return pickle.load(file)  # noqa: S301  # the model's own process, the model's own file
    return joblib.load(path)


class _Booster:
    """An XGBoost booster that predicts rows as estimators do."""

    def __init__(self, xgboost: Any, path: str) -> None:
        self._xgboost = xgboost
        self._booster = xgboost.Booster(model_file=path)

    def predict(self, rows: Sequence[Sequence[float]]) -> Any:
        import numpy

        matrix = self._xgboost.DMatrix(numpy.asarray(rows, dtype=float))
        return self._booster.predict(matrix, validate_features=False)


def _load_booster(path: str) -> _Booster:
    return _Booster(need("xgboost", "the default handler"), path)
