"""The first lines of HTTP: what a request asks for, and how an answer begins. Pure."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import unquote

import httptools

STATUS = {
    one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus if one >= 200
}
"""Status lines by status."""


def target_of(url: bytes) -> tuple[str, bytes]:
    """Path and query of a request target. Raises ``httptools.HttpParserError``."""
    if url.startswith(b"/"):
        raw, _, query = url.partition(b"?")
    else:
        parsed = httptools.parse_url(url)
        raw, query = parsed.path or b"/", parsed.query or b""
    path = raw.decode("latin-1")
    return (unquote(path) if "%" in path else path), query
