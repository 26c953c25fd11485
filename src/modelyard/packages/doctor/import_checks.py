"""What the package's modules import, from where, and what they hide (models.md §2, §9); pure."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator

from modelyard.packages.config.config_json import ModelConfig
from modelyard.packages.doctor.findings import Finding, Level
from modelyard.packages.doctor.texts import Package, Source

Available = Callable[[str], bool]
"""Whether a module of that top-level name can be imported where the package will run."""

_OURS = ("model_service", "mms", "metric", "log", "modelyard_instance")
# Modules whose distribution is called otherwise.
_DISTRIBUTIONS = {
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "google": "protobuf",
    "Crypto": "pycryptodome",
}
# What an engine's runtime brings along (models.md §1.7).
_BROUGHT = {
    "PyTorch": ("torch", "torchvision", "numpy", "PIL"),
    "TensorFlow": ("tensorflow", "numpy"),
    "MindSpore": ("mindspore", "numpy"),
    "MXNet": ("mxnet", "numpy"),
    "Caffe": ("caffe", "numpy"),
    "Spark_MLlib": ("pyspark",),
    "Scikit_Learn": ("sklearn", "joblib", "numpy", "scipy"),
    "XGBoost": ("xgboost", "sklearn", "joblib", "numpy", "scipy"),
}
# What runs a package without a script.
_HANDLERS = {
    "ONNX": "onnxruntime",
    "TensorFlow": "tensorflow",
    "Scikit_Learn": "sklearn",
    "XGBoost": "xgboost",
}


def check_imports(
    package: Package, config: ModelConfig | None, available: Available
) -> list[Finding]:
    """Imports that nothing provides, modules that hide others, modules that are loaded twice."""
    return [
        *_hidden(package, config),
        *_twice(package),
        *_missing(package, config, available),
        *_handler(package, config, available),
    ]


def _hidden(package: Package, config: ModelConfig | None) -> Iterator[Finding]:
    declared = _declared(config)
    brought = _BROUGHT.get(config.model_type, ()) if config else ()
    for name, place in package.siblings.items():
        where = f"model/{place}"
        if name in ("model_service", "mms", "modelyard_instance"):
            says = f"hides the platform's {name}, and with it the base classes"
            fix = "Remove it: the platform brings its own."
            yield Finding("shadow", Level.ERROR, where, says, fix)
        elif name in ("log", "metric"):
            says = f"is imported instead of the platform's {name}"
            fix = "Remove it, unless it is meant to be."
            yield Finding("shadow", Level.NOTE, where, says, fix)
        elif name in sys.stdlib_module_names and name != "customize_service":
            says = f"hides the standard library's {name} from everything in the model's process"
            yield Finding("shadow", Level.WARNING, where, says, f"Rename it, to my_{name} perhaps.")
        elif name in brought or _distribution(name) in declared:
            says = f"hides the library {name}, which is installed as well"
            fix = "Rename it, or leave the dependency out."
            yield Finding("shadow", Level.WARNING, where, says, fix)


def _twice(package: Package) -> Iterator[Finding]:
    plain: set[str] = set()
    relative: dict[str, str] = {}
    for source in package.sources.values():
        for node, top, level in _imports(source):
            if level == 0:
                plain.add(top)
            elif level == 1 and "/" not in source.name:
                relative.setdefault(top, source.at(node))
    for name in sorted(plain & set(relative) & set(package.siblings)):
        says = f"{name} is imported as .{name} and as {name}: two modules with a state each"
        fix = "Import it in one way everywhere."
        yield Finding("two-ways", Level.NOTE, relative[name], says, fix)


def _missing(
    package: Package, config: ModelConfig | None, available: Available
) -> Iterator[Finding]:
    declared = _declared(config)
    brought = _BROUGHT.get(config.model_type, ()) if config else ()
    told: set[str] = set()
    for source in package.sources.values():
        for node, top, level in _imports(source):
            known = (
                level > 0
                or top in told
                or top in _OURS
                or top in sys.stdlib_module_names
                or top in package.siblings
                or top in brought
                or _distribution(top) in declared
                or _within(top, package)
                or available(top)
            )
            if known:
                continue
            told.add(top)
            wanted = _DISTRIBUTIONS.get(top, top)
            says = f"{top} is imported, and neither installed nor among the dependencies"
            fix = f'Add {{"package_name": "{wanted}"}} to dependencies[].packages.'
            yield Finding("import", Level.WARNING, source.at(node), says, fix)


def _handler(
    package: Package, config: ModelConfig | None, available: Available
) -> Iterator[Finding]:
    """What the default handler of a package without a script needs."""
    engine = config.model_type if config else ""
    wanted = _HANDLERS.get(engine)
    if package.script is not None or wanted is None or available(wanted):
        return
    if _plain(wanted) not in _declared(config):
        says = f"{engine} models without a script need {wanted}, which is not installed here"
        fix = "Nothing: it is put into an environment of the model's own. Name it for a version."
        yield Finding("engine", Level.NOTE, "model/config.json: dependencies", says, fix)


def _within(top: str, package: Package) -> bool:
    """Whether any folder of the package holds it: scripts extend ``sys.path`` themselves."""
    return any(
        f"/{top}.py" in f"/{name}" or f"/{top}/__init__.py" in f"/{name}" for name in package.files
    )


def _imports(source: Source) -> Iterator[tuple[ast.AST, str, int]]:
    """Each import outside a ``try``: its node, its top-level name, its level (0: plain)."""
    if source.tree is None:
        return
    stack: list[ast.AST] = [source.tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Try):
            continue
        if isinstance(node, ast.Import):
            for one in node.names:
                yield node, one.name.partition(".")[0], 0
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else [one.name for one in node.names]
            for name in names:
                yield node, name.partition(".")[0], node.level
        stack.extend(ast.iter_child_nodes(node))


def _declared(config: ModelConfig | None) -> set[str]:
    if config is None:
        return set()
    return {
        _plain(one.name.partition("[")[0])
        for entry in config.dependencies
        for one in entry.packages
    }


def _distribution(module: str) -> str:
    return _plain(_DISTRIBUTIONS.get(module, module))


def _plain(name: str) -> str:
    plain = re.sub(r"[-_.]+", "-", name).lower()
    return "opencv-python-headless" if plain.startswith("opencv-") else plain
