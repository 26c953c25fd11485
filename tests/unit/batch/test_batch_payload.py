"""Requests as they are sent, and answers as they are written down (§1.6, §2.3, §2.6)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.batch.dispatch.payload import (
    answer_line,
    encode,
    error_line,
    fault_of,
    file_form,
    is_form,
    row_form,
)
from modelyard_instance.server.forms import FormParser, boundary_of


def parts_of(kind: str, body: bytes) -> list[tuple[str, str | None, str, bytes]]:
    """A form as the instances read it."""
    boundary = boundary_of(kind.encode())
    assert boundary is not None
    parser = FormParser(boundary)
    parser.feed(body)
    parts, content = parser.finish()
    found, at = [], 0
    for name, file, part_kind, size in parts:
        found.append((name, file, part_kind, content[at : at + size]))
        at += size
    return found


@given(st.binary(max_size=200))
def test_any_file_becomes_a_form(content: bytes) -> None:
    kind, body = file_form("photo", "leaf.png", content)
    assert parts_of(kind, body) == [("photo", "leaf.png", "image/png", content)]


def test_a_file_that_holds_the_boundary() -> None:
    kind, body = file_form("photo", "x", b"")
    hostile = body * 2
    assert parts_of(*file_form("photo", "x", hostile))[0][3] == hostile
    assert parts_of(kind, body)[0][2] == "application/octet-stream"


def test_names_cannot_leave_their_header() -> None:
    (part,) = parts_of(*file_form('a"b\r\nx: y', 'n"ö\n.txt', b"1"))
    assert part[:2] == ("a%22b%0D%0Ax: y", "n%22ö%0A.txt")


def test_a_row_may_be_a_form() -> None:
    kind, body = row_form({"n": 1, "text": "é", "inner": {"x": [True]}})
    assert [(name, content) for name, _, _, content in parts_of(kind, body)] == [
        ("n", b"1"), ("text", "é".encode()), ("inner", b'{"x":[true]}'),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        ("multipart/form-data", True),
        ("Multipart/Form-Data; boundary=x", True),
        ("application/json", False),
        ("application/json; charset=utf-8", False),
    ],
)
def test_what_is_a_form(content_type: str, form: bool) -> None:
    assert is_form(content_type) is form


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b'{"a": 1}', b'{"a": 1}\n'),
        (b'{\n  "a": [1,\r\n 2]\n}\n', b'{"a":[1,2]}\n'),
        (b"[1]", b"[1]\n"),
        (b"12", b"12\n"),
        (b'"x"', b'"x"\n'),
        (b"plain\ntext", b'"plain\\ntext"\n'),
        (b"{broken", b'"{broken"\n'),
        (b"", b'""\n'),
        (b"\xff", '"\ufffd"\n'.encode()),
        (b"[1%s]" % (b"0" * 30), b"[1%s]\n" % (b"0" * 30)),
    ],
)
def test_an_answer_is_one_line_of_json(body: bytes, line: bytes) -> None:
    assert answer_line(body) == line


@given(st.binary(max_size=60) | st.text(max_size=30).map(str.encode))
def test_any_answer_is_one_line_of_json(body: bytes) -> None:
    line = answer_line(body)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    json.loads(line)


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (500, b'{"error_code":"ModelArts.4503","error_msg":"late"}', "ModelArts.4503", "late"),
        (500, b'{"erno":"MR.0105","msg":"no","words_result":{}}', "MR.0105", "no"),
        (500, b"oops", "MR.0105", "The model answered 500: oops"),
        (504, b"", "ModelArts.4503", "The model answered 504."),
        (400, b"[1]", "MR.0105", "The model answered 400: [1]"),
    ],
)
def test_a_fault_in_each_layers_shape(status: int, body: bytes, code: str, message: str) -> None:
    assert fault_of(status, body) == (code, message)
    assert json.loads(error_line(code, message)) == {"error_code": code, "error_msg": message}


def test_numbers_of_any_size() -> None:
    assert encode({"n": 10**40}) == b'{"n":1%s}' % (b"0" * 40)
