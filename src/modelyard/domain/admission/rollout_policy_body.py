"""Reading ``additional_properties.rollout`` of a service (ours; docs/rollouts.md); pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from modelyard.domain.body_reader import Fields, JsonObject, Problems, shown
from modelyard.domain.service.rollout_policy import Guard, Rollout

FIELDS = (
    "steps",
    "hold_seconds",
    "min_samples",
    "max_error_increase",
    "max_latency_ratio",
    "check",
    "keep_former_minutes",
)
_OF_A_GUARD = FIELDS[1:-1]
_STEPS_LIMIT = 20
_TEXT_LIMIT = 4096
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_STEPS_REMEDY = "Send 1 to 20 rising percentages such as [5, 25, 50], each from 1 to 99."
_OBJECT_REMEDY = f"Send an object with {', '.join(FIELDS)}, or a string that holds one."


def read_rollout(
    value: object,
    name: str,
    problems: Problems,
    checks: Collection[str] | None = None,
    *,
    counted: bool = True,
) -> Rollout | None:
    """The rollout that ``value`` asks for; None when it is unusable (problems are noted).

    ``value`` is an object or a string that holds one, as values of ``additional_properties`` may
    be strings; ``""``, ``{}`` and null ask for the plain rollout. ``name`` is its dotted name.
    ``checks``: the names of the operator's scripts; None leaves that unjudged. ``counted``: whether
    the gateway counts predictions, without which nothing can be compared.
    """
    body = _body(value, name, problems)
    if body is None:
        return None
    before = len(problems.found)
    fields = Fields(body, name, problems)
    fields.only(FIELDS, f"Known members: {', '.join(FIELDS)}.")
    keep_minutes = fields.integer("keep_former_minutes", low=0, high=1440) or 0
    guard = None
    if fields.has("steps"):
        guard = _guard(fields, checks)
        if not counted:
            remedy = "Ask the operator to set MODELYARD_REQUEST_LOG_MB above 0, or leave it out."
            problems.invalid(fields.name("steps"), "need the gateway's request log", remedy)
    else:
        _refuse_void(fields)
    if len(problems.found) > before:
        return None
    return Rollout(guard, keep_minutes * 60)


def _body(value: object, name: str, problems: Problems) -> JsonObject | None:
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, dict):
        return value
    problems.invalid(name, "is not a JSON object", _OBJECT_REMEDY)
    return None


def _parsed(text: str) -> object:
    if len(text) > _TEXT_LIMIT:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _refuse_void(fields: Fields) -> None:
    for key in _OF_A_GUARD:
        if fields.has(key) and fields.body[key] != "":
            fields.problems.invalid(
                fields.name(key), "takes effect only together with steps", _STEPS_REMEDY
            )


def _guard(fields: Fields, checks: Collection[str] | None) -> Guard | None:
    steps = _steps(fields)
    hold_s = fields.integer("hold_seconds", low=1, high=86_400)
    min_samples = fields.integer("min_samples", low=1, high=1_000_000)
    increase = _number(fields, "max_error_increase", 0, 1)
    ratio = _number(fields, "max_latency_ratio", 1, 100)
    check = _check(fields, checks)
    if steps is None or check is None:
        return None
    usual = Guard()
    return Guard(
        steps=steps,
        hold_s=usual.hold_s if hold_s is None else hold_s,
        min_samples=usual.min_samples if min_samples is None else min_samples,
        max_error_increase=usual.max_error_increase if increase is None else increase,
        max_latency_ratio=usual.max_latency_ratio if ratio is None else ratio,
        check=check,
    )


def _steps(fields: Fields) -> tuple[int, ...] | None:
    items = fields.array("steps")
    if items is None:
        return None
    if not 1 <= len(items) <= _STEPS_LIMIT:
        fields.problems.invalid(fields.name("steps"), f"has {len(items)} elements", _STEPS_REMEDY)
        return None
    each = Fields(
        {f"steps[{i}]": item for i, item in enumerate(items)}, fields.path, fields.problems
    )
    found = [each.integer(key, low=1, high=99, required=True) for key in each.body]
    highest = 0
    for key, step in zip(each.body, found, strict=True):
        if step is None:
            continue
        if step <= highest:
            reason = f"{step} does not rise above {highest}, the step before it"
            fields.problems.invalid(each.name(key), reason, _STEPS_REMEDY)
        highest = max(highest, step)
    return tuple(step for step in found if step is not None)


def _number(fields: Fields, key: str, low: float, high: float) -> float | None:
    number = fields.number(key, low=low)
    if number is not None and number > high:
        value = shown(fields.body[key])
        remedy = f"Send a number from {low:g} to {high:g}."
        fields.problems.invalid(fields.name(key), f"{value} is out of range", remedy)
        return None
    return number


def _check(fields: Fields, checks: Collection[str] | None) -> str | None:
    """The script's name, empty for none; None when it is unusable."""
    name = fields.text("check")
    if not name:
        return ""
    if not _NAME.fullmatch(name):
        fields.problems.invalid(
            fields.name("check"),
            f"{shown(name)} is not a valid name",
            "Send up to 64 letters, digits, '_', '.' or '-', beginning with none of the last two.",
        )
        return None
    if checks is not None and name not in checks:
        known = f"Known checks: {', '.join(sorted(checks))}." if checks else "There are none here."
        fields.problems.invalid(fields.name("check"), f"check {name!r} does not exist", known)
        return None
    return name
