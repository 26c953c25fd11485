"""What the doctor reads out of a package without running it (models.md §9)."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.packages.config.config_json import parse_config
from modelyard.packages.doctor import Finding, Level, Package, examine, read_package
from modelyard.packages.doctor.texts import parse_source

SCRIPT = """
from model_service.pytorch_model_service import PTServingBaseService
class Mine(PTServingBaseService):
    pass
"""


def package(
    files: dict[str, str] | None = None, raw: bytes | None = None, **config: Any
) -> Package:
    given = {"customize_service.py": SCRIPT, "net.pth": ""} | (files or {})
    content = {"model_type": "PyTorch", "model_algorithm": "nlp"} | config
    return Package(
        files=dict.fromkeys(("config.json", *given), 1),
        config=json.dumps(content).encode() if raw is None else raw,
        sources={
            name: parse_source(name, text.encode())
            for name, text in given.items()
            if name.endswith(".py")
        },
    )


def look(one: Package, installed: tuple[str, ...] = ()) -> list[Finding]:
    return list(examine(one, python=(3, 11), available=lambda name: name in installed))


def kinds(found: list[Finding]) -> list[tuple[str, str]]:
    return [(one.kind, str(one.level)) for one in found]


def test_a_good_package_has_no_findings() -> None:
    assert look(package()) == []


def api(**more: Any) -> dict[str, Any]:
    return {"apis": [{"url": "/", **more}]}


def depends(**one: str) -> dict[str, Any]:
    return {"dependencies": [{"installer": "pip", "packages": [one]}]}


@pytest.mark.parametrize(
    ("config", "kind", "level", "where", "says", "fix"),
    [
        (api(procotol="http"), "typo", "warning", "apis[0].procotol", "misspelt", "'protocol'"),
        ({"depedencies": []}, "typo", "warning", ": depedencies", "misspelt", "'dependencies'"),
        ({"tunable": 1}, "unknown-key", "note", ": tunable", "no effect", "Leave it out"),
        (
            api(request={"Content-type": "applicaton/json"}),
            *("content-type", "warning", "apis[0].request.Content-type"),
            *("no content type", "'application/json'"),
        ),
        (
            api(response={"Content-type": "multipart/form-data"}),
            *("content-type", "warning", "apis[0].response", "answers are JSON", "application"),
        ),
        (
            api(
                request={
                    "Content-type": "application/json",
                    "data": {"properties": {"a": {"type": "file"}}},
                }
            ),
            *("content-type", "warning", "apis[0].request", "has a file", "multipart/form-data"),
        ),
        (
            depends(package_name="numpy", package_version="1.16.4", restraint="EXACT"),
            *("old-pin", "warning", "dependencies[0].packages[0]", "1.23.2 is the first"),
            "ATLEAST",
        ),
        (
            depends(package_name="Opencv_Python", package_version="4.1", restraint="ATMOST"),
            *("old-pin", "warning", "packages[0]", "no build for Python 3.11", "relaxed"),
        ),
        (
            depends(package_name="/home/mind/model/a.whl"),
            *("wheel", "note", "packages[0]", "installs the file", "must fit"),
        ),
        (
            {"runtime": "python3.6"},
            *("runtime", "note", ": runtime", "served by Python 3.11", "Nothing"),
        ),
        (
            depends(package_name="git+https://example.invalid/a.git"),
            *("config", "error", "package_name", "names a place or an option", "wheel"),
        ),
        ({"workers": 0}, "config", "error", ": workers", "from 1 to 64", "leave it out"),
        (
            {"batching": {"max_size": "8"}},
            *("config", "error", ": batching.max_size", "is text", "quotation marks"),
        ),
        ({"worker": 2}, "typo", "warning", ": worker", "misspelt", "'workers'"),
        ({"model_type": "Nonsense"}, "config", "error", "model_type", "not supported", "Use one"),
    ],
)
def test_config(
    config: dict[str, Any], kind: str, level: str, where: str, says: str, fix: str
) -> None:
    (found,) = look(package(**config))
    assert (found.kind, found.level) == (kind, level)
    assert found.where.startswith("model/config.json")
    assert where in found.where
    assert says in found.says
    assert fix in found.fix


def test_rows_are_json_only() -> None:
    config = api(request={"Content-type": "multipart/form-data"}) | {"model_type": "XGBoost"}
    rows = """
from model_service.python_model_service import XgSklServingBaseService
class Rows(XgSklServingBaseService): pass
"""
    (found,) = look(package({"a.pkl": "", "customize_service.py": rows}, **config))
    assert "takes JSON only" in found.says
    # What counts is the class, and any engine may take any.
    assert look(package({"a.pkl": ""}, **config)) == []


def test_a_later_pin_and_a_lower_bound_are_fine() -> None:
    for version, restraint in (("1.26.0", "EXACT"), ("1.1", "ATLEAST"), ("", "")):
        one = {"package_name": "numpy", "package_version": version, "restraint": restraint}
        assert look(package(**depends(**one))) == []


def test_a_broken_config_says_where() -> None:
    found = look(package(raw=b'{"model_type": "PyTorch",\n "a": }'))
    assert "line 2, column 7" in found[0].says
    assert kinds(look(package(raw=b"\xff"))) == [("config", "error")]
    assert kinds(look(Package({}, None))) == [("config", "error")]


@pytest.mark.parametrize(
    ("files", "kind", "level", "where", "says"),
    [
        ({"b.pt": ""}, "weights", "warning", "model/", "found b.pt, net.pth"),
        ({"customize_service.py": "x = ("}, "syntax", "error", ":1", "'(' was never closed"),
        (
            {"customize_service.py": SCRIPT + "\nprint 'a'\n"},
            *("syntax", "error", ":6", "Missing parentheses"),
        ),
        ({"customize_service.py": "pass\n"}, "class", "error", "service.py", "defines no class"),
        (
            {"customize_service.py": SCRIPT + "class Other(PTServingBaseService): pass\n"},
            *("class", "error", "service.py", "several service classes: Mine, Other"),
        ),
        ({"random.py": ""}, "shadow", "warning", "model/random.py", "hides the standard"),
        ({"model_service/__init__.py": ""}, "shadow", "error", "model_service/", "base classes"),
        ({"torch/__init__.py": ""}, "shadow", "warning", "model/torch/", "hides the library torch"),
        ({"log.py": ""}, "shadow", "note", "model/log.py", "instead of the platform's"),
        ({"a.py": "import nowhere"}, "import", "warning", "model/a.py:1", "neither installed"),
        (
            {"customize_service.py": "from .a import x\n" + SCRIPT, "b.py": "import a", "a.py": ""},
            *("two-ways", "note", "service.py:1", "as .a and as a"),
        ),
        (
            {"a.py": "P = '/home/mind/model/a'"},
            *("home-path", "note", "model/a.py:1", "reads '/home/mind/model/a'"),
        ),
        (
            {"a.py": "def f(x):\n    return x.cuda()\n"},
            "device",
            "warning",
            "a.py:2",
            "accelerator",
        ),
        ({"a.py": "D = 'cuda:0'"}, "device", "warning", "a.py:1", "accelerator"),
        (
            {"a.py": "import numpy as np\nX = np.float\n"},
            *("outdated", "warning", "a.py:2", "numpy.float is gone since NumPy 1.24"),
        ),
        (
            {"a.py": "from PIL import Image\nX = Image.ANTIALIAS\n"},
            *("outdated", "warning", "a.py:2", "gone since Pillow 10"),
        ),
        (
            {"a.py": "import torch\nX = torch.load('x')\n"},
            *("outdated", "note", "a.py:2", "only plain weights"),
        ),
    ],
)
def test_files(files: dict[str, str], kind: str, level: str, where: str, says: str) -> None:
    (found,) = look(package(files))
    assert (found.kind, found.level) == (kind, level)
    assert where in found.where
    assert says in found.says


def test_what_a_default_handler_needs_is_named() -> None:
    bare = Package(
        {"config.json": 1, "net.onnx": 1}, b'{"model_type": "onnx", "model_algorithm": "nlp"}'
    )
    (found,) = look(bare)
    assert (found.kind, found.level, "need onnxruntime" in found.says) == ("engine", "note", True)
    assert look(bare, ("onnxruntime",)) == []


def test_what_fits_is_not_told() -> None:
    script = """
import cv2, sklearn, helper, torch
from nested import deep
from .helper import x
from base import Base
try:
    import nowhere
except ImportError:
    pass
class Middle(Base): pass
class Leaf(Middle): pass
torch.load("a", weights_only=False)
torch.device("cuda" if torch.cuda.is_available() else "cpu")
"""
    files = {"customize_service.py": script, "helper.py": "", "base.py": "", "lib/nested.py": ""}
    found = look(package(files, **depends(package_name="opencv-python")), ("sklearn",))
    assert kinds(found) == [("two-ways", "note")]


def test_a_script_may_rename_its_base() -> None:
    script = "from model_service.model_service import SingleNodeService as S\nclass A(S): pass\n"
    assert look(package({"customize_service.py": script})) == []


def test_reading_is_bounded_and_follows_no_link(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "PyTorch", "model_algorithm": "nlp"}')
    (model / "customize_service.py").write_text(SCRIPT)
    (model / "net.pth").touch()
    (model / "huge.py").write_text("x = 1\n" * 50_000)
    (model / "deep.py").write_text("x = " + "-" * 100_000 + "1")
    (model / "zero.py").write_bytes(b"x = 1\x00")
    (model / "link.py").symlink_to("/etc/passwd")
    (model / "__pycache__").mkdir()
    (model / "__pycache__" / "bad.py").write_text("x = (")
    one = read_package(tmp_path)
    assert one.skipped == ("huge.py",)
    assert "link.py" not in one.files
    assert kinds(look(one)) == [("syntax", "error"), ("syntax", "error"), ("unread", "note")]


@pytest.mark.parametrize(
    "text",
    [
        "x = a" + ".b" * 50_000,
        "x = a" + "+a" * 50_000,
        "x = a" + "()" * 50_000,
        "x = " + "not " * 30_000 + "1",
        "x = " + "lambda:" * 15_000 + "1",
        "(" * 100_000,
        "x = a" + "<a" * 10_000,
        "".join(f"class A{n}(A{max(0, n - 1)}): pass\n" for n in range(4000)),
    ],
    ids=["attributes", "sums", "calls", "nots", "lambdas", "brackets", "compared", "classes"],
)
def test_a_source_made_to_break_the_reader_does_not(text: str) -> None:
    look(package({"customize_service.py": text}))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
_keys = st.sampled_from(
    [
        *("model_type", "model_algorithm", "runtime", "apis", "dependencies", "request", "data"),
        *("Content-type", "packages", "package_name", "package_version", "procotol", "health"),
    ]
)
_config = st.recursive(
    _json | st.sampled_from(["PyTorch", "XGBoost", "Image", "numpy", "1.0", "EXACT", "python3.6"]),
    lambda inner: st.dictionaries(_keys, inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=12,
)


@given(_config, st.text(max_size=40))
def test_whatever_a_package_says_is_judged(config: object, text: str) -> None:
    one = package({"customize_service.py": text}, raw=json.dumps(config).encode())
    for found in look(one):
        assert found.says
        assert found.where


def test_nothing_of_a_package_is_executed(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    canary = tmp_path / "canary"
    text = f"open({str(canary)!r}, 'w')\n"
    for name in ("customize_service.py", "json.py", "__init__.py", "sitecustomize.py"):
        (model / name).write_text(text)
    look(read_package(tmp_path))
    assert not canary.exists()


def test_a_config_in_force_replaces_the_files() -> None:
    config = parse_config(b'{"model_type": "PyTorch", "model_algorithm": "nlp"}').config
    one = Package({"customize_service.py": 1, "net.pth": 1}, None, package().sources)
    assert list(examine(one, python=(3, 11), available=lambda _: False, config=config)) == []


def test_the_worst_comes_first_and_once() -> None:
    found = look(
        package({"random.py": "", "a.py": "P = '/home/mind'; Q = '/home/mind'"}, tunable=1)
    )
    assert [one.level for one in found] == [Level.WARNING, Level.NOTE, Level.NOTE]
    assert set(found[0].document()) == {"kind", "level", "where", "says", "fix"}
    assert ast.literal_eval(repr(found[0].document()))["level"] == "warning"
