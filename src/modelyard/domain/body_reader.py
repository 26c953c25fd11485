"""Reading a JSON body field by field, collecting every problem instead of stopping at the first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from modelyard.errors import Problem

JsonObject = dict[str, Any]
_MISSING = object()
LARGEST = 1e12
"""No number of a request is larger; it keeps conversions exact and finite."""


@dataclass(slots=True)
class Problems:
    """What was found wrong so far, in the order of the body."""

    found: list[Problem] = field(default_factory=list)

    def invalid(self, name: str, reason: str, remedy: str, code: str = "3037") -> None:
        self.found.append(Problem(name, reason, remedy, code))

    def missing(self, name: str, remedy: str) -> None:
        self.found.append(Problem(name, f"Parameter {name} cannot be empty", remedy, "3610"))

    def unknown(self, name: str, reason: str, remedy: str, code: str) -> None:
        self.found.append(Problem(name, reason, remedy, code, status=404))


def shown(value: object) -> str:
    """A value as it may stand in a message: short, on one line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def unpacked(body: JsonObject, key: str) -> JsonObject:
    """``body`` with the JSON list or object that its member ``key`` holds as text, if it does.

    OpenStack's command line sends such text (services.md §12 row 26).
    """
    value = body.get(key)
    if not isinstance(value, str):
        return body
    try:
        held = json.loads(value)
    except (ValueError, RecursionError):
        return body
    return body | {key: held} if isinstance(held, dict | list) else body


@dataclass(frozen=True, slots=True)
class Fields:
    """The members of one JSON object at ``path``; readers give None where a member is unusable."""

    body: JsonObject
    path: str
    problems: Problems

    def name(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def has(self, key: str) -> bool:
        """Present and not null; clients send null for what they leave out."""
        return self.body.get(key) is not None

    def only(self, known: Sequence[str], hint: str) -> None:
        """Refuse members that would otherwise be dropped without a word."""
        for key in self.body:
            if key not in known:
                name = self.name(key[:64] or '""')
                self.problems.invalid(name, "is not a field of this request", hint)

    def text(
        self,
        key: str,
        *,
        required: bool = False,
        limit: int | None = None,
        choices: Sequence[str] = (),
        remedy: str = "",
    ) -> str | None:
        value = self.body.get(key)
        if value is None or (required and isinstance(value, str) and not value.strip()):
            if required:
                self.problems.missing(self.name(key), remedy or "Send a non-empty string.")
            return None
        if not isinstance(value, str):
            self._bad(key, "is not a string", remedy or "Send a string.")
            return None
        if limit is not None and len(value) > limit:
            self.problems.invalid(
                self.name(key), f"has {len(value)} characters", f"Send at most {limit}."
            )
            return None
        if choices and value not in choices:
            self._bad(key, "is not allowed", f"Send one of: {', '.join(choices)}.")
            return None
        return value

    def integer(
        self, key: str, *, low: int, high: int | None = None, required: bool = False
    ) -> int | None:
        """A whole number, also as a string of digits (services.md §12 row 2)."""
        value = self.body.get(key)
        span = f"Send a whole number from {low}" + (f" to {high}." if high is not None else ".")
        if value is None or value == "":
            if required:
                self.problems.missing(self.name(key), span)
            return None
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON knows one kind of numbers.
        if isinstance(value, bool) or not isinstance(value, int):
            self._bad(key, "is not a whole number", span)
            return None
        if value < low or (high is not None and value > high):
            self._bad(key, "is out of range", span)
            return None
        return value

    def number(self, key: str, *, low: float, required: bool = False) -> float | None:
        """A finite number of at least ``low``."""
        value = self.body.get(key)
        span = f"Send a number of at least {low:g}."
        if value is None:
            if required:
                self.problems.missing(self.name(key), span)
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._bad(key, "is not a number", span)
            return None
        # Compared before anything is converted: a huge integer fits no float.
        if not low <= value <= LARGEST:
            self._bad(key, "is out of range", span)
            return None
        return float(value)

    def mapping(self, key: str, *, required: bool = False) -> JsonObject | None:
        value = self.body.get(key)
        if value is None:
            if required:
                self.problems.missing(self.name(key), "Send a JSON object.")
            return None
        if not isinstance(value, dict):
            self._bad(key, "is not an object", "Send a JSON object.")
            return None
        return value

    def array(self, key: str, *, required: bool = False) -> list[Any] | None:
        value = self.body.get(key, _MISSING)
        if value is _MISSING or value is None:
            if required:
                self.problems.missing(self.name(key), "Send a JSON array.")
            return None
        if not isinstance(value, list):
            self._bad(key, "is not an array", "Send a JSON array.")
            return None
        return value

    def nested(self, key: str, *, required: bool = False) -> Fields | None:
        value = self.mapping(key, required=required)
        return None if value is None else Fields(value, self.name(key), self.problems)

    def objects(self, key: str, hint: str, *, required: bool = False) -> list[Fields]:
        """The elements of an array of objects; what is no object is noted and left out."""
        items = self.array(key, required=required)
        if required and items == []:
            self.problems.missing(self.name(key), hint)
        found = []
        for index, item in enumerate(items or ()):
            name = f"{self.name(key)}[{index}]"
            if isinstance(item, dict):
                found.append(Fields(item, name, self.problems))
            else:
                self.problems.invalid(name, f"{shown(item)} is not an object", hint)
        return found

    def _bad(self, key: str, reason: str, remedy: str) -> None:
        value = shown(self.body.get(key))
        self.problems.invalid(self.name(key), f"{value} {reason}", remedy)
