"""What an engine and a script need beside the declared dependencies (models.md §9).

The runtimes that packages were made for carried their engine and its usual company; a package's
own environment begins empty. So whatever of that company the package's files import is added, and
the engine itself where what runs the model needs it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from packaging.utils import canonicalize_name

from modelyard.packages.environments.requirement_set import Want

CARRIED: dict[str, str] = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "h5py": "h5py",
    "joblib": "joblib",
    "matplotlib": "matplotlib",
    "mindspore": "mindspore",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "pandas": "pandas",
    "requests": "requests",
    "scipy": "scipy",
    "six": "six",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "tensorflow": "tensorflow-cpu",
    "torch": "torch",
    "torchvision": "torchvision",
    "xgboost": "xgboost",
    "yaml": "pyyaml",
}
"""Distributions by the module they are imported as."""

_ENGINES: dict[str, str] = {
    "ONNX": "onnxruntime",
    "Scikit_Learn": "sklearn",
    "TensorFlow": "tensorflow",
    "XGBoost": "xgboost",
}
"""The module that the default handler of an engine computes with."""

# Engines whose files of weights need the engine, whoever reads them.
_OF_WEIGHTS = ("Scikit_Learn", "XGBoost")
# Engines whose base class runs the model where the script does not (models.md §4.2).
_RUN_BY_BASE = ("TensorFlow",)
# Distributions that bring the same module under another name.
_FAMILIES = ("tensorflow", "opencv-", "mindspore", "mxnet", "onnxruntime", "pillow")
_COMPUTES = re.compile(r"^[ \t]+(?:async[ \t]+)?def[ \t]+_?inference\b", re.MULTILINE)
_IMPORT = re.compile(
    r"[ \t]*(?:import[ \t]+([^#;]+)|from[ \t]+([A-Za-z_]\w*)(?:\.[\w.]*)?[ \t]+import\b)"
)
_MODULE = re.compile(r"[A-Za-z_]\w*")
_RUNTIME = re.compile(r"(pytorch|tensorflow|tf|mindspore)_?(\d{1,3}(?:\.\d{1,3}){1,2})\b", re.ASCII)
_OF_RUNTIME = {
    "pytorch": "torch",
    "tensorflow": "tensorflow-cpu",
    "tf": "tensorflow-cpu",
    "mindspore": "mindspore",
}


def imported(source: str) -> set[str]:
    """The top-level modules that the lines of a script import.

    Read line by line and never parsed as a program, so that no file can harm the reader; what
    stands in a text or comment by chance is taken for an import, too.
    """
    found: set[str] = set()
    for line in source.splitlines():
        match = _IMPORT.match(line)
        if match is None:
            continue
        if match[2]:
            found.add(match[2])
            continue
        for part in match[1].split(","):
            name = _MODULE.match(part.strip())
            if name is not None:
                found.add(name[0])
    return found


def computes(source: str) -> bool:
    """Whether a script has an ``inference`` of its own, by the look of its lines."""
    return _COMPUTES.search(source) is not None


def needed(engine: str, imports: Collection[str], *, script: bool, computes: bool) -> str:
    """The engine's module where a package cannot do without it, else "".

    ``script``: it brings a class of its own, which ``computes`` what it predicts by itself.
    """
    module = _ENGINES.get(engine, "")
    by_base = engine in _RUN_BY_BASE and not computes
    return module if not script or by_base or module in imports else ""


def implied(
    engine: str, runtime: str, imports: Iterable[str], declared: Iterable[str], needed: str = ""
) -> tuple[Want, ...]:
    """What to add to the distributions ``declared`` by name; ``needed``: a module it cannot miss.

    The runtime's own version of its engine is wished for, and relaxed as any pin is.
    """
    named = {_family(canonicalize_name(name)) for name in declared}
    wished = {CARRIED[name] for name in imports if name in CARRIED}
    if engine in _OF_WEIGHTS:
        wished.add(CARRIED[_ENGINES[engine]])
    must = CARRIED.get(needed, "")
    versions = _runtime_versions(runtime)
    return tuple(
        Want(
            name,
            "==" if name in versions else "",
            versions.get(name, ""),
            implied=True,
            needed=name == must,
        )
        for name in sorted({*wished, must} - {""})
        if _family(name) not in named
    )


def missing(imports: Iterable[str], there: Sequence[str]) -> list[str]:
    """The distributions behind those imports of ``CARRIED`` that are not ``there``."""
    return sorted(CARRIED[name] for name in imports if name in CARRIED and name not in there)


def _family(name: str) -> str:
    return next((family for family in _FAMILIES if name.startswith(family)), name)


def _runtime_versions(runtime: str) -> dict[str, str]:
    match = _RUNTIME.match(runtime.lower())
    if match is None:
        return {}
    version = match[2] if match[2].count(".") > 1 else f"{match[2]}.*"
    return {_OF_RUNTIME[match[1]]: version}
