"""The service class and the script around it (models.md §4, §9), by its syntax tree; pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modelyard.packages.doctor.findings import Finding, Level
from modelyard.packages.doctor.texts import Package, Source
from modelyard.packages.engines import Engine

_BASES = (
    *("SingleNodeService", "PTServingBaseService", "TfServingBaseService", "MXNetBaseService"),
    *("CaffeBaseService", "XgSklServingBaseService", "SparkServingBaseService"),
)
_RAW = ("XgSklServingBaseService", "SparkServingBaseService")
_RAW_ENGINES = ("Scikit_Learn", "XGBoost", "Pickle", "Joblib")
_HOME = "/home/mind"
_GPU = ("cuda", "Ascend", "GPU")


def check_script(package: Package, engine: Engine | None) -> list[Finding]:
    """How many service classes there are, paths and devices of another place."""
    found: list[Finding] = []
    if package.script is not None and package.script.tree is not None:
        found += _classes(package.script, package.script.tree)
        if engine is not None and engine.name == "Safetensors":
            says = "Safetensors hold tensors and no model"
            fix = "Build the model in __init__ and load model_path into it."
            found.append(Finding("weights", Level.NOTE, package.script.where, says, fix))
    for source in package.sources.values():
        if source.tree is not None:
            found += _paths(source, source.tree)
            found += _devices(source, source.tree)
    return found


def takes_raw_text(package: Package, engine: Engine | None) -> bool:
    """Whether the class gets the raw JSON text: one of machine learning, or its default handler."""
    if package.script is None:
        return engine is not None and engine.name in _RAW_ENGINES
    tree = package.script.tree
    return tree is not None and any(
        isinstance(node, ast.ImportFrom) and any(one.name in _RAW for one in node.names)
        for node in ast.walk(tree)
    )


def _classes(script: Source, tree: ast.Module) -> Iterator[Finding]:
    parents = {
        node.name: [_last_name(base) for base in node.bases]
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    aliases = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    served = _served(parents, aliases)
    leaves = served - {base for name in served for base in parents[name]}
    if len(leaves) > 1:
        says = f"defines several service classes: {', '.join(sorted(leaves))}"
        yield Finding("class", Level.ERROR, script.where, says, "Keep one; move the others out.")
    if not leaves and not _might_import_one(parents, aliases):
        says = "defines no class that derives from a base service"
        fix = "Derive from SingleNodeService of model_service.model_service, for example."
        yield Finding("class", Level.ERROR, script.where, says, fix)


def _served(parents: dict[str, list[str]], aliases: dict[str, str]) -> set[str]:
    """The classes that derive from a base service, however far below it."""
    children: dict[str, list[str]] = {}
    for name, bases in parents.items():
        for base in bases:
            children.setdefault(aliases.get(base, base), []).append(name)
    found: set[str] = set()
    waiting = [name for base in _BASES for name in children.get(base, [])]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += children.get(name, [])
    return found


def _might_import_one(parents: dict[str, list[str]], aliases: dict[str, str]) -> bool:
    """Whether a class, or a base of one, comes from another module: then only running tells."""
    known = {*parents, "object", "Exception", "dict", "list", "str", "Enum", "ABC"}
    outside = {base for bases in parents.values() for base in bases if base not in known}
    imported = {name for name in aliases if name[:1].isupper() and aliases[name] not in _BASES}
    return bool(outside or imported or "*" in aliases)


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _paths(source: Source, tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _HOME in node.value:
            says = f"reads {node.value[:80]!r}, a path of the original's containers"
            fix = (
                "It is there inside an instance where the platform runs as root or users may make "
                "namespaces; os.path.dirname(os.path.realpath(model_path)) works everywhere."
            )
            yield Finding("home-path", Level.NOTE, source.at(node), says, fix)


def _devices(source: Source, tree: ast.Module) -> Iterator[Finding]:
    nodes = list(ast.walk(tree))
    if any(isinstance(node, ast.Attribute) and node.attr == "is_available" for node in nodes):
        return
    for node in nodes:
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        cuda = called and node.func.attr in ("cuda", "npu") and not node.args  # type: ignore[attr-defined]
        named = isinstance(node, ast.Constant) and str(node.value).partition(":")[0] in _GPU
        if cuda or (named and isinstance(node, ast.Constant) and isinstance(node.value, str)):
            says = "asks for an accelerator without looking whether there is one"
            fix = "Ask is_available() first, and fall back to the CPU."
            yield Finding("device", Level.WARNING, source.at(node), says, fix)
            return
