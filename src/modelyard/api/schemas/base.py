"""What all models of the contract share: how they read, and the forms that members may have.

A request may leave out an optional member or send null for it; an answer leaves it out. Whole
numbers may be sent as strings of digits, and some documents as the JSON text that holds them.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

JsonObject = dict[str, Any]

LARGEST = 1e12
"""No number of a request may be larger."""


def _describe_answer(schema: JsonObject) -> None:
    """An optional member of an answer is absent, never null.

    Generators of clients call the members beyond a schema ``additional_properties``; an answer that
    has a member of that name is therefore published without others.
    """
    if "additional_properties" in schema.get("properties", {}):
        schema["additionalProperties"] = False
    for member in schema.get("properties", {}).values():
        if member.get("default", "") is not None:
            continue
        del member["default"]
        choices = [one for one in member.get("anyOf", ()) if one != {"type": "null"}]
        if len(choices) == 1:
            del member["anyOf"]
            member.update(choices[0])
        elif choices:
            member["anyOf"] = choices


def _drop_null_defaults(schema: JsonObject) -> None:
    for member in schema.get("properties", {}).values():
        if member.get("default", "") is None:
            del member["default"]


# ``defer_build``: most models are published only; a validator is built where one is needed.


class RequestModel(BaseModel):
    """A body, or a part of one: members that it does not have are refused by name."""

    model_config = ConfigDict(
        defer_build=True, extra="forbid", json_schema_extra=_drop_null_defaults
    )


class OpenRequestModel(BaseModel):
    """A part of a body that may have members of the caller's own."""

    model_config = ConfigDict(
        defer_build=True, extra="allow", json_schema_extra=_drop_null_defaults
    )


class ResponseModel(BaseModel):
    """An answer, or a part of one. Clients ignore members that they do not know."""

    model_config = ConfigDict(
        defer_build=True,
        extra="ignore",
        json_schema_extra=_describe_answer,
        json_schema_mode_override="serialization",
        protected_namespaces=(),
    )


def digits(low: int, high: int) -> str:
    """A regular expression for the decimal strings from ``low`` to ``high``.

    >>> digits(180, 7200)
    '(18[0-9]|19[0-9]|[2-9][0-9]{2}|[1-6][0-9]{3}|70[0-9]{2}|71[0-9]{2}|7200)'
    """
    parts: list[str] = []
    for length in range(len(str(low)), len(str(high)) + 1):
        first = max(low, 10 ** (length - 1) if length > 1 else 0)
        parts += _same_length(str(first), str(min(high, 10**length - 1)))
    return f"({'|'.join(parts)})"


def _same_length(first: str, last: str) -> list[str]:
    """Expressions for the numbers between two of one length, both ends included."""
    if not first:
        return [""]
    rest = len(first) - 1
    any_rest = f"[0-9]{{{rest}}}" if rest > 1 else "[0-9]" * rest
    if first[1:] == "0" * rest and last[1:] == "9" * rest:
        return [_digit(first[0], last[0]) + any_rest]
    if first[0] == last[0]:
        return [first[0] + tail for tail in _same_length(first[1:], last[1:])]
    if first[1:] != "0" * rest:
        below = [first[0] + tail for tail in _same_length(first[1:], "9" * rest)]
        return below + _same_length(str(int(first[0]) + 1) + "0" * rest, last)
    whole = str(int(last[0]) - 1)
    above = [last[0] + tail for tail in _same_length("0" * rest, last[1:])]
    return [_digit(first[0], whole) + any_rest, *above]


def _digit(first: str, last: str) -> str:
    return first if first == last else f"[{first}-{last}]"


def whole(low: int, high: int) -> WithJsonSchema:
    """The schema of a whole number, which may also be sent as a string of digits."""
    return WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": low, "maximum": high},
                {"type": "string", "pattern": f"^{digits(low, high)}$"},
            ]
        }
    )


def optional_whole(low: int, high: int) -> WithJsonSchema:
    """The same, or null."""
    schema = whole(low, high).json_schema
    assert schema is not None
    return WithJsonSchema({"anyOf": [*schema["anyOf"], {"type": "null"}]})


def _json_text(what: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "type": "string",
            "contentMediaType": "application/json",
            "format": f"json-{what}",
            "description": "The same as JSON text.",
        }
    )


ObjectText = Annotated[str, _json_text("object")]
"""A string that holds the JSON object that stands beside it."""
ListText = Annotated[str, _json_text("list")]
"""A string that holds the JSON list that stands beside it."""

Millis = Annotated[int, Field(description="Milliseconds since 1970-01-01T00:00:00Z.", ge=0)]
ModelId = Annotated[str, Field(description="The id of a model version.")]
ServiceId = Annotated[str, Field(description="The id of a service.")]
NonBlank = Annotated[str, Field(pattern=r"\S")]
