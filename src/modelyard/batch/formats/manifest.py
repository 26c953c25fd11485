"""Manifests: which files to read, and what became of them (inference.md §2.5, §2.6). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from modelyard.errors import InvalidRequest
from modelyard.objects.paths import ObjectPath, parse_path

LONGEST_LINE = 64 * 1024
_SHOWN = 120


class BadManifest(ValueError):
    """An input manifest that is none; the message names the line."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file to read. ``text`` as the manifest has it, ``path`` where it lies in our store.

    ``fault``: why there can be no such object.
    """

    text: str
    path: ObjectPath
    fault: str = ""


class ManifestReader:
    """Feed it an input manifest in pieces of any size."""

    def __init__(self) -> None:
        self._tail = b""
        self._number = 0

    def feed(self, chunk: bytes) -> Iterator[Source]:
        """The files of the lines that are whole now. Raises ``BadManifest``."""
        *lines, self._tail = (self._tail + chunk).split(b"\n")
        for line in lines:
            yield from self._read(line)
        if len(self._tail) > LONGEST_LINE:
            raise BadManifest(f"line {self._number + 1} is longer than {LONGEST_LINE} bytes")

    def finish(self) -> Iterator[Source]:
        """The file of a last line without an end."""
        tail, self._tail = self._tail, b""
        yield from self._read(tail)

    def _read(self, line: bytes) -> Iterator[Source]:
        self._number += 1
        if self._number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        line = line.strip()
        if line:
            yield self._source(line)

    def _source(self, line: bytes) -> Source:
        try:
            data = orjson.loads(line)
        except ValueError:
            raise BadManifest(f"line {self._number} is not JSON: {_shown(line)}") from None
        text = data.get("source") if isinstance(data, dict) else None
        if not isinstance(text, str) or not text:
            raise BadManifest(f'line {self._number} has no "source"')
        if text.endswith("/"):
            raise BadManifest(f"line {self._number} names a folder, not a file: {text[:_SHOWN]}")
        try:
            path = parse_path(_unsigned(text), "source", blanks=True)
        except InvalidRequest as error:
            return Source(text, ObjectPath("", text), error.message)
        if not path.key:
            raise BadManifest(f"line {self._number} names a bucket, not a file: {text[:_SHOWN]}")
        return Source(text, path)


def _unsigned(text: str) -> str:
    """A signed address without its signature: the object lies in our own store."""
    if text[:8].lower() != "https://":
        return text
    return text.partition("?")[0]


def successful(source: str, location: str) -> bytes:
    """The output manifest's line of a file whose result lies at ``location``."""
    return _line({"source": source, "result": "SUCCESSFUL", "inference-loc": location})


def failed(source: str, message: str) -> bytes:
    """The output manifest's line of a file without a result."""
    return _line({"source": source, "result": "FAILED", "error_message": message})


def _line(content: dict[str, str]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


def _shown(line: bytes) -> str:
    text = line.decode(errors="replace")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
