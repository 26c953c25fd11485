"""Revisions and the past of a service, as the API shows them (ours); pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.api.views.versions import config_item
from modelyard.domain.canary.request_counts import RequestRecord
from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.revision import diff
from modelyard.store.service.revisions import Period, RevisionRecord
from modelyard.store.tables.model import Model

Json = dict[str, Any]
Models = Mapping[str, Model]


def revision(record: RevisionRecord, models: Models) -> Json:
    """One revision. ``result``, ``update_time`` and ``reason`` are those of its update log."""
    body: Json = {
        "number": record.number,
        "created_at": record.created_at,
        "created_by": record.created_by,
        "load_balancer_policy": record.content.policy.value,
        "rollout": record.content.rollout.to_json(),
        "config": config(record.content.config, models),
    }
    if record.origin is not None:
        body["origin"] = record.origin
    if record.update_time is not None:
        body |= {"update_time": record.update_time, "result": record.result}
    if record.reason:
        body["reason"] = record.reason
    return body


def config(versions: Sequence[VersionConfig], models: Models) -> list[Json]:
    """A configuration, with the names of the models that still exist."""
    return [config_item(version, models.get(version.model_id)) for version in versions]


def comparison(old: RevisionRecord, new: RevisionRecord) -> Json:
    """What differs between two revisions."""
    return {
        "from": old.number,
        "to": new.number,
        "changes": [change.to_json() for change in diff(old.content, new.content)],
    }


def served(
    at: int, period: Period | None, versions: Sequence[VersionConfig], models: Models
) -> Json:
    """What answered at a moment; ``revision`` null: nothing did."""
    return {
        "at": at,
        "revision": period.revision if period else None,
        "since": period.since if period else None,
        "until": period.until if period else None,
        "config": config(versions, models),
    }


def request(record: RequestRecord, model: Model | None) -> Json:
    """One prediction, led back to the instance and the revision that answered it."""
    return {
        "request_id": record.request_id,
        "service_id": record.service_id,
        "at": record.at,
        "duration_ms": record.duration_ms,
        "status": record.status,
        "flags": list(record.flags),
        "attempts": record.attempts,
        "revision": record.revision,
        "model_id": record.model_id,
        "model_name": model.name if model else "",
        "model_version": model.version if model else "",
        "variant": record.variant,
        "instance_id": record.instance_id,
    }
