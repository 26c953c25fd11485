"""Wire shapes of models (models.md §1.3, §1.4).

Members that clients decode as JSON text (``apis``, ``config``, ``model_metrics``, each
``param_desc``) always hold valid JSON: some drop the whole answer otherwise.
"""

from __future__ import annotations

import json
import platform
from typing import Any

from modelyard.packages.environments.fallback_pins import KINDS
from modelyard.packages.environments.manifest import Environment
from modelyard.store.tables.model import Model, ModelEvent

Document = dict[str, Any]

# What an instance of a package needs at least; packages do not say.
_SPECIFICATION = {"min_cpu": "1", "min_gpu": "0", "min_memory": "1024"}


def model_summary(model: Model) -> Document:
    """An item of a list."""
    return {
        "model_id": model.id,
        "model_name": model.name,
        "model_version": model.version,
        "model_type": model.model_type,
        "model_size": model.size,
        "model_status": model.status,
        "model_source": "auto" if model.source_type == "auto" else "custom",
        "source_type": model.source_type,
        "description": model.description,
        "owner": model.owner,
        "tenant": model.tenant,
        "project": model.project_id,
        "workspace_id": model.workspace_id,
        "install_type": model.install_type,
        "create_at": model.created_at,
        "tunable": False,
        "market_flag": False,
        "publishable_flag": False,
        "source_copy": "true" if model.container.get("source_copy", True) else "false",
        "subscription_id": "",
        "extra": "",
        "specification": _SPECIFICATION,
    }


def model_details(model: Model, own: Environment | None = None) -> Document:
    """One model, whole.

    Ours: ``failed_reason`` says why a failed one failed, ``findings`` where it differs from what
    its package asks for or may stumble here, and how to mend it, ``environment`` what it runs in
    (``own``, unless that is the platform's), ``port`` where an image's container listens.
    """
    details = model_summary(model) | {
        "runtime": model.runtime,
        "source_location": model.source_location,
        "source_job_id": model.source_job_id,
        "source_job_version": model.source_job_version,
        "execution_code": model.execution_code,
        "image_address": model.container.get("address", ""),
        "schema_doc": "",
        "input_params": [_param(param) for param in model.input_params],
        "output_params": [_param(param) for param in model.output_params],
        "dependencies": model.dependencies,
        "model_metrics": _text(model.model_metrics),
        "apis": _text(model.apis),
        "config": _text(model.config),
        "model_labels": [],
        "labels_map": {"labels": []},
        "model_docs": model.model_docs,
        "model_algorithm": model.model_algorithm,
        "cmd": model.container.get("cmd", ""),
        "failed_reason": model.failed_reason,
        "findings": model.findings,
        "environment": _environment(model, own),
    }
    if model.health:
        details["health"] = model.health
    if model.container:
        details["port"] = model.container["port"]
        details |= {key: probe for key, probe in model.container["probes"].items() if probe}
    return details


def _environment(model: Model, own: Environment | None) -> Document:
    """``digest`` is empty for the platform's own environment, which has no lock.

    ``size`` in bytes.
    """
    return {
        "digest": model.environment,
        "python": own.python if own else platform.python_version(),
        "policy": own.policy if own else "",
        "lock": list(own.lock) if own else [],
        "size": own.size if own else 0,
        "relaxations": [one["says"] for one in model.findings if one.get("kind") in KINDS],
    }


def event_document(event: ModelEvent) -> Document:
    """An event, as services show theirs (services.md §9.5)."""
    return {
        "event_type": event.event_type,
        "event_info": event.event_info,
        "occur_time": event.occur_time,
    }


def _param(param: Document) -> Document:
    """A parameter whose description is the JSON text of a schema, also when it was prose."""
    text = param.get("param_desc")
    if not isinstance(text, str):
        return param
    try:
        json.loads(text)
    except ValueError:
        schema = {"type": param.get("param_type", "string"), "description": text}
        return param | {"param_desc": _text(schema)}
    return param


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
