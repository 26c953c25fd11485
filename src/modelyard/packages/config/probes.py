"""Health probes of a model (models.md §3.5); pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from modelyard.errors import Problem
from modelyard.packages.documents import wrong_type

_LARGEST = 2**31 - 1
# Key, smallest value, default.
_NUMBERS = (
    ("period_seconds", 1, 5),
    ("initial_delay_seconds", 0, 12),
    ("timeout_seconds", 1, 1),
    ("failure_threshold", 1, 12),
)


@dataclass(frozen=True, slots=True)
class Probe:
    """How to ask an instance whether it is well. Times in seconds."""

    url: str
    protocol: str
    check_method: str
    command: str
    period_seconds: int
    initial_delay_seconds: int
    timeout_seconds: int
    failure_threshold: int

    def document(self) -> dict[str, str | int]:
        """As the API shows it."""
        return asdict(self)


def parse_probe(value: object, field: str, problems: list[Problem]) -> Probe | None:
    """The probe of a document, or None; what is wrong goes to ``problems`` (3592).

    Numbers may be written as strings.
    """
    if value in (None, "", {}):
        return None
    if not isinstance(value, dict):
        problems.append(wrong_type(field, "an object", value, "3592"))
        return None
    before = len(problems)
    url = _text(value, "url", "/health", field, problems)
    if not url.startswith("/") or " " in url:
        _refuse(f"{field}.url", f"{url[:80]!r} is not a path", "Write /health.", problems)
    protocol = _text(value, "protocol", "http", field, problems).lower()
    if protocol != "http":
        _refuse(f"{field}.protocol", f"{protocol[:40]!r} is not supported", "Use http.", problems)
    method = _text(value, "check_method", "HTTP", field, problems).upper()
    if method not in ("HTTP", "EXEC"):
        _refuse(f"{field}.check_method", f"{method[:40]!r} is unknown", "Use HTTP.", problems)
    command = _text(value, "command", "", field, problems)
    if method == "EXEC" and not command:
        _refuse(f"{field}.command", "is missing", "EXEC needs a command.", problems)
    numbers = [_number(value, *one, field, problems) for one in _NUMBERS]
    return Probe(url, protocol, method, command, *numbers) if len(problems) == before else None


def _text(
    value: dict[str, object], key: str, default: str, field: str, problems: list[Problem]
) -> str:
    found = value.get(key)
    if found in (None, ""):
        return default
    if not isinstance(found, str):
        problems.append(wrong_type(f"{field}.{key}", "a string", found, "3592"))
        return default
    return found


def _number(
    value: dict[str, object],
    key: str,
    smallest: int,
    default: int,
    field: str,
    problems: list[Problem],
) -> int:
    found = value.get(key)
    if found in (None, ""):
        return default
    if isinstance(found, str) and found.strip().isascii() and found.strip().isdigit():
        found = int(found.strip()[:12])
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, int) and not isinstance(found, bool) and smallest <= found <= _LARGEST:
        return found
    reason = f"must be a whole number from {smallest} to {_LARGEST}"
    _refuse(f"{field}.{key}", reason, f"Leave it out for {default}.", problems)
    return default


def _refuse(field: str, reason: str, remedy: str, problems: list[Problem]) -> None:
    problems.append(Problem(field, reason, remedy, code="3592"))
