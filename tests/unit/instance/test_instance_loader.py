"""Class choice, constructor forms, both ways of importing, and which path a script gets."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from modelyard.packages.engines import ENGINES
from modelyard_instance import compat
from modelyard_instance.inference.base_services import (
    MXNetBaseService,
    PTServingBaseService,
    SingleNodeService,
    TfServingBaseService,
    XgSklServingBaseService,
)
from modelyard_instance.inference.defaults import default_handler
from modelyard_instance.inference.engines import EngineMissing
from modelyard_instance.inference.weights import candidates, model_path
from modelyard_instance.spec import Spec
from modelyard_instance.worker.loader import (
    BadPackage,
    choose_class,
    construct,
    explain,
    import_script,
    load,
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A package's ``model/``; what it imports is forgotten afterwards."""
    before, path = set(sys.modules), list(sys.path)
    model = tmp_path / "model"
    model.mkdir()
    yield model
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if (
            str(tmp_path) in str(getattr(sys.modules[name], "__file__", ""))
            or "modelyard_package" in name
        ):
            del sys.modules[name]


def _script(**classes: type) -> ModuleType:
    script = ModuleType("modelyard_package.customize_service")
    vars(script).update(classes)
    return script


class Middle(PTServingBaseService):
    pass


class Leaf(Middle):
    pass


class Other(SingleNodeService):
    pass


def test_the_class_without_subclass_is_served() -> None:
    script = _script(Base=PTServingBaseService, Middle=Middle, Leaf=Leaf, Alias=Leaf)
    assert choose_class(script) is Leaf


def test_several_or_no_classes_are_refused_by_name() -> None:
    with pytest.raises(BadPackage, match="Leaf, Other"):
        choose_class(_script(Leaf=Leaf, Other=Other))
    with pytest.raises(BadPackage, match="SingleNodeService"):
        choose_class(_script(Base=SingleNodeService))


class Both(SingleNodeService):
    def __init__(self, model_name: str, model_path: str) -> None:
        self.seen: tuple[str, ...] = (model_name, model_path)


class Extra(SingleNodeService):
    def __init__(self, model_name: str, model_path: str, gpu: bool = False, **kwargs: Any) -> None:
        assert gpu is False
        self.seen: tuple[str, ...] = (model_name, model_path)


class OnlyPath(XgSklServingBaseService):
    def __init__(self, model_path: str) -> None:
        self.seen: tuple[str, ...] = (model_path,)


class Swapped(SingleNodeService):
    def __init__(self, model_path: str, model_name: str) -> None:
        self.seen: tuple[str, ...] = (model_path, model_name)


class Nothing(SingleNodeService):
    def __init__(self) -> None:
        # Set before __init__: many scripts read it without having set it.
        self.seen: tuple[str, ...] = (self.model_name, self.model_path)


class Anything(SingleNodeService):
    def __init__(self, *args: str) -> None:
        self.seen: tuple[str, ...] = args


class RawAny(XgSklServingBaseService):
    def __init__(self, model_name: str, model_path: str, *args: str) -> None:
        self.seen: tuple[str, ...] = (model_name, model_path, *args)


class PathAny(SingleNodeService):
    def __init__(self, model_path: str, *args: str) -> None:
        self.seen: tuple[str, ...] = (model_path, *args)


class Named(SingleNodeService):
    def __init__(self, *, model_path: str, model_name: str, gpu: bool = False) -> None:
        assert gpu is False
        self.seen: tuple[str, ...] = (model_name, model_path)


class Keywords(SingleNodeService):
    def __init__(self, **kwargs: str) -> None:
        self.seen: tuple[str, ...] = (kwargs["model_name"], kwargs["model_path"])


class OtherWords(SingleNodeService):
    def __init__(self, name: str, path: str = "", gpu: bool = False) -> None:
        assert gpu is False
        self.seen: tuple[str, ...] = (name, path)


class HalfKnown(SingleNodeService):
    def __init__(self, name: str, model_path: str) -> None:
        self.seen: tuple[str, ...] = (name, model_path)


class Optional(SingleNodeService):
    def __init__(self, gpu: bool = False, model_path: str = "") -> None:
        assert gpu is False
        self.seen: tuple[str, ...] = (model_path,)


class RawOther(XgSklServingBaseService):
    def __init__(self, path: str, gpu: bool = False) -> None:
        assert gpu is False
        self.seen: tuple[str, ...] = (path,)


class Greedy(SingleNodeService):
    def __init__(self, model_name: str, model_path: str, more: int) -> None:
        pass


class GreedyPath(XgSklServingBaseService):
    def __init__(self, model_path: str, more: int) -> None:
        pass


class GreedyKeyword(SingleNodeService):
    def __init__(self, model_path: str, *, more: int, less: int = 0) -> None:
        pass


@pytest.mark.parametrize(
    ("chosen", "seen"),
    [
        (Both, ("n", "/p")),
        (Extra, ("n", "/p")),
        (OnlyPath, ("/p",)),
        (Swapped, ("/p", "n")),
        (Nothing, ("n", "/p")),
        (Anything, ("n", "/p")),
        (RawAny, ("n", "/p")),
        (PathAny, ("/p",)),
        (Named, ("n", "/p")),
        (Keywords, ("n", "/p")),
        (OtherWords, ("n", "/p")),
        (HalfKnown, ("n", "/p")),
        (Optional, ("/p",)),
        (RawOther, ("/p",)),
    ],
)
def test_constructors_of_every_form(chosen: type[SingleNodeService], seen: tuple[str, ...]) -> None:
    service: Any = construct(chosen, "n", "/p")
    assert service.seen == seen
    assert (service.model_name, service.model_path) == ("n", "/p")


@pytest.mark.parametrize("chosen", [Greedy, GreedyPath, GreedyKeyword])
def test_a_constructor_that_wants_more_is_refused(chosen: type[SingleNodeService]) -> None:
    with pytest.raises(BadPackage, match="__init__ wants more;"):
        construct(chosen, "n", "/p")


@pytest.mark.parametrize("base", [PTServingBaseService, TfServingBaseService, MXNetBaseService])
def test_a_base_sets_what_it_is_given_and_nothing_else(base: type[SingleNodeService]) -> None:
    for given, expected in (
        ({}, ("n", "/p")),
        ({"model_path": "/q"}, ("n", "/q")),
        ({"model_name": "m"}, ("m", "/p")),
    ):
        service = construct(base, "n", "/p")
        base.__init__(service, **given)
        assert (service.model_name, service.model_path) == expected


@pytest.mark.parametrize(
    ("given", "named", "expected"),
    [
        ((), {}, ("n", "/p")),
        (("/q",), {}, ("n", "/q")),
        (("m", "/q"), {}, ("m", "/q")),
        ((), {"model_path": "/q"}, ("n", "/q")),
        ((), {"model_name": "m", "model_path": "/q"}, ("m", "/q")),
        (("m",), {"model_path": "/q"}, ("m", "/q")),
        (("/q",), {"model_name": "m"}, ("m", "/q")),
    ],
)
def test_a_raw_base_takes_every_form(
    given: tuple[str, ...], named: dict[str, str], expected: tuple[str, str]
) -> None:
    service = construct(XgSklServingBaseService, "n", "/p")
    XgSklServingBaseService.__init__(service, *given, **named)  # type: ignore[arg-type]
    assert (service.model_name, service.model_path) == expected


def test_a_pickle_named_model_is_no_booster_of_scikit_learn(folder: Path) -> None:
    pytest.importorskip("joblib").dump(_Constant(), folder / "net.model")
    service: Any = load(_spec(folder.parent, "Scikit_Learn"))
    assert isinstance(service.model, _Constant)


class _Constant:
    def predict(self, rows: list[Any]) -> list[int]:
        return [7 for _ in rows]


@pytest.mark.parametrize(
    ("model_type", "name"), [("Pickle", "any.pkl"), ("Joblib", "any.joblib"), ("XGBoost", "x.pkl")]
)
def test_any_object_that_predicts_is_served(folder: Path, model_type: str, name: str) -> None:
    (folder / name).write_bytes(pickle.dumps(_Constant()))
    service = load(_spec(folder.parent, model_type))
    assert service.inference('{"req_data": [{"a": 1}]}') == [{"predictresult": 7}]
    (folder / name).write_bytes(pickle.dumps({"state": "dict"}))
    with pytest.raises(TypeError, match=r"holds a builtins\.dict, which has no method predict"):
        load(_spec(folder.parent, model_type))


def test_relative_and_plain_imports_both_work(folder: Path) -> None:
    (folder / "plain_helper.py").write_text("VALUE = 1\n")
    (folder / "model.py").write_text("NET = 'net'\n")
    (folder / "inner").mkdir()
    (folder / "inner" / "__init__.py").write_text("from ..plain_helper import VALUE\n")
    (folder / "customize_service.py").write_text(
        "import plain_helper\n"
        "from model import NET\n"
        "from .inner import VALUE\n"
        "from model_service import SingleNodeService\n"
        "import model_service.log as log, log as log2\n"
        "from metric.metrics_manager import MetricsManager\n"
        "from mms.log import get_logger\n"
        "from mms.utils.mxnet import image, ndarray\n"
        "from mms.model_service.mxnet_model_service import MXNetBaseService\n"
        "from model_service.tfserving_model_service import TfServingBaseService\n"
        "from model_service.caffe_model_service import CaffeBaseService\n"
        "from model_service.spark_model_service import SparkServingBaseService\n"
        "from model_service.python_model_service import XgSklServingBaseService\n"
        "logger = log.getLogger(__name__)\n"
        "class Mine(SingleNodeService):\n    pass\n"
    )
    compat.make_importable()
    script = import_script(folder)
    assert choose_class(script).__name__ == "Mine"
    assert script.VALUE == script.plain_helper.VALUE == 1
    assert sys.modules["customize_service"] is script


def test_a_worker_finds_the_packages_of_scripts_where_its_own_code_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    src = str(Path(compat.__path__[0]).parent.parent)
    monkeypatch.setattr(sys, "path", ["/theirs", src, "/usr"])
    compat.make_importable()
    compat.make_importable()
    assert sys.path == ["/theirs", compat.__path__[0], src, "/usr"]
    monkeypatch.setattr(sys, "path", ["/theirs"])
    compat.make_importable()
    assert sys.path == ["/theirs", compat.__path__[0]]


def test_a_failing_import_is_explained_with_its_place(folder: Path) -> None:
    (folder / "customize_service.py").write_text("import json\n\nimport no_such_thing\n")
    with pytest.raises(ModuleNotFoundError) as caught:
        import_script(folder)
    message = explain(caught.value, folder)
    assert message == (
        f"ModuleNotFoundError: No module named 'no_such_thing' ({folder}/customize_service.py:3)"
    )


def test_a_syntax_error_is_explained_with_its_place(folder: Path) -> None:
    (folder / "customize_service.py").write_text("x = 1\ndef f(:\n")
    with pytest.raises(SyntaxError) as caught:
        import_script(folder)
    assert explain(caught.value, folder).endswith("customize_service.py:2)")


@pytest.mark.parametrize(
    ("model_type", "files", "expected"),
    [
        ("PyTorch", ["net.pth", "labels.json"], "net.pth"),
        ("pytorch", ["b.pt", "a.pth"], "a.pth"),
        ("Scikit_Learn", ["iris.m"], "iris.m"),
        ("XGBoost", ["config.json", "m.json"], "m.json"),
        ("TensorFlow", ["saved_model.pb"], ""),
        ("MindSpore", ["net.ckpt"], ""),
        ("PyTorch", ["labels.json"], ""),
    ],
)
def test_model_path(tmp_path: Path, model_type: str, files: list[str], expected: str) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert model_path(model_type, tmp_path) == str(tmp_path / expected).rstrip("/")


def test_the_platform_looks_for_the_same_weights() -> None:
    for engine in (one for one in ENGINES if one.packaged):
        names = [f"net{suffix}" for suffix in engine.suffixes]
        assert sorted(candidates(engine.name, names)) == sorted(names)
        if engine.packaged:
            assert engine.scriptless == (default_handler(engine.name) is not None)


def test_config_is_never_the_weights() -> None:
    assert candidates("XGBoost", ["config.json"]) == []


def _spec(package: Path, model_type: str) -> Spec:
    return Spec("i", "s", "p", "m", "name", "0.0.1", model_type, str(package))


def test_no_script_is_a_clear_failure(folder: Path) -> None:
    with pytest.raises(BadPackage, match=r"customize_service\.py"):
        load(_spec(folder.parent, "PyTorch"))
    with pytest.raises(BadPackage, match="Safetensors"):
        load(_spec(folder.parent, "Safetensors"))
    for model_type in ("Scikit_Learn", "ONNX", "TensorFlow", "Pickle"):
        with pytest.raises(FileNotFoundError, match="neither"):
            load(_spec(folder.parent, model_type))


def test_bases_use_the_engines_defaults() -> None:
    service = construct(PTServingBaseService, "n", "/p")
    service.model = lambda value: value + 1  # type: ignore[attr-defined]
    assert service.inference({"a": 1}) == {"a": 2}
    # Scripts call the grandparent with both names, whatever their base.
    SingleNodeService.__init__(construct(OnlyPath, "n", "/p"), "n", "/p")


@pytest.mark.parametrize(
    ("base", "package"), [(TfServingBaseService, "tensorflow"), (MXNetBaseService, "mxnet")]
)
def test_a_missing_engine_is_named(base: type[SingleNodeService], package: str) -> None:
    with pytest.raises(EngineMissing, match=f"'{package}'"):
        construct(base, "n", "/p").inference({})
