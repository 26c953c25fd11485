"""JSON as others write it, to values that can be stored and sent again (pure)."""

from __future__ import annotations

import json
from math import isfinite
from typing import NoReturn

from modelyard.errors import Problem

TYPE_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}

_DEEPEST = 100


class DocumentError(ValueError):
    """Text that is no JSON we can keep; the message says where and why."""


def parse_json(raw: bytes, name: str) -> object:
    """The value of a UTF-8 JSON text, if it can be stored.

    Raises ``DocumentError`` whose message names ``name``, line and column.
    """
    value = load_json(raw, name)
    fault = unstorable(value)
    if fault:
        raise DocumentError(f"{name}: {fault}")
    return value


def load_json(raw: bytes, name: str) -> object:
    """The value of a UTF-8 JSON text, whatever it holds.

    Raises ``DocumentError`` whose message names ``name``, line and column.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DocumentError(f"{name} is not UTF-8 (line {line}, byte {error.start})") from None
    try:
        value: object = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DocumentError(f"{name} is not valid JSON ({where}): {error.msg}") from None
    except RecursionError:
        raise DocumentError(f"{name} is nested too deeply") from None
    except ValueError as error:
        raise DocumentError(f"{name} is not valid JSON: {error}") from None
    return value


def unstorable(value: object, where: str = "") -> str | None:
    """Why a JSON value cannot be stored in every database and sent again; None when it can."""
    stack: list[tuple[object, str, int]] = [(value, where, 0)]
    while stack:
        item, path, depth = stack.pop()
        at = path or "the document"
        if depth > _DEEPEST:
            return f"{at[:200]} is nested too deeply"
        if isinstance(item, str):
            if "\x00" in item or not _encodable(item):
                return f"{at[:200]} holds a character that is not text"
        elif isinstance(item, float) and not isfinite(item):
            return f"{at[:200]} is no finite number"
        elif isinstance(item, dict):
            for key, inner in item.items():
                if "\x00" in key or not _encodable(key):
                    return f"{at[:200]} has a key that is not text"
                stack.append((inner, f"{path}.{key}" if path else key, depth + 1))
        elif isinstance(item, list):
            for index, inner in enumerate(item):
                stack.append((inner, f"{path}[{index}]", depth + 1))
    return None


def wrong_type(field: str, wanted: str, value: object, code: str) -> Problem:
    """The problem of a value that is something else than ``wanted``."""
    found = TYPE_NAMES.get(type(value), type(value).__name__)
    return Problem(field, f"must be {wanted}, not {found}", "Correct it.", code=code)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
