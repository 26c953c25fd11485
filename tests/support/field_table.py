"""Every field of a request to create or update a service, with what it may and may not be.

One row per field and setting; from each row come cases: a whole body and what must become of it.
The rows follow services.md §2, §3.1, §3.3, §3.4, §5 and §6. The table is run through the pure
readers and through the HTTP API.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from field_kit import ABSENT, SHARED, Bad, Json, Row
from field_property_rows import VERSION_PROPERTY_ROWS
from field_service_rows import CHANNELS, HOUR, LTS, PROPERTY_ROWS, SERVICE_ROWS, SMN, TOPIC
from field_version_rows import CONFIG_ROWS
from modelyard.domain.admission.requests import Present


@dataclass(frozen=True, slots=True)
class Case:
    """``status`` 200: accepted. Otherwise ``code`` and ``problem``, the field that is named."""

    name: str
    field: str
    call: str
    body: Json
    present: Present
    status: int = 200
    code: str = ""
    problem: str = ""


ROWS: tuple[Row, ...] = (*SERVICE_ROWS, *PROPERTY_ROWS, *CONFIG_ROWS, *VERSION_PROPERTY_ROWS)

# What stands around a member that is set alone.
_SCAFFOLD: dict[tuple[str | int, ...], Any] = {
    ("schedule", 0): HOUR,
    ("service_secrets", 0): {"secretId": "s", "mouthPath": "/s"},
    (*SMN, "n"): TOPIC,
    (*CHANNELS, 0): LTS,
}


def cases_by_row() -> dict[str, tuple[Case, ...]]:
    """The cases of each row, by the row's number, calls and field; no request twice."""
    seen: set[str] = set()
    found: dict[str, tuple[Case, ...]] = {}
    for number, row in enumerate(ROWS):
        own = []
        for call in row.calls:
            for case in _of_row(row, call):
                request = repr((call, case.body, case.present))
                if request not in seen:
                    seen.add(request)
                    own.append(case)
        if own:
            found[f"{number} {'|'.join(row.calls)} {row.name}"] = tuple(own)
    return found


def _of_row(row: Row, call: str) -> Iterator[Case]:
    label = ".".join(str(part) for part in row.path if not isinstance(part, int))
    for value in row.good:
        yield Case(_title(call, row, value), label, call, _body(row, call, value), row.present)
    for bad in row.bad:
        told = bad if isinstance(bad, Bad) else Bad(bad)
        yield Case(
            name=_title(call, row, told.value),
            field=label,
            call=call,
            body=_body(row, call, told.value),
            present=row.present,
            status=told.status,
            code=told.code,
            problem=row.name + told.at,
        )


def _title(call: str, row: Row, value: Any) -> str:
    shown = "absent" if value is ABSENT else repr(value)
    return f"{call} {row.name} = {shown if len(shown) <= 50 else shown[:47] + '…'}"


def _body(row: Row, call: str, value: Any) -> Json:
    body = deepcopy(row.around)
    if call == "POST":
        body = {"service_name": "svc", "infer_type": "real-time"} | deepcopy(SHARED) | body
    _put(body, row.path, value)
    return body


def _put(body: Any, path: tuple[str | int, ...], value: Any) -> None:
    """Set the member at ``path``, with what it needs around it."""
    for depth in range(1, len(path)):
        known = path[:depth]
        step, following = path[depth - 1], path[depth]
        empty: Any = [] if isinstance(following, int) else {}
        made = deepcopy(_SCAFFOLD.get(known, empty))
        if isinstance(step, int):
            if len(body) <= step:
                body.append(made)
        elif step not in body:
            body[step] = made
        body = body[step]
    last = path[-1]
    if isinstance(last, int):
        body[last:] = [value]
    elif value is ABSENT:
        body.pop(last, None)
    else:
        body[last] = value
