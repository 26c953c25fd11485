"""A request to try a package with: made of its api's schema, or of a file (models.md §3); pure."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from modelyard.packages.config.apis import Api, JsonDict
from modelyard_instance.headers import Part, RequestHeader

# One white pixel.
_PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"
)
_FILE_FIELD = "images"
_DEEPEST = 20
_VALUES: dict[str, Any] = {"integer": 1, "number": 1.0, "boolean": True, "null": None}


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. ``files``: ``(field, name, content)``; with any, or ``fields``, it is a form."""

    content: bytes = b""
    files: tuple[tuple[str, str, bytes], ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    given: bool = False

    @property
    def is_form(self) -> bool:
        return bool(self.files or self.fields)

    def frame(self) -> bytes:
        """As ``modelyard_instance.worker.rehearse`` reads it."""
        if not self.is_form:
            return b"\n" + self.content
        parts: list[Part] = []
        bodies: list[bytes] = []
        for name, text in self.fields:
            bodies.append(text.encode())
            parts.append((name, None, "", len(bodies[-1])))
        for field, name, content in self.files:
            bodies.append(content)
            parts.append((field, name, "", len(content)))
        return RequestHeader(parts=parts).encode() + b"\n" + b"".join(bodies)


def from_schema(api: Api) -> Sample | None:
    """A request that the schema of ``api`` describes; None when it describes none."""
    schema = api.request_schema
    if not schema.get("properties") and schema.get("type") != "array":
        return None
    properties = schema.get("properties")
    files = _files(properties if isinstance(properties, dict) else {})
    if not files:
        return Sample(json.dumps(_value(schema, 0)).encode())
    assert isinstance(properties, dict)
    fields = tuple(
        (name, _text(_value(inner, 0)))
        for name, inner in properties.items()
        if isinstance(inner, dict) and name not in files
    )
    return Sample(files=tuple((name, f"{name}.png", _PICTURE) for name in files), fields=fields)


def from_file(name: str, content: bytes, api: Api) -> Sample:
    """JSON is sent as it is; anything else is uploaded as the api's file."""
    try:
        json.loads(content)
    except ValueError:
        properties = api.request_schema.get("properties")
        files = _files(properties if isinstance(properties, dict) else {})
        field = files[0] if files else _FILE_FIELD
        return Sample(files=((field, name, content),), given=True)
    return Sample(content, given=True)


def _files(properties: JsonDict) -> list[str]:
    return [
        name
        for name, inner in properties.items()
        if isinstance(inner, dict) and inner.get("type") == "file"
    ]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _value(schema: object, depth: int) -> Any:
    """A value that the JSON Schema allows, the one it names itself where it does."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    for key in ("example", "default", "const"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        if isinstance(schema.get(key), list) and schema[key]:
            return schema[key][0]
    kind = schema.get("type") or ("object" if "properties" in schema else "string")
    if kind == "object":
        properties = schema.get("properties")
        inner = properties if isinstance(properties, dict) else {}
        return {name: _value(one, depth + 1) for name, one in inner.items()}
    if kind == "array":
        items = schema.get("items")
        one = items[0] if isinstance(items, list) and items else items
        return [] if one is None else [_value(one, depth + 1)]
    return _VALUES[kind] if kind in _VALUES and "minimum" not in schema else _scalar(schema, kind)


def _scalar(schema: JsonDict, kind: object) -> Any:
    if kind in ("integer", "number", "int", "float"):
        return schema.get("minimum", 1)
    return "text"
