"""What is sent to the model, and how its answer is written down. Pure."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Mapping

import orjson

from modelyard.batch.spec import FORM

_BOUNDARY = b"modelyard-batch-7f1c0b6e5d2a49d8"
# The tables of this Python alone, whatever the machine adds to them.
_KINDS = mimetypes.MimeTypes()
_LONGEST_MESSAGE = 2000


def encode(value: object) -> bytes:
    """JSON; whole numbers of any size."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def is_form(content_type: str) -> bool:
    """Whether an api of this content type wants a form; JSON otherwise."""
    return content_type.strip().lower().startswith(FORM)


def form_boundary(content: bytes) -> bytes:
    """A boundary that ``content`` does not hold; the same for the same content."""
    boundary = _BOUNDARY
    while boundary in content:
        boundary += b"x"
    return boundary


def file_form(field: str, name: str, content: bytes) -> tuple[str, bytes]:
    """Content type and body of a form with one file (inference.md §2.3)."""
    boundary = form_boundary(content)
    kind = _KINDS.guess_type(name)[0] or "application/octet-stream"
    head = (
        f'Content-Disposition: form-data; name="{_quoted(field)}"; filename="{_quoted(name)}"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    ).encode()
    body = b"--%b\r\n%b%b\r\n--%b--\r\n" % (boundary, head, content, boundary)
    return f"{FORM}; boundary={boundary.decode()}", body


def row_form(value: object) -> tuple[str, bytes]:
    """Content type and body of a form whose fields are the members of ``value``."""
    members = value if isinstance(value, Mapping) else {"data": value}
    texts = {
        str(name): one.encode() if isinstance(one, str) else encode(one)
        for name, one in members.items()
    }
    boundary = form_boundary(b"\n".join(texts.values()))
    lines = [
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (boundary, _quoted(name).encode(), text)
        for name, text in texts.items()
    ]
    return f"{FORM}; boundary={boundary.decode()}", b"".join(lines) + b"--%b--\r\n" % boundary


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def answer_line(body: bytes) -> bytes:
    """One row's answer as a line of JSON: compacted where it has several, a string where it is
    none."""
    if b"\n" not in body and b"\r" not in body and body[:1] in (b"{", b"[") and is_json(body):
        return body + b"\n"
    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_APPEND_NEWLINE)
    except ValueError:
        pass
    try:
        return encode(json.loads(body)) + b"\n"
    except (ValueError, RecursionError):
        return encode(body.decode(errors="replace")) + b"\n"


def is_json(body: bytes) -> bool:
    """Whether a body is one JSON document. Pure."""
    try:
        orjson.loads(body)
    except ValueError:
        return False
    return True


def error_line(code: str, message: str) -> bytes:
    """A failed row's line."""
    return orjson.dumps(
        {"error_code": code, "error_msg": message}, option=orjson.OPT_APPEND_NEWLINE
    )


def fault_of(status: int, body: bytes) -> tuple[str, str]:
    """Code and message of an answer other than 200, in whichever layer's shape (§1.6)."""
    try:
        data = orjson.loads(body)
    except ValueError:
        data = None
    if isinstance(data, dict):
        code = data.get("error_code") or data.get("erno")
        message = data.get("error_msg") or data.get("msg")
        if code and message:
            return str(code)[:100], str(message)[:_LONGEST_MESSAGE]
    text = body[: 4 * _LONGEST_MESSAGE].decode(errors="replace").strip()[:_LONGEST_MESSAGE]
    code = "ModelArts.4503" if status == 504 else "MR.0105"
    return code, f"The model answered {status}: {text}" if text else f"The model answered {status}."
