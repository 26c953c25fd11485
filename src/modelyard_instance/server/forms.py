"""``multipart/form-data``, cut into parts while it arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

    from modelyard_instance.headers import Part

_MOST_PARTS = 1000


class BadForm(ValueError):
    """The body is no form; the message says where."""


def boundary_of(content_type: bytes) -> bytes | None:
    """The boundary when ``content_type`` announces a form, else None."""
    kind, options = parse_options_header(content_type)
    if kind.lower() != b"multipart/form-data":
        return None
    return options.get(b"boundary")


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


class FormParser:
    """Feed it the body in pieces; ``finish`` gives the parts and their contents in one piece."""

    def __init__(self, boundary: bytes) -> None:
        self._parts: list[Part] = []
        self._chunks: list[bytes] = []
        self._headers: dict[bytes, bytes] = {}
        self._name = b""
        self._value = b""
        self._size = 0
        self._ended = False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._part_begin,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise BadForm(str(error)) from error

    def feed(self, data: bytes) -> None:
        """Take the next piece. Raises ``BadForm``."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BadForm(f"not a multipart form: {error}") from error

    def finish(self) -> tuple[list[Part], bytes]:
        """The parts in order, and their contents one behind the other. Raises ``BadForm``."""
        if not self._ended:
            raise BadForm("the form ends before its last boundary")
        return self._parts, b"".join(self._chunks)

    def _part_begin(self) -> None:
        if len(self._parts) >= _MOST_PARTS:
            raise BadForm(f"more than {_MOST_PARTS} parts")
        self._headers = {}
        self._size = 0

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._chunks.append(data[start:end])
        self._size += end - start

    def _part_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name")
        if name is None:
            raise BadForm("a part has no name in its Content-Disposition")
        filename = options.get(b"filename")
        self._parts.append(
            (
                _text(name),
                None if filename is None else _text(filename),
                _text(self._headers.get(b"content-type", b"")),
                self._size,
            )
        )

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _end(self) -> None:
        self._ended = True
