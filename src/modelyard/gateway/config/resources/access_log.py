"""What Envoy writes down of each prediction: one line of fixed fields (pure).

Nothing in a line comes from a client or from a model: Envoy makes the request id itself, the
instance is named by the endpoint's metadata, and the revision by the route.
"""

from __future__ import annotations

from pathlib import Path

from envoy.config.accesslog.v3 import accesslog_pb2  # noqa: F401  registers types for ParseDict
from envoy.extensions.access_loggers.file.v3 import file_pb2  # noqa: F401

from modelyard.gateway.config.resources import names

_TYPES = "type.googleapis.com/envoy.extensions.access_loggers"

FLUSH_MS = 200
"""How long a line may wait in Envoy's memory."""

BREAK_MARK = "!"
"""Begins the line of a connection that broke under a prediction; the cluster's name follows."""

# Cluster first: whoever looks for a service looks for the beginnings of lines.
_PREDICTION = " ".join(
    (
        "%UPSTREAM_CLUSTER%",
        "%EMIT_TIME(%s%3f)%",
        "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
        "%RESPONSE_CODE%",
        "%RESPONSE_FLAGS%",
        "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        f"%RESP({names.REVISION_HEADER})%",
        f"%UPSTREAM_METADATA({names.ENDPOINT_METADATA}:{names.INSTANCE})%",
        "%REQ(X-REQUEST-ID)%",
        "%ROUTE_NAME%\n",
    )
)
_BREAK = f"{BREAK_MARK}%UPSTREAM_CLUSTER% %EMIT_TIME(%s%3f)% %RESPONSE_FLAGS%\n"


def _file(path: Path, line: str) -> dict[str, object]:
    return {
        "@type": f"{_TYPES}.file.v3.FileAccessLog",
        "path": str(path),
        "log_format": {"text_format_source": {"inline_string": line}},
    }


def predictions(path: Path) -> dict[str, object]:
    """The log of every prediction, whoever answered it, and of little else.

    A prediction has a verified token, and is forwarded, which takes the scope header from it; or
    it fails in the gateway, as when a service has no version to answer. Asking for the route's
    name instead would be plainer, but costs several times as much as writing the line.
    """
    verified = {
        "filter": names.JWT_FILTER,
        "path": [{"key": names.CLAIMS}],
        "value": {"present_match": True},
    }
    failed = {"op": "GE", "value": {"default_value": 500, "runtime_key": "unused"}}
    forwarded = {"name": names.SCOPE_HEADER, "present_match": False}
    return {
        "name": "predictions",
        "filter": {
            "and_filter": {
                "filters": [
                    {"metadata_filter": {"matcher": verified, "match_if_key_not_found": False}},
                    {
                        "or_filter": {
                            "filters": [
                                {"header_filter": {"header": forwarded}},
                                {"status_code_filter": {"comparison": failed}},
                            ]
                        }
                    },
                ]
            }
        },
        "typed_config": _file(path, _PREDICTION),
    }


def breaks(path: Path) -> dict[str, object]:
    """The log of tries whose connection broke after it had been made.

    Not of WebSockets (101): the end of theirs is no break.
    """
    broken = {"response_flag_filter": {"flags": ["UC", "UR", "UPE"]}}
    upgraded = {"default_value": 101, "runtime_key": "unused"}
    ordinary = {"status_code_filter": {"comparison": {"op": "NE", "value": upgraded}}}
    return {
        "name": "breaks",
        "filter": {"and_filter": {"filters": [broken, ordinary]}},
        "typed_config": _file(path, _BREAK),
    }
