"""Small repairs that let packages of another age, or for another device, run (models.md §9).

``install`` puts one finder before and one behind those of Python. Nothing is imported by them: each
repair happens when the package itself imports what is to be repaired, and only where it is needed.

* ``sklearn.externals.joblib`` (and what is below it, as old pickles have it) is ``joblib``;
  ``sklearn.externals.six`` is ``six``.
* torchvision's operators (``nms`` and what newer ones add) are declared where its compiled part
  cannot be loaded, as beside PyTorch's CPU build: without that, ``import torchvision`` fails.
* MindSpore without the device that a package names (Ascend, GPU) runs on the CPU.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import re
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

logger = logging.getLogger(__name__)

_NOW_CALLED = {"sklearn.externals.joblib": "joblib", "sklearn.externals.six": "six"}
_SUPPRESSION = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_META = "torchvision._meta_registrations"
_ASKED_FOR = re.compile(r"""(?:register_fake|impl_abstract)\(\s*["']torchvision::(\w+)["']""")
_CPU = "CPU"

# What keeps torchvision's declarations alive: they end with their library.
_declared: list[Any] = []


def install() -> None:
    """Have the repairs at hand; harmless when called again."""
    if not any(isinstance(one, _Repairs) for one in sys.meta_path):
        sys.meta_path.insert(0, _Repairs())
        sys.meta_path.append(_OldNames())


class _Alias(Loader):
    """Loads a module by putting the one of another name in its place."""

    def __init__(self, target: str) -> None:
        self._target = target

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        # The import system takes what stands under the name afterwards.
        sys.modules[module.__name__] = importlib.import_module(self._target)


class _OldNames(MetaPathFinder):
    """The last to be asked, so that a module which exists is never replaced."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        for old, new in _NOW_CALLED.items():
            if fullname == old or fullname.startswith(f"{old}."):
                return ModuleSpec(fullname, _Alias(new + fullname.removeprefix(old)))
        return None


class _Repaired(Loader):
    """Another loader, followed by a repair of the module."""

    def __init__(self, loader: Loader, repair: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._repair = repair

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._repair(module)

    def __getattr__(self, name: str) -> Any:
        # Whoever asks a module's loader for its source or resources means the real one.
        return getattr(self._loader, name)


class _Repairs(MetaPathFinder):
    """The first to be asked; finds nothing itself."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == _META:
            _declare_operators(path or ())
            return None
        repair = _AFTERWARDS.get(fullname)
        if repair is None:
            return None
        spec = _found_by_others(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Repaired(spec.loader, repair)
        return spec


def _found_by_others(
    fullname: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    for finder in sys.meta_path:
        if isinstance(finder, _Repairs):
            continue
        spec = finder.find_spec(fullname, path, target)
        if spec is not None:
            return spec
    return None


def _declare_operators(folders: Sequence[str]) -> None:
    """Declare the operators that torchvision is about to ask for, unless it has loaded its own.

    Called while torchvision, which lies in one of ``folders``, is imported: after it tried its
    compiled part, and before it asks. Whoever calls an operator that is only declared gets torch's
    own error.
    """
    extension = sys.modules.get("torchvision.extension")
    has_operators = getattr(extension, "_has_ops", None)
    if has_operators is None or has_operators() or _declared:
        return
    torch = importlib.import_module("torch")
    names = _asked_for(folders)
    try:
        library = torch.library.Library("torchvision", "DEF")
        for name in names:
            library.define(f"{name}{_SUPPRESSION}")
    except (AttributeError, RuntimeError) as error:
        logger.warning("torchvision's operators could not be declared: %s", error)
        return
    _declared.append(library)
    told = ", ".join(names)
    logger.warning("torchvision's compiled part does not fit this torch; %s: no code", told)


def _asked_for(folders: Sequence[str]) -> list[str]:
    """The operators that torchvision's module of declarations wants to exist, sorted."""
    found = {"nms"}
    for folder in folders:
        try:
            source = Path(folder, f"{_META.rpartition('.')[2]}.py").read_text(encoding="utf-8")
        except OSError:
            continue
        found.update(_ASKED_FOR.findall(source))
    return sorted(found)


def _on_the_cpu(name: str) -> Callable[[ModuleType], None]:
    """A repair of the function ``name`` whose argument ``device_target`` may name what is not."""

    def repair(module: ModuleType) -> None:
        original = getattr(module, name, None)
        if callable(original):
            setattr(module, name, _falling_back(original))

    return repair


def _falling_back(original: Callable[..., Any]) -> Callable[..., Any]:
    def device_or_cpu(*args: Any, **settings: Any) -> Any:
        named = settings.get("device_target", args[0] if args else None)
        try:
            return original(*args, **settings)
        except (RuntimeError, ValueError) as error:
            if named not in ("Ascend", "GPU", "Davinci"):
                raise
            told = str(error).partition("\n")[0]
            logger.warning("device_target %s is not here (%s); the CPU is used", named, told)
        # What names a card of that device would be refused for the CPU.
        settings.pop("device_id", None)
        if "device_target" in settings:
            return original(*args, **{**settings, "device_target": _CPU})
        return original(_CPU, **settings)

    device_or_cpu.__name__ = getattr(original, "__name__", "device_or_cpu")
    device_or_cpu.__doc__ = original.__doc__
    device_or_cpu.__wrapped__ = original  # type: ignore[attr-defined]
    return device_or_cpu


_AFTERWARDS: dict[str, Callable[[ModuleType], None]] = {
    "mindspore.context": _on_the_cpu("set_context"),
    "mindspore.device_manager": _on_the_cpu("set_device"),
}
