"""``input_params`` and ``output_params`` of the create call (models.md §1.1); pure."""

from __future__ import annotations

from modelyard.errors import Problem
from modelyard.packages.config.apis import JsonDict
from modelyard.packages.documents import wrong_type

_TYPES = (
    *("int", "string", "float", "timestamp", "date", "file"),
    *("integer", "number", "boolean", "object", "array"),
)
_MANDATORY = ("url", "protocol", "method", "param_name", "param_type")
_ALLOWED = (*_MANDATORY, "min", "max", "param_desc")
_CHOICES = {
    "protocol": ("http", "https"),
    "method": ("post", "get"),
    "param_type": _TYPES,
}
_LONGEST = {"param_name": 64, "param_desc": 100}


def parse_params(value: object, where: str, problems: list[Problem]) -> tuple[JsonDict, ...]:
    """The parameters of a create body; what is wrong goes to ``problems`` (3036, 3037)."""
    if not isinstance(value, list):
        problems.append(wrong_type(where, "a list", value, "3037"))
        return ()
    return tuple(_param(item, f"{where}[{i}]", problems) for i, item in enumerate(value))


def _param(item: object, where: str, problems: list[Problem]) -> JsonDict:
    if not isinstance(item, dict):
        problems.append(wrong_type(where, "an object", item, "3037"))
        return {}
    param: JsonDict = {}
    for key in _MANDATORY:
        if item.get(key) in (None, ""):
            problems.append(Problem(f"{where}.{key}", "is required", "Add it.", code="3036"))
    for key, value in item.items():
        if value in (None, ""):
            continue
        problem = _fault(key, value, f"{where}.{key}"[:200])
        if problem:
            problems.append(problem)
        else:
            param[key] = value.lower() if key in _CHOICES and isinstance(value, str) else value
    return param


def _fault(key: str, value: object, where: str) -> Problem | None:
    if key not in _ALLOWED:
        return Problem(where, "is not a field of a parameter", "Leave it out.")
    if key in ("min", "max"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return wrong_type(where, "a number", value, "3037")
        return None
    if not isinstance(value, str):
        return wrong_type(where, "a string", value, "3037")
    choices = _CHOICES.get(key)
    if choices and value.lower() not in choices:
        return Problem(where, f"{value[:40]!r} is unknown", f"Use one of {', '.join(choices)}.")
    if key == "url" and not value.startswith("/"):
        return Problem(where, f"{value[:80]!r} is not a path", "Write '/'.")
    if len(value) > _LONGEST.get(key, 1000):
        return Problem(where, f"is longer than {_LONGEST.get(key, 1000)} characters", "Shorten it.")
    return None
