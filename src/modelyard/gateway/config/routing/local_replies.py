"""What Envoy answers by itself, in the API's error shape (inference.md §1.6, iam.md §5)."""

from __future__ import annotations

from modelyard.gateway.config.resources import names

_CEL = "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"


def _when(expression: str) -> dict[str, object]:
    return {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": {"@type": _CEL, "expression": expression},
        }
    }


def _reply(expression: str, status: int, code: str, message: str) -> dict[str, object]:
    """When ``expression`` holds of the answer, give this status and body instead."""
    prefix = "" if "." in code else "ModelArts."
    return {
        "filter": _when(expression),
        "status_code": status,
        "body_format_override": {
            "json_format": {
                "error_code": f"{prefix}{code}",
                "error_msg": message,
                "request_id": "%REQ(X-REQUEST-ID)%",
            },
            "omit_empty_values": True,
            "content_type": "application/json",
        },
    }


def _details(start: str) -> str:
    return f'response.code_details.startsWith("{start}")'


def local_replies() -> dict[str, object]:
    """HCM ``local_reply_config``; the first mapper that fits decides."""
    control_plane = f'xds.cluster_name == "{names.CONTROL_PLANE}"'
    token_help = "Get a token from POST /v3/auth/tokens."  # noqa: S105
    refused = "jwt_authn_access_denied"
    mappers = [
        # Our own direct responses have their body already.
        {
            "filter": _when(_details("direct_response")),
            "body_format_override": {
                "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"},
                "content_type": "application/json",
            },
        },
        _reply(
            f"{_details(f'{refused}{{Jwt_is_missing')} || "
            f'{_details(refused)} && request.headers["{names.TOKEN_HEADER}"] == ""',
            401,
            "0201",
            f"The X-Auth-Token header is missing. {token_help}",
        ),
        _reply(
            _details(f"{refused}{{Jwt_is_expired"),
            401,
            "0202",
            f"The token has expired. {token_help}",
        ),
        _reply(_details(refused), 401, "0203", f"The token is not valid. {token_help}"),
        _reply(
            _details("upgrade_failed"),
            403,
            "APIG.0201",
            "The connection cannot be upgraded here. WebSockets are for the address of a service.",
        ),
        _reply(
            f"{control_plane} && response.code >= 500",
            503,
            "4302",
            "The control plane does not answer; predictions go on. "
            "Try again in a moment; `modelyard status` on the server tells more.",
        ),
        _reply(
            "response.code == 404",
            404,
            "4204",
            "The service does not exist or has been deleted. Check the service id in the URL.",
        ),
        _reply(
            f"{control_plane} && response.code == 413",
            413,
            "4104",
            f"The request body is larger than {names.CONTROL_PLANE_BODY_MIB} MB.",
        ),
        _reply(
            "response.code == 413",
            413,
            "4104",
            "The request body is too large for this service (12 MB by default).",
        ),
        _reply(
            "response.code == 504",
            504,
            "4503",
            "The model did not answer in time. Make the prediction smaller, or allow more time.",
        ),
        _reply(
            "response.code == 408",
            408,
            "4205",
            "The request did not arrive completely in time.",
        ),
        _reply("response.code == 501", 501, "APIG.0201", "This encoding is not supported."),
        _reply("response.code == 426", 426, "APIG.0201", "Use HTTP/1.1 or HTTP/2."),
        _reply(
            "response.code >= 500",
            503,
            "4302",
            "No instance of the service could answer. Try again; the service's events tell more.",
        ),
        _reply("response.code == 431", 431, "APIG.0201", "The request headers are too large."),
        _reply("response.code == 414", 414, "APIG.0201", "The request URL is too long."),
        _reply("response.code >= 400", 400, "APIG.0201", "The request is malformed."),
    ]
    return {"mappers": mappers}
