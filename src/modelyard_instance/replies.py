"""Answers of the front itself, in the API's error shape (inference.md §1.6)."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

JSON = b"application/json"
_RETRY = (b"retry-after", b"1")
# Tells the gateway that the model never saw the request, so that it may go to another instance.
_NOT_COMPUTED = (b"x-modelyard-not-computed", b"1")


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer. ``extra``: further headers, names in lower case."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    extra: tuple[tuple[bytes, bytes], ...] = ()


def refusal(status: int, code: str, message: str, *extra: tuple[bytes, bytes]) -> Reply:
    """``{"error_code", "error_msg"}`` with ``status``; ``code`` includes its layer's name."""
    return Reply(orjson.dumps({"error_code": code, "error_msg": message}), status, JSON, extra)


def unavailable(message: str) -> Reply:
    """503 ModelArts.4302: no worker is ready, and none was given the request."""
    return refusal(503, "ModelArts.4302", message, _RETRY, _NOT_COMPUTED)


def cut_off() -> Reply:
    """503 ModelArts.4302: the instance ends while its worker computes this prediction."""
    return refusal(503, "ModelArts.4302", "The instance is being stopped.", _RETRY)


def overloaded(limit: int) -> Reply:
    """503: the bounded queue is full."""
    return refusal(
        503,
        "ModelArts.4302",
        f"The instance is overloaded: {limit} predictions wait or run already. Try again, or raise "
        "the service's instance_count.",
        _RETRY,
        _NOT_COMPUTED,
    )


def timed_out(seconds: float) -> Reply:
    """504 ModelArts.4503: the model took longer than a prediction may."""
    return refusal(504, "ModelArts.4503", f"The model did not answer within {seconds:g} s.")


def worker_lost(cause: str) -> Reply:
    """500 ModelArts.4302: the model's process died while it computed this prediction."""
    return refusal(
        500,
        "ModelArts.4302",
        f"The model's process died during this prediction: {cause}. It is being restarted; the "
        "service's log has its last words.",
    )


def no_room(limit: int) -> Reply:
    """503: the messages that wait already take up all they may."""
    message = f"The instance is overloaded: more than {limit} bytes of messages wait. Try again."
    return refusal(503, "ModelArts.4302", message, _RETRY, _NOT_COMPUTED)


def broken_off() -> Reply:
    """500 ModelArts.4302: an answer in pieces ends before it is whole."""
    message = "The answer was broken off: the model's process died, or the instance was stopped."
    return refusal(500, "ModelArts.4302", message)


def too_large(limit: int) -> Reply:
    """413 ModelArts.4104."""
    return refusal(413, "ModelArts.4104", f"The request body is larger than {limit} bytes.")


def malformed(reason: str) -> Reply:
    """400 ModelArts.4105."""
    return refusal(400, "ModelArts.4105", f"The request body is malformed: {reason}.")


def empty() -> Reply:
    """400 ModelArts.4202."""
    return refusal(400, "ModelArts.4202", "The request is empty: send JSON or a form as its body.")


def unknown_api(path: str) -> Reply:
    """404 ModelArts.4204."""
    return refusal(404, "ModelArts.4204", f"The model has no api {path!r} in its config.json.")


def wrong_method(method: str, allowed: frozenset[str]) -> Reply:
    """405: the api exists, not with this method (inference.md §1)."""
    names = ", ".join(sorted(allowed))
    return refusal(
        405,
        "APIG.0101",
        f"Method Not Allowed: {method}; this api takes {names}.",
        (b"allow", names.encode()),
    )
