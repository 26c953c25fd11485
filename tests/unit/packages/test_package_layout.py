"""The files of a package (models.md §2)."""

from __future__ import annotations

import pytest

from modelyard.packages.engines import ENGINES, Engine, engine_named
from modelyard.packages.layout import check_layout, no_model_folder

BOTH = {"config.json", "customize_service.py"}


def engine(name: str) -> Engine:
    found = engine_named(name)
    assert found is not None
    return found


@pytest.mark.parametrize("one", [one for one in ENGINES if one.packaged])
def test_a_script_may_find_its_own_weights(one: Engine) -> None:
    assert check_layout(BOTH, one).problems == ()


@pytest.mark.parametrize(
    ("name", "files", "problems", "warnings"),
    [
        ("PyTorch", BOTH | {"a.pth"}, 0, 0),
        ("PyTorch", BOTH | {"a.pth", "inner/b.pth"}, 0, 0),
        ("PyTorch", BOTH | {"a.pth", "b.pt"}, 0, 1),
        ("PyTorch", {"config.json", "a.pth"}, 1, 0),
        ("PyTorch", {"customize_service.py", "a.pth"}, 1, 0),
        ("TensorFlow", BOTH | {"saved_model.pb"}, 0, 0),
        ("TensorFlow", BOTH, 0, 1),
        ("TensorFlow", {"config.json", "saved_model.pb"}, 0, 0),
        ("TensorFlow", {"config.json", "inner/saved_model.pb"}, 1, 0),
        ("ONNX", {"config.json", "net.onnx"}, 0, 0),
        ("ONNX", {"config.json"}, 1, 0),
        ("Pickle", {"config.json", "any.pkl"}, 0, 0),
        ("Joblib", {"config.json", "any.joblib"}, 0, 0),
        ("Safetensors", {"config.json", "net.safetensors"}, 1, 0),
        ("Safetensors", BOTH | {"net.safetensors"}, 0, 0),
        ("Scikit_Learn", {"config.json", "model.pkl"}, 0, 0),
        ("Scikit_Learn", {"config.json", "model.joblib"}, 0, 0),
        ("Scikit_Learn", {"config.json"}, 1, 0),
        ("Scikit_Learn", {"config.json", "a.pkl", "b.m"}, 1, 0),
        ("XGBoost", {"config.json", "model.json"}, 0, 0),
        ("XGBoost", {"model.m"}, 1, 0),
        ("MindSpore", BOTH | {"x.ckpt", "x.om"}, 0, 0),
    ],
)
def test_layouts(name: str, files: set[str], problems: int, warnings: int) -> None:
    found = check_layout(files, engine(name))
    assert (len(found.problems), len(found.warnings)) == (problems, warnings)


def test_what_the_create_call_brings_need_not_lie_there() -> None:
    found = check_layout({"a.pth"}, engine("PyTorch"), config_given=True, script_given=True)
    assert found.problems == ()


def test_a_misspelt_name_is_shown() -> None:
    found = check_layout({"Config.json", "customize_service.py"}, engine("PyTorch"))
    assert "model/Config.json" in found.problems[0].remedy


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["config.json"], "model/ itself"),
        (["a/model/config.json"], "below 'a'"),
        (["x"], "contains no folder model/"),
    ],
)
def test_no_model_folder(names: list[str], said: str) -> None:
    assert said in no_model_folder(names).reason
