"""The batch part of a service's configuration: what is read, sent and written (inference.md §2).

Pure; what only other parts know (forms of object paths, how a ``mapping_rule`` is read) comes in by
``BatchRules``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from modelyard.domain.body_reader import Fields, shown
from modelyard.errors import InvalidRequest, Problem

JsonObject = dict[str, Any]

REAL_TIME, BATCH = "real-time", "batch"
MANIFEST = "ManifestFile"
FILE, CSV = "file", "csv"
BATCH_FIELDS = (
    "src_path",
    "dest_path",
    "req_uri",
    "mapping_type",
    "mapping_rule",
    "src_type",
)
_FORM, _JSON = "multipart/form-data", "application/json"
_NO_PARAMETERS = "3514"
_SHOW = "See the model's apis with GET /v1/{project_id}/models/{model_id}."


@dataclass(frozen=True, slots=True)
class ApiFacts:
    """One api of a model (models.md §3.1). ``schema``: of its request; empty: none declared."""

    url: str
    method: str
    content_type: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BatchJob:
    """What every run of a batch service does.

    ``src_path``: ``obs://bucket/prefix/``, or a ``.manifest`` file where ``src_type`` is
    ``ManifestFile``. ``content_type`` and ``field`` (of the form, for ``file``) follow from the
    model's api at ``req_uri``.
    """

    src_path: str
    dest_path: str
    req_uri: str
    mapping_type: str
    mapping_rule: JsonObject | None = None
    src_type: str = ""
    content_type: str = _JSON
    field: str = ""

    def sent(self) -> JsonObject:
        """The members as the API takes and shows them (services.md §9.2)."""
        body: JsonObject = {
            "src_path": self.src_path,
            "dest_path": self.dest_path,
            "req_uri": self.req_uri,
            "mapping_type": self.mapping_type,
        }
        if self.mapping_rule is not None:
            body["mapping_rule"] = self.mapping_rule
        return body | ({"src_type": self.src_type} if self.src_type else {})

    def to_json(self) -> JsonObject:
        """As stored in a revision, beside the other members of a version."""
        return self.sent() | {"request_type": self.content_type, "request_field": self.field}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``."""
        return cls(
            src_path=body["src_path"],
            dest_path=body["dest_path"],
            req_uri=body["req_uri"],
            mapping_type=body["mapping_type"],
            mapping_rule=body.get("mapping_rule"),
            src_type=body.get("src_type", ""),
            content_type=body["request_type"],
            field=body["request_field"],
        )


class BatchRules(Protocol):
    """How paths and rules are read."""

    def path(self, text: str, field: str) -> str:
        """Any documented form as ``obs://bucket/key``, no slash at the end.

        Raises ``InvalidRequest`` with its problems, which name ``field``.
        """
        ...

    def clashes(self, job: BatchJob) -> Sequence[Problem]:
        """What is wrong with source and destination together; fields without their path."""
        ...

    def misfits(self, rule: JsonObject, schema: Mapping[str, Any]) -> Sequence[str]:
        """Why ``rule`` cannot be followed, or contradicts the api's ``schema``."""
        ...


def read_job(
    fields: Fields, label: str, apis: Sequence[ApiFacts] | None, rules: BatchRules
) -> BatchJob | None:
    """The batch members of a version; None when one is unusable (problems are noted).

    ``label`` and ``apis``: of the model; None where it is unknown, which is a problem already.
    """
    before = len(fields.problems.found)
    src_type = _src_type(fields)
    source = _source(fields, src_type, rules)
    destination = _folder(fields, "dest_path", "Send the folder for the results.", rules)
    kinds = (FILE, CSV)
    kind = fields.text("mapping_type", required=True, choices=kinds, remedy="Send file or csv.")
    rule = fields.mapping("mapping_rule", required=True) if kind == CSV else None
    uri = fields.text("req_uri", required=True, remedy="Send an api's url, / for built-in engines.")
    api = _api(fields, uri, label, apis) if uri is not None else None
    field = ""
    if api is not None and kind == FILE:
        field = _form_field(fields, api, label)
    if api is not None and rule is not None:
        _judge_rule(fields, rule, api, label, rules)
    if len(fields.problems.found) > before:
        return None
    assert source and destination and uri and kind and src_type is not None
    type_ = _FORM if kind == FILE else _JSON
    job = BatchJob(source, destination, uri, kind, rule, src_type, type_, field)
    clashes = rules.clashes(job)
    for problem in clashes:
        name = fields.name(problem.field)
        fields.problems.invalid(name, problem.reason, problem.remedy, problem.code)
    return None if clashes else job


def _src_type(fields: Fields) -> str | None:
    value = fields.body.get("src_type")
    if value in (None, "", MANIFEST):
        return value or ""
    reason = f"{shown(value)} is not allowed"
    remedy = f"Send {MANIFEST}, or leave it out to read the files below src_path."
    fields.problems.invalid(fields.name("src_type"), reason, remedy)
    return None


def _source(fields: Fields, src_type: str | None, rules: BatchRules) -> str | None:
    if src_type != MANIFEST:
        return _folder(fields, "src_path", "Send the folder to read.", rules)
    path = _path(fields, "src_path", "Send the .manifest file to read.", rules)
    if path is not None and not path.endswith(".manifest"):
        reason = f"{shown(path)} is no .manifest file, as src_type {MANIFEST} needs"
        remedy = "Name one manifest file, or leave src_type out."
        fields.problems.invalid(fields.name("src_path"), reason, remedy, "3572")
        return None
    return path


def _folder(fields: Fields, key: str, remedy: str, rules: BatchRules) -> str | None:
    path = _path(fields, key, remedy, rules)
    return None if path is None else f"{path.rstrip('/')}/"


def _path(fields: Fields, key: str, remedy: str, rules: BatchRules) -> str | None:
    text = fields.text(key, required=True, remedy=remedy)
    if text is None:
        return None
    try:
        return rules.path(text, fields.name(key))
    except InvalidRequest as error:
        fields.problems.found += error.problems
        return None


def _api(fields: Fields, uri: str, label: str, apis: Sequence[ApiFacts] | None) -> ApiFacts | None:
    if apis is None:
        return None
    name = fields.name("req_uri")
    own = [api for api in apis if api.url == uri]
    if not own:
        urls = ", ".join(sorted({api.url for api in apis})) or "none"
        reason = f"{shown(uri)} is not the url of an api of {label}"
        fields.problems.invalid(name, reason, f"Send one of its urls: {urls}.")
        return None
    api = next((one for one in own if one.method.lower() == "post"), None)
    if api is None:
        reason = f"the api {uri} of {label} takes {own[0].method.upper()}"
        fields.problems.invalid(name, reason, "A batch service sends POST; name such an api.")
        return None
    if not api.schema:
        fields.problems.invalid(
            name,
            f"the api {uri} of {label} declares no request parameters, which batch services need",
            "Import the model with content type and schema of the request in its apis.",
            _NO_PARAMETERS,
        )
        return None
    return api


def _form_field(fields: Fields, api: ApiFacts, label: str) -> str:
    """The one parameter of type file that the api takes; "" when it has another shape."""
    name = fields.name("mapping_type")
    if _bare(api.content_type) != _FORM:
        reason = f"the api {api.url} of {label} takes {api.content_type}, and file sends {_FORM}"
        fields.problems.invalid(name, reason, f"Use csv, or declare {_FORM} in the model's apis.")
        return ""
    properties = api.schema.get("properties")
    parameters = properties if isinstance(properties, dict) else {}
    kinds = {str(key): _kind(value) for key, value in parameters.items()}
    if len(kinds) == 1 and set(kinds.values()) == {"file"}:
        return next(iter(kinds))
    listed = ", ".join(f"{key} ({kind})" for key, kind in kinds.items()) or "none"
    reason = f"file needs an api with exactly one parameter, of type file; {label} has {listed}"
    fields.problems.invalid(name, reason, "Use csv, or another model or req_uri.")
    return ""


def _judge_rule(
    fields: Fields, rule: JsonObject, api: ApiFacts, label: str, rules: BatchRules
) -> None:
    if _bare(api.content_type) != _JSON:
        reason = f"the api {api.url} of {label} takes {api.content_type}, and csv sends {_JSON}"
        remedy = f"Use file, or declare {_JSON} in the model's apis."
        fields.problems.invalid(fields.name("mapping_type"), reason, remedy)
        return
    for misfit in rules.misfits(rule, api.schema):
        remedy = f"Correct the rule after the api's request schema. {_SHOW}"
        fields.problems.invalid(fields.name("mapping_rule"), misfit.rstrip("."), remedy)


def _bare(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _kind(schema: object) -> str:
    return str(schema.get("type", "object")) if isinstance(schema, dict) else "object"
