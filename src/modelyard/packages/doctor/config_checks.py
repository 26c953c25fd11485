"""What can be wrong with ``config.json`` beside its syntax (models.md §3, §9); pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator

from modelyard.packages.config.config_json import OPTIONS, ModelConfig, parse_config
from modelyard.packages.config.images import CONTAINERS
from modelyard.packages.config.requirements import Requirement
from modelyard.packages.doctor.findings import Finding, Level
from modelyard.packages.documents import DocumentError, parse_json

_WHERE = "model/config.json"
_KEYS: dict[str, tuple[str, ...]] = {
    "": (
        *("model_algorithm", "model_type", "runtime", "swr_location", "metrics", "apis"),
        *("dependencies", "health", "readiness_health", "startup_health"),
        *("dependency_policy", *OPTIONS),
    ),
    "apis": ("url", "method", "protocol", "request", "response"),
    "dependencies": ("installer", "packages"),
    "packages": ("package_name", "package_version", "restraint"),
}
_CONTENT_TYPES = ("application/json", "multipart/form-data")
_NEAR = 0.8

# The first release of each with a build for that Python; older pins cannot be had for it.
_FIRST: dict[tuple[int, int], dict[str, str]] = {
    (3, 11): {
        "h5py": "3.8.0",
        "matplotlib": "3.6.1",
        "numpy": "1.23.2",
        "opencv-python": "4.5.4",
        "opencv-python-headless": "4.5.4",
        "pandas": "1.5.1",
        "pillow": "9.3.0",
        "scikit-image": "0.20.0",
        "scikit-learn": "1.1.3",
        "scipy": "1.9.2",
        "tensorflow": "2.12.0",
        "tensorflow-cpu": "2.12.0",
        "torch": "1.13.0",
        "torchvision": "0.15.1",
    },
}


def check_config_text(raw: bytes, raw_text: bool = False) -> list[Finding]:
    """Faults with their line and column, misspellings, content types that cannot be meant.

    ``raw_text``: the class gets the text of the JSON, and no forms (models.md §4.3).
    """
    result = parse_config(raw)
    found = [
        Finding("config", Level.ERROR, _field(one.field), one.reason, one.remedy)
        for one in result.problems
    ]
    try:
        document = parse_json(raw, "config.json")
    except DocumentError:
        return found
    if isinstance(document, dict):
        found += _misspelt(document, result.warnings)
        found += _content_types(document, raw_text)
    return found


def _field(field: str) -> str:
    path = field.removeprefix("config.json").lstrip(".")
    return f"{_WHERE}: {path}" if path else _WHERE


def _objects(document: dict[str, object]) -> Iterator[tuple[str, str, dict[str, object]]]:
    """The objects whose keys are known: which kind, their path, themselves."""
    yield "", "", document
    for kind in ("apis", "dependencies"):
        entries = document.get(kind)
        for i, one in enumerate(entries if isinstance(entries, list) else []):
            if not isinstance(one, dict):
                continue
            yield kind, f"{kind}[{i}]", one
            packages = one.get("packages") if kind == "dependencies" else None
            for j, inner in enumerate(packages if isinstance(packages, list) else []):
                if isinstance(inner, dict):
                    yield "packages", f"{kind}[{i}].packages[{j}]", inner


def _misspelt(document: dict[str, object], warnings: tuple[str, ...]) -> Iterator[Finding]:
    told = "\n".join(warnings)
    for kind, path, one in _objects(document):
        for key in one:
            # What config.json itself may hold is known where it is read.
            known = kind == "" and f"key {key[:60]!r} is unknown" not in told
            if known or key in _KEYS[kind]:
                continue
            where = f"{_WHERE}: {path}.{key}" if path else f"{_WHERE}: {key}"
            if key == "procotol":
                fix = "It is read as meant; write 'protocol'."
                yield Finding("typo", Level.WARNING, where, f"{key!r} is misspelt", fix)
                continue
            near = difflib.get_close_matches(key, _KEYS[kind], 1, _NEAR)
            if near:
                fix = f"It has no effect as it is; write {near[0]!r}."
                yield Finding("typo", Level.WARNING, where, f"{key!r} is misspelt", fix)
            else:
                says = f"{key!r} is unknown and has no effect"
                yield Finding("unknown-key", Level.NOTE, where, says, "Leave it out.")


def _content_types(document: dict[str, object], raw_text: bool) -> Iterator[Finding]:
    apis = document.get("apis")
    for i, api in enumerate(apis if isinstance(apis, list) else []):
        for side in ("request", "response"):
            one = api.get(side) if isinstance(api, dict) else None
            if not isinstance(one, dict):
                continue
            for key, value in one.items():
                if key.lower() == "content-type" and isinstance(value, str):
                    where = f"{_WHERE}: apis[{i}].{side}.{key}"
                    yield from _content_type(raw_text, side, where, value, one.get("data"))


def _content_type(
    raw_text: bool, side: str, where: str, value: str, schema: object
) -> Iterator[Finding]:
    # Real-time calls do not enforce it (models.md §9); batch services go by it.
    plain = value.strip().lower()
    files = '"file"' in json.dumps(schema)
    if plain not in _CONTENT_TYPES:
        near = difflib.get_close_matches(plain, _CONTENT_TYPES, 1, 0.6) or ["application/json"]
        says = f"{value!r} is no content type of this API"
        yield Finding("content-type", Level.WARNING, where, says, f"Write {near[0]!r}.")
    elif side == "response" and plain == "multipart/form-data":
        says = "answers are JSON, not a form"
        yield Finding("content-type", Level.WARNING, where, says, "Write 'application/json'.")
    elif side == "request" and plain == "multipart/form-data":
        if raw_text:
            says = "the service class takes JSON only"
            yield Finding("content-type", Level.WARNING, where, says, "Write 'application/json'.")
    elif side == "request" and files:
        says = "the schema has a file, which JSON cannot carry"
        yield Finding("content-type", Level.WARNING, where, says, "Write 'multipart/form-data'.")


def check_dependencies(config: ModelConfig, python: tuple[int, int]) -> list[Finding]:
    """Pins that cannot be had for ``python``, wheels of the package, another Python."""
    found: list[Finding] = []
    for i, entry in enumerate(config.dependencies):
        for j, one in enumerate(entry.packages):
            where = f"{_WHERE}: dependencies[{i}].packages[{j}]"
            if one.name.startswith("/home/mind/"):
                says = f"installs the file {one.name}"
                fix = "Keep it in model/; a wheel must fit the Python that runs it."
                found.append(Finding("wheel", Level.NOTE, where, says, fix))
            else:
                found += _pin(one, where, python)
    if config.model_type in CONTAINERS:
        # Its runtime is an image.
        return found
    named = re.search(r"py(?:thon)?_?(\d)\.?(\d+)", config.runtime)
    if named and (int(named[1]), int(named[2])) != python:
        says = f"{config.runtime} is served by Python {python[0]}.{python[1]}"
        fix = "Nothing, unless it relies on the older one."
        found.append(Finding("runtime", Level.NOTE, f"{_WHERE}: runtime", says, fix))
    return found


def _pin(one: Requirement, where: str, python: tuple[int, int]) -> Iterator[Finding]:
    name = re.sub(r"[-_.]+", "-", one.name.partition("[")[0]).lower()
    first = _FIRST.get(python, {}).get(name)
    if first is None or one.restraint not in ("EXACT", "ATMOST"):
        return
    if _order(one.version) < _order(first):
        says = f"{one} has no build for Python {python[0]}.{python[1]}; {first} is the first"
        fix = "Write ATLEAST, or no version: the policy 'relaxed' takes one that can be had."
        yield Finding("old-pin", Level.WARNING, where, says, fix)


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
