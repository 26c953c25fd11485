"""What a package wants, what may stand in for it, and what is told (models.md §3.4, §9)."""

from __future__ import annotations

import asyncio
import string
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement as Pep508
from packaging.version import Version

from modelyard.errors import DependenciesFailed, InvalidRequest, Problem
from modelyard.packages.config.requirements import Installation, Requirement, parse_dependencies
from modelyard.packages.environments.builder import resolve, shown
from modelyard.packages.environments.fallback_pins import (
    Finding,
    brief,
    demanded,
    ladder,
    locked_version,
    pins,
    told_reason,
)
from modelyard.packages.environments.implied import (
    computes,
    implied,
    imported,
    missing,
    needed,
)
from modelyard.packages.environments.installer import Installer, Unobtainable, index_of
from modelyard.packages.environments.requirement_set import (
    Policy,
    RequirementSet,
    Want,
    is_met,
    sealed,
    wanted,
)

NOWHERE = Path("/nowhere")


def want(text: str, *, implied: bool = False) -> Want:
    """``numpy==1.0`` as a demand."""
    for sign in ("==", ">=", "<="):
        name, found, version = text.partition(sign)
        if found:
            return Want(name, sign, version, implied=implied)
    return Want(text, implied=implied)


def nothing(_: str) -> None:
    return None


# -- the set -----------------------------------------------------------------------------------

_names = st.text(string.ascii_letters + "-_.", min_size=1, max_size=6).filter(
    lambda name: name[0].isalpha() and name[-1].isalpha()
)
_requirements = st.builds(
    Requirement,
    _names,
    st.from_regex(r"\A[0-9]\.[0-9]\Z"),
    st.sampled_from(["EXACT", "ATLEAST", "ATMOST"]),
) | st.builds(Requirement, _names)


def by_name(requirement: Requirement) -> str:
    return requirement.name.lower().replace("_", "-").replace(".", "-").replace("--", "-")


@given(st.lists(_requirements, max_size=6, unique_by=by_name), st.randoms(), st.data())
def test_equal_sets_have_equal_digests(
    requirements: list[Requirement], chance: object, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(requirements))
    cut = data.draw(st.integers(0, len(shuffled)))
    one = wanted([Installation("pip", tuple(requirements))])
    parts = (tuple(shuffled[:cut]), tuple(shuffled[cut:]))
    other = wanted([Installation("pip", part) for part in parts])
    assert one.digest("x") == other.digest("x")
    assert one.digest("x") != one.digest("y")
    assert one.digest("x") != RequirementSet(one.wants, Policy.EXACT).digest("x")
    more = RequirementSet((*one.wants, Want("zzzzzzzzz")))
    assert more.digest("x") != one.digest("x")


def test_names_are_canonical() -> None:
    packages = (Requirement("Scikit_Learn"), Requirement("scikit.learn"), Requirement("A[C,b]"))
    found = wanted([Installation("pip", packages)]).wants
    assert found == (Want("scikit-learn"), Want("a", extras=("b", "c")))
    assert [str(one) for one in found] == ["scikit-learn", "a[b,c]"]


def test_of_two_demands_on_one_distribution_the_order_counts() -> None:
    pair = [Requirement("a", "1", "EXACT"), Requirement("a", "2", "EXACT")]
    digests = {wanted([Installation("pip", tuple(order))]).digest() for order in (pair, pair[::-1])}
    assert len(digests) == 2


def test_wheels_are_known_by_what_is_in_them(tmp_path: Path) -> None:
    def digest(path: str, content: bytes) -> str:
        (tmp_path / "w").mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
        packages = (Requirement(f"/home/mind/model/{path}"),)
        return sealed(wanted([Installation("pip", packages)]), tmp_path).digest()

    first = digest("tiny-1.0-py3-none-any.whl", b"a")
    assert digest("w/tiny-1.0-py3-none-any.whl", b"a") == first
    assert digest("tiny-1.0-py3-none-any.whl", b"b") != first


@pytest.mark.parametrize("path", ["absent-1.0-py3-none-any.whl", "out/x-1.0-py3-none-any.whl"])
def test_wheels_outside_the_package_are_refused(tmp_path: Path, path: str) -> None:
    inside, outside = tmp_path / "model", tmp_path / "elsewhere"
    inside.mkdir()
    outside.mkdir()
    (outside / "x-1.0-py3-none-any.whl").touch()
    (inside / "out").symlink_to(outside)
    request = wanted([Installation("pip", (Requirement(f"/home/mind/model/{path}"),))])
    with pytest.raises(InvalidRequest, match="is not in the package"):
        sealed(request, inside)


@pytest.mark.parametrize(
    ("text", "there", "met"),
    [
        ("a==1.0", "1.0", True),
        ("a==1.0", "1.0+cpu", True),
        ("a==1.0", "1.1", False),
        ("a==1.*", "1.1", True),
        ("a>=1.0", "2.0rc1", True),
        ("a<=1.0", "2.0", False),
        ("a", "9", True),
        ("a", None, False),
        ("a==latest", "1.0", False),
        ("a==1.0", "not-a-version", False),
    ],
)
def test_what_is_installed_meets_a_demand_exactly_or_not(
    text: str, there: str | None, met: bool
) -> None:
    assert is_met(want(text), lambda _: there) is met


@pytest.mark.parametrize(
    "name",
    [
        "--index-url=http://127.0.0.1/simple",
        "-r http://127.0.0.1/requirements.txt",
        "-e .",
        "git+https://127.0.0.1/x.git",
        "git+ssh",
        "tiny @ http://127.0.0.1/tiny-1.0-py3-none-any.whl",
        "http://127.0.0.1/tiny-1.0-py3-none-any.whl",
        "file:///etc/tiny-1.0-py3-none-any.whl",
    ],
)
def test_places_and_options_are_refused_by_policy(name: str) -> None:
    problems: list[Problem] = []
    parse_dependencies([{"packages": [{"package_name": name}]}], "dependencies", problems)
    [problem] = problems
    assert problem.field == "dependencies[0].packages[0].package_name"
    assert "names a place or an option" in problem.reason
    assert "the operator sets where it comes from" in problem.remedy


@pytest.mark.parametrize(
    ("name", "version"),
    [("tiny ; os_name", ""), ("tiny\nother", ""), ("tiny", "1.0 --pre"), ("../tiny.whl", "")],
)
def test_nothing_else_slips_through(name: str, version: str) -> None:
    problems: list[Problem] = []
    package = {"package_name": name, "package_version": version}
    parse_dependencies([{"packages": [package]}], "dependencies", problems)
    assert len(problems) == 1


# -- what an engine implies --------------------------------------------------------------------


def test_imports_are_read_line_by_line() -> None:
    source = """
import os, torch.nn as nn ,cv2
from PIL import Image
    import numpy as np; import pandas
from .torchvision import nothing
from . import scipy
print "an old Python's"
importlib.import_module("h5py")
"""
    assert imported(source) == {"os", "torch", "cv2", "PIL", "numpy"}


def test_no_line_keeps_the_reader_for_long() -> None:
    assert imported(f"from {'a' * 1_000_000}\nfrom a{'.' * 1_000_000}\nimport torch") == {"torch"}


@given(st.text())
def test_any_text_has_imports_or_none(source: str) -> None:
    assert all(name.isidentifier() for name in imported(source))


@pytest.mark.parametrize(
    ("engine", "runtime", "imports", "declared", "expected"),
    [
        ("PyTorch", "", {"torch", "os"}, [], ["torch"]),
        ("PyTorch", "", {"torch"}, ["Torch"], []),
        ("PyTorch", "", set(), [], []),
        ("PyTorch", "pytorch_2.1.0-cuda_11-py_3.9-x", {"torch"}, [], ["torch==2.1.0"]),
        ("PyTorch", "pytorch1.4-python3.7", {"torch", "PIL"}, [], ["pillow", "torch==1.4.*"]),
        ("PyTorch", "", {"cv2"}, ["opencv-contrib-python"], []),
        ("TensorFlow", "tf1.13-python3.6-cpu", {"tensorflow"}, [], ["tensorflow-cpu==1.13.*"]),
        ("TensorFlow", "python3.6", {"tensorflow"}, ["tensorflow-gpu"], []),
        ("Scikit_Learn", "", set(), [], ["scikit-learn"]),
        ("XGBoost", "python3.7", {"numpy"}, ["numpy"], ["xgboost"]),
    ],
)
def test_what_comes_along(
    engine: str, runtime: str, imports: set[str], declared: list[str], expected: list[str]
) -> None:
    found = implied(engine, runtime, imports, declared)
    assert [str(one) for one in found] == expected
    assert all(one.implied for one in found)


@pytest.mark.parametrize(
    ("engine", "imports", "script", "computing", "module"),
    [
        ("ONNX", set(), False, False, "onnxruntime"),
        ("TensorFlow", set(), False, False, "tensorflow"),
        ("Scikit_Learn", set(), False, False, "sklearn"),
        ("PyTorch", {"torch"}, True, True, ""),
        # A script does with the weights what it likes; TensorFlow's base class runs them.
        ("ONNX", {"cv2"}, True, True, ""),
        ("ONNX", {"onnxruntime"}, True, True, "onnxruntime"),
        ("TensorFlow", set(), True, False, "tensorflow"),
        ("TensorFlow", set(), True, True, ""),
        ("TensorFlow", {"tensorflow"}, True, True, "tensorflow"),
    ],
)
def test_who_cannot_do_without_the_engine(
    engine: str, imports: set[str], script: bool, computing: bool, module: str
) -> None:
    assert needed(engine, imports, script=script, computes=computing) == module


def test_the_engine_comes_once_and_under_the_name_that_is_declared() -> None:
    [engine] = implied("ONNX", "", set(), [], "onnxruntime")
    assert (str(engine), engine.implied, engine.needed) == ("onnxruntime", True, True)
    assert implied("ONNX", "", set(), ["onnxruntime-gpu"], "onnxruntime") == ()
    [engine] = implied("TensorFlow", "tf1.13-python3.6-cpu", {"tensorflow"}, [], "tensorflow")
    assert (str(engine), engine.needed) == ("tensorflow-cpu==1.13.*", True)


def test_a_script_that_computes_is_known_by_its_lines() -> None:
    assert computes("class A(B):\n    def _inference(self, data):\n        return data\n")
    assert computes("class A(B):\n\tdef inference (self, data): pass\n")
    assert not computes("class A(B):\n    def _postprocess(self, data): pass\n# def _inference\n")


def test_what_the_platforms_own_environment_lacks() -> None:
    assert missing({"torch", "numpy", "os"}, ["numpy"]) == ["torch"]


# -- what may stand in -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "there", "rungs"),
    [
        ("a==1.0", None, ["a==1.0", "a"]),
        ("a==1.0", "2.0", ["a==1.0", "a==2.0", "a"]),
        ("a==1.0+cu1", "2.0+cpu", ["a==1.0+cu1", "a==1.0", "a==2.0+cpu", "a==2.0", "a"]),
        ("a", "2.0", ["a"]),
        ("a==latest", None, ["a"]),
        ("sklearn==0.0", None, ["sklearn==0.0", "sklearn", "scikit-learn==0.0", "scikit-learn"]),
    ],
)
def test_rungs(asked: str, there: str | None, rungs: list[str]) -> None:
    found = ladder(want(asked), Policy.RELAXED, lambda _: there, NOWHERE)
    assert list(found) == rungs
    assert len(ladder(want(asked), Policy.EXACT, lambda _: there, NOWHERE)) == 1


def test_rungs_of_a_wheel() -> None:
    wheel = Want("six", "==", "1.0", wheel="w/six-1.0-py3-none-any.whl")
    asked = "six @ file:///nowhere/w/six-1.0-py3-none-any.whl"
    assert ladder(wheel, Policy.RELAXED, nothing, NOWHERE) == (asked, "six==1.0", "six")
    private = Want("acme", "==", "1.0", wheel="acme-1.0-py3-none-any.whl")
    assert len(ladder(private, Policy.RELAXED, nothing, NOWHERE)) == 1
    known = ladder(private, Policy.RELAXED, lambda _: "2.0", NOWHERE)
    assert known[1:] == ("acme==1.0", "acme==2.0", "acme")


def test_pins_and_names() -> None:
    demands = ["a", "b[x,y]==1", "B==2", "c @ file:///x/c.whl", "d>=1"]
    assert pins(demands) == ("B==2", "c @ file:///x/c.whl", "d>=1")
    assert demanded("A_b[x]>=1") == "a-b"
    assert locked_version("A.b", ["a-b==1.5", "c==2"]) == "a-b 1.5"
    assert shown("c @ file:///secret/place/c%2B.whl") == "c @ c+.whl"


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (
            "error: No solution found when resolving dependencies\n"
            "  cause: Because there is no version of a==3\n         and you require a==3.\n",
            "Because there is no version of a==3 and you require a==3.",
        ),
        (
            "error: Because a has no wheels.\n\nhint: You may `--no-build`\n",
            "Because a has no wheels.",
        ),
        (
            "  × No solution found when resolving dependencies:\n  ╰─▶ Because a was not found.\n",
            "Because a was not found.",
        ),
        ("warning: slow\nerror: Failed to fetch: `x`\n", "Failed to fetch: `x`"),
        ("", ""),
    ],
)
def test_the_installers_reason_in_one_line(output: str, told: str) -> None:
    assert told_reason(output) == told


def test_of_one_demand_only_what_concerns_it_is_told() -> None:
    long = "Because a==1 has no usable wheels and you require a==1, we can conclude that nothing."
    assert brief(long) == "a==1 has no usable wheels"
    assert brief("Failed to build a") == "Failed to build a"


@given(st.text())
def test_any_output_becomes_one_short_line(output: str) -> None:
    told = told_reason(output)
    assert "\n" not in told
    assert len(told) <= 600


# -- the decision, given what there is ---------------------------------------------------------


class Shelf:
    """Stands for uv: distributions by name and version, each with what it needs."""

    def __init__(self, **there: dict[str, list[str]]) -> None:
        self.there = {name.replace("_", "-"): versions for name, versions in there.items()}
        self.asked: list[tuple[str, ...]] = []

    async def resolve(
        self, demands: Sequence[str], overrides: Sequence[str] = (), scratch: Path | None = None
    ) -> tuple[str, ...]:
        self.asked.append(tuple(demands))
        forced = {Pep508(one).name: Pep508(one) for one in overrides}
        wishes: dict[str, list[Pep508]] = {}
        queue = [Pep508(one) for one in demands]
        chosen: dict[str, str] = {}
        while queue:
            one = queue.pop(0)
            wishes.setdefault(one.name, []).append(forced.get(one.name, one))
            fitting = [
                version
                for version in self.there.get(one.name, {})
                if all(wish.specifier.contains(version) for wish in wishes[one.name])
            ]
            if not fitting:
                raise Unobtainable(f"there is no version of {one}")
            best = max(fitting, key=Version)
            if chosen.get(one.name) != best:
                chosen[one.name] = best
                queue += [Pep508(need) for need in self.there[one.name][best]]
        return tuple(f"{name}=={version}" for name, version in sorted(chosen.items()))


def decide(
    shelf: Shelf, *wants: Want, policy: Policy = Policy.RELAXED
) -> tuple[list[str], list[Finding]]:
    request = RequirementSet(wants, policy)
    found = asyncio.run(resolve(request, NOWHERE, cast("Installer", shelf), nothing))
    return list(found.lock), list(found.findings)


def test_what_can_be_had_is_taken_exactly_and_at_once() -> None:
    shelf = Shelf(a={"1": [], "2": []}, b={"1": ["a"]})
    assert decide(shelf, want("a==1"), want("b")) == (["a==1", "b==1"], [])
    assert len(shelf.asked) == 1


def test_only_what_is_not_there_is_relaxed() -> None:
    shelf = Shelf(a={"1": [], "2": []}, b={"5": []})
    lock, findings = decide(shelf, want("a==1"), want("b==4"))
    assert lock == ["a==1", "b==5"]
    assert findings == [Finding("relaxed", "b==4", "b 5", "there is no version of b==4")]
    with pytest.raises(DependenciesFailed, match="no version of b==4"):
        decide(shelf, want("a==1"), want("b==4"), policy=Policy.EXACT)


def test_a_pin_whose_own_needs_are_gone_is_relaxed() -> None:
    shelf = Shelf(a={"1": ["gone==1"], "2": []})
    assert decide(shelf, want("a==1"))[0] == ["a==2"]


def test_implied_ones_are_left_out_before_anything_fails() -> None:
    shelf = Shelf(a={"1": []})
    for policy in Policy:
        lock, findings = decide(shelf, want("a==1"), want("torch", implied=True), policy=policy)
        assert lock == ["a==1"]
        assert [one.kind for one in findings] == ["left-out"]
    with pytest.raises(DependenciesFailed, match="no version of c"):
        decide(shelf, want("a==1"), want("c"))


def test_without_its_engine_there_is_no_model() -> None:
    engine = Want("onnxruntime", implied=True, needed=True)
    assert decide(Shelf(onnxruntime={"1": []}), engine)[0] == ["onnxruntime==1"]
    with pytest.raises(DependenciesFailed, match="The model needs onnxruntime, which is neither"):
        decide(Shelf(a={"1": []}), want("a"), engine)
    # An old runtime's version of it gives way as any pin does, also under the policy exact.
    old = replace(engine, sign="==", version="0.1")
    assert decide(Shelf(onnxruntime={"1": []}), old, policy=Policy.EXACT)[0] == ["onnxruntime==1"]


def test_whoever_asked_for_it_the_environment_is_the_same() -> None:
    plain = RequirementSet((Want("onnxruntime"),)).digest("x")
    assert RequirementSet((Want("onnxruntime", implied=True, needed=True),)).digest("x") == plain


def test_contradicting_pins_stay_as_asked_for() -> None:
    shelf = Shelf(a={"1": [], "2": []}, b={"1": ["a>=2"]})
    lock, findings = decide(shelf, want("a==1"), want("b==1"))
    assert lock == ["a==1", "b==1"]
    assert [one.kind for one in findings] == ["contradiction"]
    assert "a==1, b==1 contradict each other" in findings[0].sentence()
    with pytest.raises(DependenciesFailed):
        decide(shelf, want("a==1"), want("b==1"), policy=Policy.EXACT)


_few = st.sampled_from(["1", "2", "3"])


@given(
    st.dictionaries(st.sampled_from("abcd"), st.sets(_few, min_size=1), min_size=1),
    st.dictionaries(st.sampled_from("abcd"), _few, min_size=1),
)
def test_every_pin_is_met_or_told(there: dict[str, set[str]], asked: dict[str, str]) -> None:
    shelf = Shelf(**{name: {v: [] for v in versions} for name, versions in there.items()})
    wants = [want(f"{name}=={version}") for name, version in asked.items()]
    if set(asked) - set(there):
        with pytest.raises(DependenciesFailed):
            decide(shelf, *wants)
        return
    lock, findings = decide(shelf, *wants)
    assert {line.partition("==")[0] for line in lock} == set(asked)
    unmet = {str(one) for one in wants if str(one) not in lock}
    assert {finding.asked for finding in findings} == unmet
    for name, version in asked.items():
        assert (version in there[name]) is (f"{name}=={version}" not in unmet)


# -- where distributions come from -------------------------------------------------------------


def test_the_index_is_a_folder_or_urls(tmp_path: Path) -> None:
    assert index_of("") == index_of("  ")
    assert index_of(str(tmp_path)).arguments == ("--no-index", "--find-links", str(tmp_path))
    assert index_of(f"file://{tmp_path}").arguments[0] == "--no-index"
    one = index_of("https://user:secret@127.0.0.1/simple")
    assert one.arguments == ()
    assert one.variables == {"UV_DEFAULT_INDEX": "https://user:secret@127.0.0.1/simple"}
    two = index_of("http://127.0.0.1/ours http://127.0.0.1/all")
    assert two.variables == {
        "UV_INDEX": "http://127.0.0.1/ours",
        "UV_DEFAULT_INDEX": "http://127.0.0.1/all",
    }
