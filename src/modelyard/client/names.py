"""Find ids by name, and build a ``config`` from the words of a command line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard.client.api_client import Client
from modelyard.client.documents import Document
from modelyard.client.failures import ApiFailure, ClientError

DEFAULT_FLAVOR = "modelarts.vm.cpu.2u"

BATCH_FIELDS = (
    "src_path",
    "dest_path",
    "req_uri",
    "mapping_type",
    "mapping_rule",
    "src_type",
)
"""The fields of a version that describe the job of a batch service (services.md §3.4)."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Choice:
    """``NAME:VERSION[=WEIGHT][xCOUNT]`` as given on the command line."""

    model: str
    weight: int | None
    count: int | None


def parse_choice(text: str) -> Choice:
    """Raises ``ClientError`` for what has another form."""
    model, equals, rest = text.partition("=")
    found = re.fullmatch(r"(\d{1,3})?(?:x(\d{1,3}))?", rest)
    if not model or found is None or (equals and not rest):
        raise ClientError(
            f"{text!r} does not name a model version.",
            "Write NAME:VERSION, NAME:VERSION=WEIGHT or NAME:VERSION=WEIGHTxCOUNT "
            "(for example iris:0.0.1=70x2).",
        )
    weight, count = found.groups()
    return Choice(model, int(weight) if weight else None, int(count) if count else None)


def shared_weights(choices: Sequence[Choice]) -> list[int]:
    """A weight for each; when none is given they share 100 evenly.

    Raises ``ClientError`` when only some are given.
    """
    given = [choice.weight for choice in choices if choice.weight is not None]
    if len(given) == len(choices):
        return given
    if given:
        raise ClientError(
            "Some model versions have a weight and some have none.",
            "Give every version a weight (they sum to 100), or none at all.",
        )
    share, more = divmod(100, len(choices))
    return [share + (1 if index < more else 0) for index in range(len(choices))]


def find_service(client: Client, name_or_id: str) -> Document:
    """The service's details. Raises ``ClientError`` when there is none."""
    if _UUID.fullmatch(name_or_id):
        try:
            return client.project("GET", f"/services/{name_or_id}")
        except ApiFailure as failure:
            if failure.status != 404:
                raise
    for service in client.pages("/services", "services", {"service_name": name_or_id}):
        if service.text("service_name") == name_or_id:
            return client.project("GET", f"/services/{service.text('service_id')}")
    raise ClientError(
        f"There is no service {name_or_id!r} in this project.",
        "`modelyard service list` shows those there are.",
    )


def find_model(client: Client, name_or_id: str) -> Document:
    """By id, by ``NAME:VERSION``, or by ``NAME``: its newest version that is published."""
    if _UUID.fullmatch(name_or_id):
        return client.project("GET", f"/models/{name_or_id}")
    name, _, version = name_or_id.partition(":")
    found = [
        model
        for model in client.pages("/models", "models", {"model_name": name, "exact_match": "true"})
        if model.text("model_name") == name and version in ("", model.text("model_version"))
    ]
    if not version:
        found = [model for model in found if model.text("model_status") == "published"] or found
    if not found:
        raise ClientError(
            f"There is no model {name_or_id!r} in this project.",
            "`modelyard model list` shows those there are; `modelyard model import` adds one.",
        )
    return max(found, key=lambda model: version_key(model.text("model_version")))


def is_remote(path: str) -> bool:
    """Whether ``path`` names something in the object store."""
    return path.startswith(("obs://", "s3://"))


def version_key(version: str) -> tuple[int, ...]:
    """Orders ``0.0.10`` behind ``0.0.9``."""
    return tuple(int(part) if part.isdigit() else -1 for part in version.split("."))


def build_config(
    client: Client,
    choices: Sequence[Choice],
    flavor: str | None,
    envs: dict[str, str],
    present: Sequence[Document] = (),
) -> list[dict[str, object]]:
    """The ``config`` array (services.md §3.3).

    A version that ``present`` (the service's config now) already has keeps its count, flavour and
    environment where nothing else was said. Whatever its model, a batch service keeps its job.
    """
    job = {key: entry.raw[key] for entry in present[:1] for key in BATCH_FIELDS if key in entry}
    kept = {entry.text("model_id"): entry for entry in present}
    config: list[dict[str, object]] = []
    for choice, weight in zip(choices, shared_weights(choices), strict=True):
        model_id = find_model(client, choice.model).text("model_id")
        old = kept.get(model_id, Document({}))
        entry: dict[str, object] = {
            **{key: old.raw[key] for key in _KEPT if key in old},
            "model_id": model_id,
            "weight": weight,
            "specification": flavor or old.text("specification") or DEFAULT_FLAVOR,
            "instance_count": choice.count or old.number("instance_count") or 1,
            **job,
        }
        if envs:
            entry["envs"] = {**old.part("envs").raw, **envs}
        config.append(entry)
    return config


_KEPT = (
    "custom_spec",
    "envs",
    "cluster_id",
    "pool_name",
    "additional_properties",
    "affinity",
    "deploy_timeout_in_seconds",
)


def read_json(text: str, what: str) -> object:
    """JSON given directly, or in a file as ``@path``. Raises ``ClientError``."""
    source = what
    if text.startswith("@"):
        source = text[1:]
        try:
            text = Path(source).read_text(encoding="utf-8")
        except OSError as error:
            raise ClientError(f"{source} cannot be read: {error.strerror}.") from error
    try:
        value: object = json.loads(text)
    except ValueError as error:
        raise ClientError(
            f"{source} is not valid JSON: {error}.", "Use @FILE to read it from a file."
        ) from error
    return value


def read_config(text: str) -> list[object]:
    """A ``config`` array: itself, or as the member of an object. Raises ``ClientError``."""
    value = read_json(text, "--config")
    if isinstance(value, dict) and "config" in value:
        value = value["config"]
    if not isinstance(value, list):
        raise ClientError(
            "--config must hold a JSON array of model versions.",
            "See `modelyard service show NAME --json` for the form.",
        )
    return value


def read_envs(pairs: Sequence[str]) -> dict[str, str]:
    """``NAME=value`` pairs. Raises ``ClientError``."""
    envs = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise ClientError(f"{pair!r} is not an environment variable.", "Write NAME=value.")
        envs[name] = value
    return envs


_UNITS = {"m": "MINUTES", "h": "HOURS", "d": "DAYS"}


def read_schedule(text: str) -> list[dict[str, object]]:
    """``90m``, ``2h``, ``1d`` or ``never`` as a ``schedule`` (services.md §6)."""
    if text == "never":
        return []
    found = re.fullmatch(r"(\d+)([mhd])", text)
    if found is None:
        raise ClientError(f"{text!r} is not a time to stop after.", "Write 90m, 2h, 1d or never.")
    return [{"type": "stop", "time_unit": _UNITS[found[2]], "duration": int(found[1])}]
