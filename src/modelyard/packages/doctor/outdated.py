"""Names that later releases took away: what worked when the package was written; pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modelyard.packages.doctor.findings import Finding, Level
from modelyard.packages.doctor.texts import Package, Source

_NUMPY = ("NumPy 1.24", "Write {plain}, or numpy.{plain}_.")
_GONE: dict[str, tuple[str, str]] = {
    **{
        f"numpy.{name}": (_NUMPY[0], _NUMPY[1].format(plain=name))
        for name in ("bool", "int", "float", "complex", "object", "str")
    },
    "numpy.long": ("NumPy 1.24", "Write int."),
    "PIL.Image.ANTIALIAS": ("Pillow 10", "Write Image.LANCZOS."),
    "time.clock": ("Python 3.8", "Write time.perf_counter."),
    "collections.Mapping": ("Python 3.10", "Write collections.abc.Mapping."),
    "collections.Iterable": ("Python 3.10", "Write collections.abc.Iterable."),
    "collections.Sequence": ("Python 3.10", "Write collections.abc.Sequence."),
    "scipy.misc.imread": ("SciPy 1.2", "Write imageio.imread."),
    "scipy.misc.imresize": ("SciPy 1.3", "Resize with PIL.Image."),
    "sklearn.externals": ("scikit-learn 0.23", "Write import joblib."),
    "sklearn.cross_validation": ("scikit-learn 0.20", "Write sklearn.model_selection."),
    "tensorflow.contrib": ("TensorFlow 2", "Write what tf-slim or tensorflow-addons offer."),
    "tensorflow.Session": ("TensorFlow 2", "Write tf.compat.v1.Session."),
    "tensorflow.placeholder": ("TensorFlow 2", "Write tf.compat.v1.placeholder."),
    "tensorflow.gfile": ("TensorFlow 2", "Write tf.io.gfile."),
    "torchvision.models.utils": ("torchvision 0.13", "Write torch.hub.load_state_dict_from_url."),
    "imp": ("Python 3.12", "Write importlib."),
}


def check_outdated(package: Package) -> list[Finding]:
    """Every use of a name that is gone, and calls whose defaults have changed."""
    return [
        finding
        for source in package.sources.values()
        if source.tree is not None
        for finding in (*_gone(source, source.tree), *_changed(source, source.tree))
    ]


def _gone(source: Source, tree: ast.Module) -> Iterator[Finding]:
    names = _imported_names(tree)
    for node in ast.walk(tree):
        for name in _mentioned(node, names):
            if name in _GONE:
                since, fix = _GONE[name]
                says = f"{name} is gone since {since}"
                yield Finding("outdated", Level.WARNING, source.at(node), says, fix)


def _changed(source: Source, tree: ast.Module) -> Iterator[Finding]:
    names = _imported_names(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        given = {one.arg for one in node.keywords}
        called = _dotted(node.func, names)
        if called == "torch.load" and "weights_only" not in given:
            says = "torch.load reads only plain weights since PyTorch 2.6, no whole pickled model"
            fix = "Load a state_dict, or write torch.load(path, weights_only=False)."
            yield Finding("outdated", Level.NOTE, source.at(node), says, fix)
        if called == "yaml.load" and "Loader" not in given and len(node.args) < 2:
            says = "yaml.load wants a Loader since PyYAML 6"
            fix = "Write yaml.safe_load(text)."
            yield Finding("outdated", Level.WARNING, source.at(node), says, fix)


def _imported_names(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: ``np`` → ``numpy``, ``Image`` → ``PIL.Image``."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                names[one.asname or one.name.partition(".")[0]] = (
                    one.name if one.asname else one.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for one in node.names:
                names[one.asname or one.name] = f"{node.module}.{one.name}"
    return names


def _mentioned(node: ast.AST, names: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (one.name for one in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        yield node.module
        yield from (f"{node.module}.{one.name}" for one in node.names)
    elif isinstance(node, ast.Attribute):
        yield _dotted(node, names)


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    """``np.float`` as ``numpy.float``; "" for what does not begin with an imported name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names:
        return ""
    return ".".join([names[node.id], *reversed(parts)])
