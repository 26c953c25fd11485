"""From a package's folder to the service object that serves it."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from modelyard_instance.metrics import MetricsManager
from modelyard_instance.services import DefaultService, SingleNodeService
from modelyard_instance.spec import Spec
from modelyard_instance.weights import WeightsMissing, model_path

SCRIPT = "customize_service"
# The folder is called model/, but many packages have a module of that name inside.
_PACKAGE = "modelyard_package"
_OURS = ("modelyard_instance", "model_service", "mms")
_WITHOUT_SCRIPT = ("scikit_learn", "xgboost")


class BadPackage(Exception):
    """The package breaks a rule of models.md §2, §4; the message is for its author."""


def load(spec: Spec) -> SingleNodeService:
    """The service object of ``spec``'s package, ready for its first request.

    Raises ``BadPackage``, or whatever the package itself raises.
    """
    folder = spec.model_dir
    path = model_path(spec.model_type, folder)
    if (folder / f"{SCRIPT}.py").is_file():
        chosen = choose_class(import_script(folder))
    elif spec.model_type.lower() in _WITHOUT_SCRIPT:
        chosen = DefaultService
        if not Path(path).is_file():
            raise WeightsMissing(f"{folder} holds neither {SCRIPT}.py nor a model file")
    else:
        raise BadPackage(f"{folder} has no {SCRIPT}.py, which a {spec.model_type} model needs")
    MetricsManager.expect(spec.model_name)
    service = construct(chosen, spec.model_name, path)
    service.warm_up()
    return service


def import_script(folder: Path) -> ModuleType:
    """Import ``customize_service.py`` so that ``from .x import y`` and ``import x`` both work."""
    sys.path.insert(0, str(folder))
    start = folder / "__init__.py"
    spec = (
        importlib.util.spec_from_file_location(
            _PACKAGE, start, submodule_search_locations=[str(folder)]
        )
        if start.is_file()
        else None
    )
    if spec is None:
        spec = ModuleSpec(_PACKAGE, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    package = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    if spec.loader is not None:
        spec.loader.exec_module(package)
    script_spec = importlib.util.spec_from_file_location(
        f"{_PACKAGE}.{SCRIPT}", folder / f"{SCRIPT}.py"
    )
    if script_spec is None or script_spec.loader is None:
        raise BadPackage(f"{folder / SCRIPT}.py cannot be imported")
    script = importlib.util.module_from_spec(script_spec)
    # Under both names, so that pickles and siblings that say ``customize_service`` find this one.
    sys.modules[f"{_PACKAGE}.{SCRIPT}"] = sys.modules[SCRIPT] = script
    script_spec.loader.exec_module(script)
    return script


def choose_class(script: ModuleType) -> type[SingleNodeService]:
    """The class to serve: derived from a base service, itself without subclass (models.md §9).

    Raises ``BadPackage`` unless there is exactly one.
    """
    found = {
        one
        for one in vars(script).values()
        if isinstance(one, type)
        and issubclass(one, SingleNodeService)
        and one.__module__.partition(".")[0] not in _OURS
    }
    leaves = [one for one in found if not any(issubclass(other, one) for other in found - {one})]
    if len(leaves) == 1:
        return leaves[0]
    if not leaves:
        raise BadPackage(
            f"{SCRIPT}.py defines no class that derives from a base service, for example "
            "SingleNodeService of model_service.model_service"
        )
    names = ", ".join(sorted(one.__name__ for one in leaves))
    raise BadPackage(f"{SCRIPT}.py defines several service classes ({names}): keep one")


def construct(chosen: type[SingleNodeService], model_name: str, path: str) -> SingleNodeService:
    """An instance of ``chosen``; ``model_name`` and ``model_path`` are set before ``__init__``.

    Raises ``BadPackage`` when ``__init__`` wants more than these two.
    """
    arguments = _arguments(chosen, model_name, path)
    service = chosen.__new__(chosen)
    service.model_name = model_name
    service.model_path = path
    service.__init__(*arguments)  # type: ignore[misc]
    return service


def _arguments(chosen: type[SingleNodeService], model_name: str, path: str) -> tuple[str, ...]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(inspect.signature(chosen.__init__).parameters.values())
    if any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters):
        return (path,) if chosen.raw_text else (model_name, path)
    taken = [one for one in parameters if one.kind in positional][1:]
    needed = [one for one in taken if one.default is inspect.Parameter.empty]
    if len(needed) > 2:
        raise BadPackage(
            f"{chosen.__name__}.__init__ wants {', '.join(one.name for one in needed)}; "
            "it is called with (model_name, model_path)"
        )
    names = [one.name for one in taken]
    if names[:1] == ["model_path"] and names[1:2] != ["model_name"]:
        return (path,)
    if names[:2] == ["model_path", "model_name"]:
        return (path, model_name)
    if len(needed) == 1 and len(taken) == 1:
        return (model_name,) if names == ["model_name"] else (path,)
    return (model_name, path)[: len(taken)]


def explain(error: BaseException, folder: Path) -> str:
    """One line: the exception's last line, and the innermost place in the package (or anywhere)."""
    last = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    frames = traceback.extract_tb(error.__traceback__)
    inside = [one for one in frames if Path(one.filename).is_relative_to(folder)]
    if isinstance(error, BadPackage) or not frames:
        return str(error)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{last} ({error.filename}:{error.lineno})"
    place = (inside or frames)[-1]
    return f"{last} ({place.filename}:{place.lineno})"
