"""From a package's folder to the service object that serves it."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections import OrderedDict
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from modelyard_instance import compat
from modelyard_instance.inference.base_services import SingleNodeService, XgSklServingBaseService
from modelyard_instance.inference.defaults import default_handler
from modelyard_instance.inference.metrics import MetricsManager
from modelyard_instance.inference.weights import WeightsMissing, is_there, model_path
from modelyard_instance.spec import Spec
from modelyard_instance.worker.apis import SCRIPT, BadConfig
from modelyard_instance.worker.batching import CannotBatch

# The folder is called model/, but many packages have a module of that name inside.
_PACKAGE = "modelyard_package"
_OURS = ("modelyard_instance", "model_service", "mms")


class BadPackage(Exception):
    """The package breaks a rule of models.md §2, §4; the message is for its author."""


def load(spec: Spec) -> SingleNodeService:
    """The service object of ``spec``'s package, ready for its first request.

    Raises ``BadPackage``, or whatever the package itself raises.
    """
    compat.make_importable()
    folder = spec.model_dir
    path = model_path(spec.model_type, folder)
    if (folder / f"{SCRIPT}.py").is_file():
        chosen = choose_class(import_script(folder))
    else:
        handler = default_handler(spec.model_type)
        if handler is None:
            raise BadPackage(f"{folder} has no {SCRIPT}.py, which a {spec.model_type} model needs")
        if not is_there(spec.model_type, path):
            raise WeightsMissing(f"{folder} holds neither {SCRIPT}.py nor a model file")
        chosen = handler
    MetricsManager.expect(spec.model_name)
    service = construct(chosen, spec.model_name, path, spec.model_type)
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


def construct(
    chosen: type[SingleNodeService], model_name: str, path: str, model_type: str = ""
) -> SingleNodeService:
    """An instance of ``chosen``; ``model_name`` and ``model_path`` are set before ``__init__``.

    Raises ``BadPackage`` when ``__init__`` wants more than these two.
    """
    service = chosen.__new__(chosen)
    service.model_name = model_name
    service.model_path = path
    if isinstance(service, XgSklServingBaseService):
        service._modelyard_type = model_type
    arguments = _arguments(service, model_name, path)
    service.__init__(*arguments.args, **arguments.kwargs)  # type: ignore[misc]
    return service


def _arguments(service: SingleNodeService, model_name: str, path: str) -> inspect.BoundArguments:
    """What ``__init__`` is called with (models.md §4.2).

    By name where it has a parameter ``model_name`` or ``model_path``. What else it requires is
    given by position, as the documented forms ``(model_name, model_path)`` and ``(model_path)``
    have it; an optional parameter of another name is left alone once a name has matched.
    """
    known = {"model_name": model_name, "model_path": path}
    signature = inspect.signature(service.__init__)  # type: ignore[misc]
    kinds = {one.name: one.kind for one in signature.parameters.values()}
    many = [name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_POSITIONAL]
    keywords = [name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_KEYWORD]
    single = [one for name, one in signature.parameters.items() if name not in many + keywords]
    required = [one.name for one in single if one.default is inspect.Parameter.empty]
    positional = [one.name for one in single if one.kind is not inspect.Parameter.KEYWORD_ONLY]
    given: OrderedDict[str, Any] = OrderedDict(
        (one.name, known[one.name]) for one in single if one.name in known
    )
    matched = set(given)
    alone = len(positional) == 1 and not many
    only_path = not matched and not required[1:] and (service.raw_text or alone)
    form = ["model_path"] if only_path else ["model_name", "model_path"]
    for name, meant in zip(positional, form, strict=False):
        if meant not in matched and name not in matched and (not matched or name in required):
            given[name] = known[meant]
    rest = form[len(positional) :]
    if many and rest and not matched:
        given[many[0]] = tuple(known[meant] for meant in rest)
    if keywords and not given:
        given[keywords[0]] = known
    missing = [name for name in required if name not in given]
    if missing:
        raise BadPackage(
            f"{type(service).__name__}.__init__ wants {', '.join(missing)}; "
            "it is called with (model_name, model_path)"
        )
    arguments = inspect.BoundArguments(signature, given)
    arguments.apply_defaults()
    return arguments


def explain(error: BaseException, folder: Path) -> str:
    """One line: the exception's last line, and the innermost place in the package (or anywhere)."""
    last = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    frames = traceback.extract_tb(error.__traceback__)
    inside = [one for one in frames if Path(one.filename).is_relative_to(folder)]
    if isinstance(error, BadPackage | CannotBatch | BadConfig) or not frames:
        return str(error)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{last} ({error.filename}:{error.lineno})"
    place = (inside or frames)[-1]
    return f"{last} ({place.filename}:{place.lineno})"
