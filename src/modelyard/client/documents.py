"""A JSON object of an answer, read by key and kind without surprises."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

Body: TypeAlias = Mapping[str, object] | Sequence[object]
"""What is sent as JSON."""


class Document:
    """Reads members of an answer; what is absent or of another kind reads as empty.

    ``etag``: the entity tag that came with it, in its quotation marks, or "".
    """

    __slots__ = ("etag", "raw")

    def __init__(self, raw: object, etag: str = "") -> None:
        self.raw: dict[str, object] = raw if isinstance(raw, dict) else {}
        self.etag = etag

    def __contains__(self, key: str) -> bool:
        return key in self.raw

    def text(self, key: str) -> str:
        """The member as text; ``""`` when absent or null."""
        value = self.raw.get(key)
        if value is None:
            return ""
        return value if isinstance(value, str) else json.dumps(value)

    def number(self, key: str) -> int:
        """The member as a whole number; 0 when absent or not a number."""
        value = self.raw.get(key)
        if isinstance(value, str) and value.lstrip("-").isdigit():
            return int(value)
        return int(value) if isinstance(value, int | float) else 0

    def part(self, key: str) -> Document:
        """The object under ``key``; an empty one when absent."""
        return Document(self.raw.get(key))

    def parts(self, key: str) -> list[Document]:
        """The objects of the list under ``key``; empty when absent."""
        value = self.raw.get(key)
        return [Document(item) for item in value] if isinstance(value, list) else []

    def texts(self, key: str) -> list[str]:
        """The strings of the list under ``key``; empty when absent."""
        value = self.raw.get(key)
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

    def keys(self) -> Iterator[str]:
        return iter(self.raw)


def moment(millis: int) -> str:
    """Milliseconds since 1970 as local wall-clock text; ``-`` for 0."""
    if not millis:
        return "-"
    return datetime.fromtimestamp(millis / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
