"""What ``data`` looks like to the script, and what its result looks like to the caller.

models.md §4.3 and §9. Pure.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from modelyard_instance.headers import JSON, Part
from modelyard_instance.inference.codec import decode, encode


class BadRequest(ValueError):
    """The request cannot become ``data``; the message is for the caller."""

    status = 400
    code = "ModelArts.4105"


class NoSuchApi(BadRequest):
    """The script has no hook for the url."""

    status = 404
    code = "ModelArts.4204"


class Upload(io.BytesIO):
    """An uploaded file: reads like a file, and knows its name and declared type."""

    def __init__(self, content: bytes, name: str, content_type: str = "") -> None:
        super().__init__(content)
        self.name = name
        self.filename = name
        self.content_type = content_type

    def __bytes__(self) -> bytes:
        return self.getvalue()


def _free_name(name: str, taken: Mapping[str, Upload]) -> str:
    if name not in taken:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not dot:
        stem, suffix = name, ""
    number = 1
    while f"{stem}_{number}{dot}{suffix}" in taken:
        number += 1
    return f"{stem}_{number}{dot}{suffix}"


def form_data(parts: Sequence[Part], contents: bytes) -> dict[str, object]:
    """``{field: {filename: file}}`` in order of arrival; plain fields are ``{field: text}``.

    Two files of one name in one field: the later is called ``name_1.ext``. A plain field sent more
    than once becomes a list of texts. Raises ``BadRequest`` when a field is both.
    """
    files: dict[str, dict[str, Upload]] = {}
    data: dict[str, object] = {}
    at = 0
    for field, filename, content_type, size in parts:
        content = contents[at : at + size]
        at += size
        if filename is None:
            text = content.decode("utf-8", "replace")
            if field in files:
                raise BadRequest(f"the field {field!r} carries both a file and a text")
            before = data.get(field)
            if before is None:
                data[field] = text
            elif isinstance(before, list):
                before.append(text)
            else:
                data[field] = [before, text]
            continue
        if field in data and field not in files:
            raise BadRequest(f"the field {field!r} carries both a file and a text")
        named = files.setdefault(field, {})
        data[field] = named
        name = _free_name(filename or field, named)
        named[name] = Upload(content, name, content_type)
    return data


def json_data(body: bytes) -> object:
    """The parsed body. Raises ``BadRequest``."""
    try:
        return decode(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"not valid JSON: {error}") from error


def with_query(data: object, query: Mapping[str, str]) -> object:
    """``data`` with the query's arguments merged in; what the body says wins."""
    if query and isinstance(data, dict):
        return {**query, **data}
    return data


def wrapped(result: object, request: object) -> object:
    """A machine-learning result in the form of its request, ``meta`` echoed (models.md §9).

    Rows become ``{"data": {"resp_data": rows}}``, or ``{"resp_data": rows}`` when the request was
    bare; a result that already has that form, or a mapping of its own form, stays.
    """
    if isinstance(result, str):
        result = told(result)
    asked: Mapping[str, object] = request if isinstance(request, dict) else {}
    bare = "req_data" in asked
    if isinstance(result, Mapping):
        answer = dict(result)
        if "resp_data" in answer and "data" not in answer and not bare and "data" in asked:
            answer = {"data": answer}
    else:
        answer = {"resp_data": result}
        if not bare:
            answer = {"data": answer}
    if "meta" in asked and "meta" not in answer:
        answer = {"meta": asked["meta"], **answer}
    return answer


def told(text: str) -> object:
    """The list or mapping that ``text`` spells in JSON, or ``text`` itself."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return decode(text.encode())
        except ValueError:
            return text
    return text


def answer_body(result: object) -> tuple[bytes, str]:
    """The body and its content type. Raises ``TypeError`` or ``ValueError``.

    A text that spells a JSON list or object is sent as it is; any other text becomes a JSON string.
    Bytes that are no text go out as they are.
    """
    if isinstance(result, bytes | bytearray):
        content = bytes(result)
        try:
            result = content.decode()
        except UnicodeDecodeError:
            return content, "application/octet-stream"
    if isinstance(result, str) and not isinstance(told(result), str):
        return result.encode(), JSON
    return encode(result), JSON
