"""What the routes of the gateway are made of (pure)."""

from __future__ import annotations

import json

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2 as route
from envoy.type.matcher.v3 import metadata_pb2, string_pb2, value_pb2
from google.protobuf.message import Message

from modelyard.gateway.config.resources import names


def token_project(value: Message) -> Message:
    """Matches requests whose verified token has a claim ``project.id`` like ``value``."""
    path = [
        metadata_pb2.MetadataMatcher.PathSegment(key=key) for key in (names.CLAIMS, "project", "id")
    ]
    matcher: Message = metadata_pb2.MetadataMatcher(filter=names.JWT_FILTER, path=path, value=value)
    return matcher


def project_is(project_id: str) -> Message:
    """Matches requests whose verified token is of this project."""
    exactly = string_pb2.StringMatcher(exact=project_id)
    return token_project(value_pb2.ValueMatcher(string_match=exactly))


def error_answer(status: int, code: str, message: str) -> Message:
    """A direct response in the API's error shape (iam.md §5)."""
    body = json.dumps({"error_code": f"ModelArts.{code}", "error_msg": message})
    response: Message = route.DirectResponseAction(
        status=status, body=base_pb2.DataSource(inline_string=body)
    )
    return response


def set_header(name: str, value: str) -> Message:
    """A header to be written over whatever has its name."""
    header: Message = base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, value=value),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
    return header


_JSON = set_header("content-type", "application/json")


def refusal(name: str, match: Message, answer: Message, *headers: Message) -> Message:
    """A route that gives ``answer`` to what ``match`` matches."""
    result: Message = route.Route(
        name=name, match=match, direct_response=answer, response_headers_to_add=[_JSON, *headers]
    )
    return result
