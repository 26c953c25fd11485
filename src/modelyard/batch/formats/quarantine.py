"""What failed, line by line: where it stands, why, and what it was (lessons.md #37). Pure."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import orjson


@dataclass(frozen=True, slots=True)
class BadRow:
    """A failed row. ``row``: record number from 1, the line of its answer. ``offset``: byte in the
    input where ``record`` begins.
    """

    row: int
    offset: int
    code: str
    message: str
    record: bytes


def row_line(source: str, bad: BadRow) -> bytes:
    """The quarantine's line of a failed row."""
    content: dict[str, object] = {
        "source": source,
        "row": bad.row,
        "offset": bad.offset,
        "error_code": bad.code,
        "error_msg": bad.message,
    }
    record = bad.record.rstrip(b"\r\n")
    try:
        content["record"] = record.decode()
    except UnicodeDecodeError:
        content["record_base64"] = base64.b64encode(record).decode()
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


def file_line(source: str, message: str) -> bytes:
    """The quarantine's line of a file that failed as a whole."""
    content = {"source": source, "error_msg": message}
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


def read_row(line: bytes) -> BadRow:
    """A failed row from its line. Raises ``ValueError``."""
    data = orjson.loads(line)
    record = data.get("record")
    raw = record.encode() if isinstance(record, str) else base64.b64decode(data["record_base64"])
    return BadRow(data["row"], data["offset"], data["error_code"], data["error_msg"], raw)
