"""One request of the worker: bytes to ``data``, the script, its result to bytes."""

from __future__ import annotations

import json
import traceback
from collections.abc import Generator
from dataclasses import dataclass
from types import GeneratorType

from modelyard_instance.headers import JSON, ReplyHeader, RequestHeader
from modelyard_instance.inference import openinference
from modelyard_instance.inference.base_services import SingleNodeService
from modelyard_instance.inference.codec import encode
from modelyard_instance.inference.hooks import hook_of
from modelyard_instance.inference.payloads import (
    BadRequest,
    answer_body,
    form_data,
    json_data,
    with_query,
    wrapped,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the front."""

    body: bytes
    status: int = 200
    content_type: str = JSON

    def header(self) -> bytes:
        """The header of the frame that carries it."""
        return ReplyHeader(self.status, self.content_type).encode()


def model_error(error: BaseException, status: int) -> Answer:
    """The script's failure in the model layer's shape (models.md §4.2), with its reason."""
    reason = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    content = {
        "erno": "MR.0105",
        "msg": "Recognition failed",
        "words_result": {},
        "reason": reason[:1000],
    }
    return Answer(encode(content), status)


def bad_request(
    reason: str, status: int = BadRequest.status, code: str = BadRequest.code
) -> Answer:
    """400 ModelArts.4105 unless said otherwise (inference.md §1.6)."""
    message = f"The request body is malformed: {reason}." if status == 400 else reason
    return Answer(encode({"error_code": code, "error_msg": message}), status)


def handle(service: SingleNodeService, header: RequestHeader, body: bytes) -> Answer:
    """Answer one request; whatever the script raises becomes an answer, and goes to the log.

    What a generator yields is a list here; ``ask`` leaves it as it is.
    """
    answer = ask(service, header, body)
    if not isinstance(answer, Answer):
        try:
            return finish(service, list(answer), None)
        except (Exception, SystemExit) as error:
            return script_error(error)
    return answer


def ask(
    service: SingleNodeService, header: RequestHeader, body: bytes
) -> Answer | Generator[object]:
    """Answer one request (``handle``), or give the generator whose pieces are the answer."""
    if header.v2 is not None:
        return _tensors(service, body, header.v2)
    try:
        data, request = read(service, header, body)
    except BadRequest as error:
        return bad_request(str(error))
    try:
        result = hook_of(service, header.hook)(data)
    except (Exception, SystemExit) as error:
        return script_error(error)
    if isinstance(result, GeneratorType):
        return result
    return finish(service, result, request)


def script_error(error: BaseException) -> Answer:
    """What the script or default handler raised, as an answer (models.md §9) and in the log."""
    if isinstance(error, BadRequest):
        return bad_request(str(error), error.status, error.code)
    traceback.print_exc()
    return model_error(error, 400 if isinstance(error, KeyError | TypeError) else 500)


def finish(service: SingleNodeService, result: object, request: object) -> Answer:
    """The script's ``result`` as an answer."""
    try:
        if service.raw_text:
            result = wrapped(result, request)
        content, kind = answer_body(result)
    except Exception as error:
        traceback.print_exc()
        return model_error(error, 500)
    return Answer(content, 200, kind)


def _tensors(service: SingleNodeService, body: bytes, version: str) -> Answer:
    try:
        return Answer(openinference.infer(service, body, version))
    except openinference.BadTensors as error:
        return Answer(openinference.error(str(error)), 400)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        reason = traceback.format_exception_only(error)[-1].strip()
        return Answer(openinference.error(reason[:1000]), 500)


def read(service: SingleNodeService, header: RequestHeader, body: bytes) -> tuple[object, object]:
    """``data`` for the script, and the parsed request. Raises ``BadRequest``."""
    query = dict(header.query)
    if header.parts is not None:
        if service.raw_text:
            raise BadRequest(f"{type(service).__name__} takes JSON, not a form (models.md §4.3)")
        data = with_query(form_data(header.parts, body), query)
        return data, data
    if not body:
        return (json.dumps(query), query) if service.raw_text else (query, query)
    request = json_data(body)
    if service.raw_text:
        return body.decode("utf-8-sig"), request
    return with_query(request, query), request
