"""``config.json`` of a package: read, checked, typed (models.md §3, §9); pure.

Every fault names its key; what real packages get wrong without harm becomes a warning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from modelyard.errors import Problem
from modelyard.packages.config.apis import Api, JsonDict, parse_apis
from modelyard.packages.config.images import (
    CONTAINERS,
    CUSTOM,
    IMAGE,
    PROBES,
    ContainerWish,
    image_fault,
    parse_wish,
)
from modelyard.packages.config.requirements import Installation, parse_dependencies, parse_policy
from modelyard.packages.documents import DocumentError, parse_json, wrong_type
from modelyard.packages.engines import SUPPORTED, engine_named
from modelyard_instance.worker.options import judged

LARGEST = 1024 * 1024
"""Bytes of a config.json, at most."""

METRICS = ("f1", "recall", "precision", "accuracy")
OPTIONS = ("batching", "workers")
"""Ours: what a package asks of its model server."""
_KNOWN = {
    *("model_algorithm", "model_type", "runtime", "swr_location", "metrics", "apis"),
    *("dependencies", "dependency_policy", *PROBES, "cmd", "port", *OPTIONS),
}
_FORBIDDEN = "&!'\"<>="
_RUNTIME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+()-]{0,127}")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A good config.json. ``document`` is the whole of it, as written; ``container``: what it says
    of how to run an image.
    """

    model_type: str
    model_algorithm: str
    runtime: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    apis: tuple[Api, ...] = (Api(),)
    dependencies: tuple[Installation, ...] = ()
    container: ContainerWish = field(default_factory=ContainerWish)
    dependency_policy: str = ""
    document: JsonDict = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConfigResult:
    """``config`` is None exactly when there are ``problems``; ``warnings`` are sentences."""

    config: ModelConfig | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


def parse_config(raw: bytes, name: str = "config.json", engine: str = "") -> ConfigResult:
    """Read a config.json; ``name`` is what its problems are called by, ``engine`` the create call's
    ``model_type``.
    """
    if len(raw) > LARGEST:
        reason = f"is larger than {LARGEST} bytes"
        return ConfigResult(None, (Problem(name, reason, "Shorten it.", code="3015"),))
    try:
        document = parse_json(raw, name)
    except DocumentError as error:
        return ConfigResult(None, (Problem(name, str(error), "Correct it.", code="3015"),))
    if not isinstance(document, dict):
        return ConfigResult(None, (wrong_type(name, "a JSON object", document, "3015"),))
    return check_config(document, name, engine)


def check_config(document: JsonDict, name: str = "config.json", engine: str = "") -> ConfigResult:
    """Check a config.json that is a JSON object already; collects every problem."""
    if engine == CUSTOM:
        # Nobody but the image reads such a package, and clients tell port and protocol alone.
        document = {"model_type": CUSTOM, **document}
    problems: list[Problem] = []
    warnings = [
        f"{name}: key {key[:60]!r} is unknown and has no effect"
        for key in document
        if key not in _KNOWN and key not in _of_container(document)
    ]
    model_type = _model_type(document, name, problems)
    image = model_type in CONTAINERS
    algorithm = _algorithm(document, name, problems, needed=model_type != CUSTOM)
    runtime = _runtime(document, name, problems, model_type)
    metrics = _metrics(document.get("metrics"), f"{name}.metrics", problems)
    apis = parse_apis(document.get("apis"), f"{name}.apis", problems, image=image)
    dependencies = parse_dependencies(
        document.get("dependencies"), f"{name}.dependencies", problems
    )
    policy = parse_policy(document.get("dependency_policy"), f"{name}.dependency_policy", problems)
    container = parse_wish(document, f"{name}.", "3016", problems)
    if image and container.protocol:
        apis = _of_one_protocol(apis, container.protocol, document, name, problems)
    _fitting(model_type, name, document, problems)
    if not image:
        # By the very rules that the model server goes by when it starts.
        problems += [
            Problem(f"{name}.{one.field}", one.reason, one.fix, code="3016")
            for one in judged(document)[1]
        ]
        warnings += [
            f"{name}: {key} is for images only; packages are probed by their server"
            for key in container.probes
        ]
    if problems:
        return ConfigResult(None, tuple(problems), tuple(warnings))
    config = ModelConfig(
        model_type, algorithm, runtime, metrics, apis, dependencies, container, policy, document
    )
    return ConfigResult(config, (), tuple(warnings))


def runtime_fault(value: object) -> str | None:
    """Why ``value`` is no runtime's name; None when it is one."""
    if isinstance(value, str) and _RUNTIME.fullmatch(value):
        return None
    return "must be a name like python3.7 or pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64"


def _model_type(document: JsonDict, name: str, problems: list[Problem]) -> str:
    value = document.get("model_type")
    at = f"{name}.model_type"
    remedy = f"Use one of {', '.join(SUPPORTED)}."
    if value in (None, ""):
        problems.append(Problem(at, "is missing", remedy, code="3015"))
        return ""
    if not isinstance(value, str):
        problems.append(wrong_type(at, "a string", value, "3015"))
        return ""
    engine = engine_named(value.strip())
    if engine is None:
        problems.append(Problem(at, f"{value[:60]!r} is not supported", remedy, code="3016"))
        return ""
    if engine.name not in SUPPORTED:
        reason = f"{engine.name} models are not supported"
        problems.append(Problem(at, reason, remedy, code="3016"))
    return engine.name


def _of_one_protocol(
    apis: tuple[Api, ...], protocol: str, document: JsonDict, name: str, problems: list[Problem]
) -> tuple[Api, ...]:
    """``apis``, each of the container's ``protocol`` where it says none itself."""
    said = document.get("apis")
    for number, one in enumerate(said if isinstance(said, list) else []):
        own = one.get("protocol") or one.get("procotol") if isinstance(one, dict) else None
        if isinstance(own, str) and own.strip().lower() != protocol:
            reason = f"is not the protocol {protocol} of the container"
            at = f"{name}.apis[{number}].protocol"
            problems.append(Problem(at, reason, "Say it in one place only.", code="3016"))
    return tuple(replace(api, protocol=protocol) for api in apis)


def _of_container(document: JsonDict) -> tuple[str, ...]:
    """Keys that have an effect for containers only, and in packages are as unknown as any other."""
    engine = engine_named(str(document.get("model_type") or "").strip())
    return ("protocol",) if engine is not None and engine.container else ()


def _fitting(model_type: str, name: str, document: JsonDict, problems: list[Problem]) -> None:
    """What only images, or only packages, may say (models.md §3)."""
    image = model_type in CONTAINERS
    if model_type == CUSTOM and document.get("swr_location"):
        reason, remedy = f"is for the engine {IMAGE}", "Name the image as runtime."
        problems.append(Problem(f"{name}.swr_location", reason, remedy, code="3016"))
    refused = ("dependencies", *OPTIONS) if image else ("swr_location", "cmd", "port")
    whose = "packages" if image else "images"
    for key in refused:
        if document.get(key) not in (None, "", []):
            reason = f"is for {whose} only"
            problems.append(Problem(f"{name}.{key}", reason, "Leave it out.", code="3016"))


def _algorithm(document: JsonDict, name: str, problems: list[Problem], *, needed: bool) -> str:
    value = document.get("model_algorithm")
    at = f"{name}.model_algorithm"
    if value in (None, "") and not needed:
        return ""
    if value in (None, ""):
        remedy = "Name the kind of algorithm, for example image_classification."
        problems.append(Problem(at, "is missing", remedy, code="3015"))
        return ""
    if not isinstance(value, str):
        problems.append(wrong_type(at, "a string", value, "3015"))
        return ""
    fault = algorithm_fault(value)
    if fault:
        problems.append(Problem(at, fault, "Correct it.", code="3015"))
    return value


def algorithm_fault(value: str) -> str | None:
    """Why ``value`` is no ``model_algorithm``; None when it is one. Blanks inside are accepted."""
    if not value[:1].isalpha():
        return "must start with a letter"
    if len(value) > 36:
        return "is longer than 36 characters"
    found = sorted(set(value) & set(_FORBIDDEN))
    return f"holds {' '.join(found)}, which is not allowed" if found else None


def _runtime(document: JsonDict, name: str, problems: list[Problem], model_type: str) -> str:
    value = document.get("runtime")
    if value in (None, ""):
        return ""
    if model_type == CUSTOM and isinstance(value, str):
        problem = image_fault(value, f"{name}.runtime", "3016")
        problems += [problem] if problem else []
        return value
    fault = runtime_fault(value)
    if fault:
        problems.append(Problem(f"{name}.runtime", fault, "Correct it.", code="3016"))
    return value if isinstance(value, str) else ""


def _metrics(value: object, at: str, problems: list[Problem]) -> dict[str, float]:
    if value in (None, ""):
        return {}
    if not isinstance(value, dict):
        problems.append(wrong_type(at, "an object", value, "3015"))
        return {}
    return parse_metrics(value, at, problems)


def parse_metrics(value: JsonDict, at: str, problems: list[Problem]) -> dict[str, float]:
    """The numbers of ``metrics``; strings that are numbers count, other keys are left out."""
    metrics: dict[str, float] = {}
    for key in METRICS:
        found = value.get(key)
        if found in (None, ""):
            continue
        number = _number(found)
        if number is None:
            problems.append(Problem(f"{at}.{key}", "must be a number", "Write 0.9.", code="3015"))
        else:
            metrics[key] = number
    return metrics


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= 1e300 else None
