"""``apis``: how a model is called (models.md §3.1), and the parameters that follow; pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from modelyard.errors import Problem
from modelyard.packages.documents import wrong_type

JsonDict = dict[str, object]

_PATH = re.compile(r"/[!-\"$->@-~]{0,1023}")


@dataclass(frozen=True, slots=True)
class Api:
    """One way to call a model. The schemas are JSON Schema objects, empty when not given."""

    url: str = "/"
    method: str = "post"
    protocol: str = "http"
    request_type: str = "application/json"
    request_schema: JsonDict = field(default_factory=dict)
    response_type: str = "application/json"
    response_schema: JsonDict = field(default_factory=dict)

    def document(self) -> JsonDict:
        """As ``apis`` of the API shows it (models.md §1.1)."""
        return {
            "url": self.url,
            "method": self.method,
            "protocol": self.protocol,
            "content_type": self.request_type,
            "input_params": self.request_schema,
            "output_params": self.response_schema,
        }

    def input_params(self) -> list[JsonDict]:
        """The parameters of a request, one for each property of its schema."""
        return self._params(self.request_schema)

    def output_params(self) -> list[JsonDict]:
        """The parameters of an answer, one for each property of its schema."""
        return self._params(self.response_schema)

    def _params(self, schema: JsonDict) -> list[JsonDict]:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return []
        return [
            {
                "url": self.url,
                "protocol": self.protocol,
                "method": self.method,
                "param_name": str(name),
                "param_type": _type_of(inner),
                "param_desc": json.dumps(inner, ensure_ascii=False),
            }
            for name, inner in properties.items()
        ]


def parse_apis(
    value: object, where: str, problems: list[Problem], *, image: bool = False
) -> tuple[Api, ...]:
    """The apis of a document; what is wrong goes to ``problems`` (3015, 3016).

    Both forms are read: ``request``/``response`` of config.json and ``input_params`` /
    ``output_params`` of the create call. Nothing given means one api at ``/``. An ``image`` may
    have several, at any path, all of one protocol.
    """
    if value in (None, "", []):
        return (Api(),)
    if not isinstance(value, list):
        problems.append(wrong_type(where, "a list", value, "3015"))
        return (Api(),)
    apis = tuple(_api(item, f"{where}[{i}]", problems, image) for i, item in enumerate(value))
    if image and len({api.protocol for api in apis}) > 1:
        reason, remedy = "mixes http and https", "A container speaks one protocol on its port."
        problems.append(Problem(where, reason, remedy, code="3016"))
    if len(apis) > 1 and not image:
        problems.append(
            Problem(where, "holds several apis", "A package has one, with url '/'.", code="3016")
        )
    return apis


def _api(item: object, where: str, problems: list[Problem], image: bool) -> Api:
    if not isinstance(item, dict):
        problems.append(wrong_type(where, "an object", item, "3015"))
        return Api()
    url = _text(item, "url", "/", where, problems)
    if image and not _PATH.fullmatch(url):
        reason, remedy = f"{url[:80]!r} is not a path", "Write one like /predict."
        problems.append(Problem(f"{where}.url", reason, remedy, code="3016"))
    if url != "/" and not image:
        reason = f"{url[:80]!r} is not the url of a package's api"
        problems.append(Problem(f"{where}.url", reason, "Write '/'.", code="3016"))
    method = _text(item, "method", "post", where, problems).lower()
    if method not in ("post", "get"):
        reason = f"{method[:40]!r} is not supported"
        problems.append(Problem(f"{where}.method", reason, "Use post or get.", code="3016"))
    # A wide-spread misspelling in real packages.
    key = "procotol" if "procotol" in item and "protocol" not in item else "protocol"
    protocol = _text(item, key, "http", where, problems).lower()
    if protocol not in ("http", "https"):
        reason = f"{protocol[:40]!r} is not supported"
        problems.append(Problem(f"{where}.{key}", reason, "Use http or https.", code="3016"))
    request_type, request = _side(item, "request", "input_params", where, problems)
    response_type, response = _side(item, "response", "output_params", where, problems)
    return Api(url, method, protocol, request_type, request, response_type, response)


def _side(
    item: JsonDict, key: str, flat_key: str, where: str, problems: list[Problem]
) -> tuple[str, JsonDict]:
    """Content type and schema of the request or the response."""
    side = item.get(key)
    if side is None and flat_key in item:
        schema = item[flat_key]
        kind = item.get("content_type") if key == "request" else None
        path = f"{where}.{flat_key}"
    elif side in (None, ""):
        return "application/json", {}
    elif not isinstance(side, dict):
        problems.append(wrong_type(f"{where}.{key}", "an object", side, "3015"))
        return "application/json", {}
    else:
        schema = side.get("data")
        kind = next((v for k, v in side.items() if k.lower() == "content-type"), None)
        path = f"{where}.{key}.data"
    if schema in (None, ""):
        schema = {}
    if not isinstance(schema, dict):
        problems.append(wrong_type(path, "an object (JSON Schema)", schema, "3015"))
        schema = {}
    # Often misspelt or untrue in real packages: shown, never enforced.
    return (kind if isinstance(kind, str) and kind else "application/json"), schema


def _text(item: JsonDict, key: str, default: str, where: str, problems: list[Problem]) -> str:
    value = item.get(key)
    if value in (None, ""):
        return default
    if not isinstance(value, str):
        problems.append(wrong_type(f"{where}.{key}", "a string", value, "3015"))
        return default
    return value.strip()


def _type_of(schema: object) -> str:
    kind = schema.get("type") if isinstance(schema, dict) else None
    return kind if isinstance(kind, str) else "object"
