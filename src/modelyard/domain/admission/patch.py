"""Changes in part, turned into a whole configuration: PATCH and property (services.md §4); pure.

Both begin with the configuration as an update would send it (``as_body``) and give the changed
one, which is then judged like any other update.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from modelyard.domain.admission.version_body import CONFIG_LIMIT, FIELDS, fields_of
from modelyard.domain.body_reader import Fields, Problems
from modelyard.domain.service.batch_job import BATCH, BATCH_FIELDS, REAL_TIME
from modelyard.domain.service.config import VersionConfig
from modelyard.errors import Problem

JsonObject = dict[str, Any]

OPERATION_LIMIT = 1000
MODEL_NOT_IN_SERVICE = "3529"
_NO_SUCH_MODEL = "3507"
_TIMEOUT = "deploy_timeout_in_seconds"
_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")
_BAD_ESCAPE = re.compile(r"~(?![01])")
_FORM = 'Send [{"op": "replace", "path": "/config/0/…", "value": …}].'


def as_body(version: VersionConfig) -> JsonObject:
    """A version as an element of an update's ``config`` (services.md §3.3)."""
    known = (*FIELDS, *BATCH_FIELDS)
    body = {key: value for key, value in version.to_json().items() if key in known}
    # The operator's default may lie outside of what callers may ask for.
    if not 180 <= body[_TIMEOUT] <= 7200:
        del body[_TIMEOUT]
    return deepcopy(body)


def patch_config(
    config: Sequence[JsonObject], operations: object
) -> tuple[list[JsonObject], list[Problem]]:
    """``config`` with every operation applied in order, and what is wrong with them.

    ``operations``: the body of a PATCH, RFC 6902 with ``replace`` alone, whose paths are JSON
    pointers (RFC 6901) below ``/config/``.
    """
    problems = Problems()
    changed = [deepcopy(item) for item in config]
    if not isinstance(operations, list) or not operations:
        problems.invalid("body", "is not a list of operations", _FORM)
        return changed, problems.found
    if len(operations) > OPERATION_LIMIT:
        limit = f"Send at most {OPERATION_LIMIT}."
        problems.invalid("body", f"has {len(operations)} operations", limit)
        return changed, problems.found
    for index, operation in enumerate(operations):
        _apply(changed, operation, f"[{index}]", problems)
    return changed, problems.found


def _apply(config: list[JsonObject], operation: object, where: str, problems: Problems) -> None:
    if not isinstance(operation, dict):
        problems.invalid(where, "is not an operation", _FORM)
        return
    fields = Fields(operation, where, problems)
    fields.only(("op", "path", "value"), _FORM)
    op = fields.text("op", required=True, choices=("replace",), remedy="Send replace.")
    path = fields.text("path", required=True, limit=2000, remedy=_FORM)
    if "value" not in operation:
        problems.missing(fields.name("value"), "Send the new value.")
        return
    if op is None or path is None:
        return
    fault = _replace(config, path, operation["value"])
    if fault:
        reason, remedy = fault
        problems.invalid(path, reason, remedy)


def _replace(config: list[JsonObject], path: str, value: Any) -> tuple[str, str] | None:
    """Put ``value`` where ``path`` points; what is wrong and how to mend it, when it cannot be."""
    if not path.startswith("/config/") or _BAD_ESCAPE.search(path):
        return "is not a JSON pointer into /config/", "Send for example /config/0/instance_count."
    _, _, index, *rest = [token.replace("~1", "/").replace("~0", "~") for token in path.split("/")]
    if not _INDEX.fullmatch(index) or int(index) >= len(config):
        return "names no model version of the service", f"There are {len(config)}, from 0 on."
    if not rest:
        return _replace_whole(config, int(index), value)
    known = fields_of(BATCH if "src_path" in config[int(index)] else REAL_TIME)
    if rest[0] not in known:
        return "cannot be changed by an update", f"Replace one of: {', '.join(known)}."
    target: Any = config[int(index)]
    for token in rest[:-1]:
        target = _member(target, token)
    last = rest[-1]
    if isinstance(target, list) and _member(target, last) is not None:
        target[int(last)] = _typed(value, target[int(last)])
        return None
    # What the configuration may have but has not is added; elsewhere nothing can be replaced.
    if isinstance(target, dict) and (last in target or len(rest) == 1):
        target[last] = _typed(value, target.get(last))
        return None
    return "does not exist", "Only what is there can be replaced; replace the member around it."


def _replace_whole(config: list[JsonObject], index: int, value: Any) -> tuple[str, str] | None:
    value = _typed(value, config[index])
    if not isinstance(value, dict):
        return "is replaced by no object", "Send the model version as an object."
    config[index] = value
    return None


def _member(target: Any, token: str) -> Any:
    if isinstance(target, dict):
        return target.get(token)
    if isinstance(target, list) and _INDEX.fullmatch(token) and int(token) < len(target):
        return target[int(token)]
    return None


def _typed(value: Any, present: Any) -> Any:
    """``value`` as the kind that stands there: clients may send any value as a string."""
    if not isinstance(value, str) or isinstance(present, str | bool):
        return value
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        return value
    if present is None:
        return read if isinstance(read, dict | list) else value
    if isinstance(present, dict | list):
        return read if isinstance(read, type(present)) else value
    return read if isinstance(read, int | float) and not isinstance(read, bool) else value


def pointed(problem: Problem) -> Problem:
    """A problem of the patched configuration, with its field as a JSON pointer.

    A model that cannot be found is here a 400 (services.md §10).
    """
    pointer = "/" + re.sub(r"\[(\w+|\*)\]", r"/\1", problem.field).replace(".", "/")
    return _of_a_service(replace(problem, field=pointer))


def scale_config(
    config: Sequence[JsonObject], body: object
) -> tuple[list[JsonObject], Mapping[str, str], list[Problem]]:
    """``config`` with other instance counts (``PUT …/property``), and what is wrong.

    The mapping leads from a field of the configuration to the one of ``body`` that set it.
    """
    problems = Problems()
    changed = [deepcopy(item) for item in config]
    names: dict[str, str] = {}
    if not isinstance(body, dict):
        problems.invalid("body", "is not a JSON object", "Send changed_property and configs.")
        return changed, names, problems.found
    fields = Fields(body, "", problems)
    fields.only(("changed_property", "configs"), "Send changed_property and configs.")
    only = "Send instance_count; other properties change by an update."
    fields.text("changed_property", required=True, choices=("instance_count",), remedy=only)
    items = fields.array("configs", required=True)
    if items is not None and not 0 < len(items) <= CONFIG_LIMIT:
        problems.invalid("configs", f"has {len(items)} elements", f"Send 1 to {CONFIG_LIMIT}.")
    for index, item in enumerate((items or ())[:CONFIG_LIMIT]):
        _scale(changed, item, f"configs[{index}]", names, problems)
    return changed, names, problems.found


def _scale(
    config: list[JsonObject], item: object, where: str, names: dict[str, str], problems: Problems
) -> None:
    if not isinstance(item, dict):
        problems.invalid(where, "is not an object", "Send model_id and changed_value.")
        return
    fields = Fields(item, where, problems)
    fields.only(("model_id", "changed_value"), "Send model_id and changed_value.")
    model_id = fields.text("model_id", required=True, remedy="Send the id of a model in service.")
    count = fields.integer("changed_value", low=1, required=True)
    if model_id is None or count is None:
        return
    index = next((i for i, v in enumerate(config) if v["model_id"] == model_id), None)
    if index is None:
        reason = f"model {model_id[:64]!r} is not in the service"
        listed = "Send a model_id of the service's config."
        problems.invalid(fields.name("model_id"), reason, listed, MODEL_NOT_IN_SERVICE)
        return
    name = f"config[{index}].instance_count"
    if name in names:
        problems.invalid(fields.name("model_id"), "is there twice", "Name each model once.")
        return
    if config[index]["instance_count"] == count:
        other = "Send another one; nothing has to change for this one."
        problems.invalid(fields.name("changed_value"), f"{count} is the present count", other)
    names[name] = fields.name("changed_value")
    config[index]["instance_count"] = count


def renamed(problem: Problem, names: Mapping[str, str]) -> Problem:
    """A problem of the scaled configuration, named by the field that was sent."""
    return _of_a_service(replace(problem, field=names.get(problem.field, problem.field)))


def restored(problem: Problem, number: int) -> Problem:
    """A problem of the configuration of revision ``number``, which is to come back."""
    return _of_a_service(replace(problem, field=f"revision[{number}].{problem.field}"))


def _of_a_service(problem: Problem) -> Problem:
    if problem.code == _NO_SUCH_MODEL:
        return replace(problem, code=MODEL_NOT_IN_SERVICE, status=400)
    return problem
