"""Reading ``config``: the model versions of a service (services.md §3.3); pure."""

from __future__ import annotations

from modelyard.domain.admission.custom_spec import read_specification
from modelyard.domain.admission.requests import Facts, ModelFacts
from modelyard.domain.admission.version_properties import read_properties
from modelyard.domain.body_reader import Fields, Problems
from modelyard.domain.service.affinity import read_affinity
from modelyard.domain.service.batch_job import BATCH, BATCH_FIELDS, BatchJob, read_job
from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.pools import PoolChoice, check_usable, read_pools

# Keys of batch and edge services, void in a real-time one (services.md §3.3).
_OTHER_KINDS = (*BATCH_FIELDS, "nodes")
FIELDS = (
    "model_id",
    "weight",
    "specification",
    "instance_count",
    "envs",
    "custom_spec",
    "cluster_id",
    "pool_name",
    "additional_properties",
    "deploy_timeout_in_seconds",
    "affinity",
)
CONFIG_LIMIT = 100
"""Versions one service may have."""
_WHOLE = 100


def read_config(
    service: Fields, facts: Facts, service_pool: PoolChoice, *, required: bool, kind: str
) -> tuple[VersionConfig, ...] | None:
    """The versions of a service; None when absent or unusable (problems are noted).

    ``kind``: its ``infer_type``. ``service_pool``: the pool of versions that name none themselves
    (services.md §3.5).
    """
    problems = service.problems
    items = service.array("config", required=required)
    if items is None:
        return None
    if not items:
        problems.missing("config", "Send at least one model version.")
        return None
    if len(items) > CONFIG_LIMIT:
        problems.invalid("config", f"has {len(items)} elements", f"Send at most {CONFIG_LIMIT}.")
        return None
    if kind == BATCH and len(items) > 1:
        reason = f"has {len(items)} elements"
        problems.invalid("config", reason, "A batch service has one: send a service for each.")
        return None
    versions = [
        _read_item(item, f"config[{i}]", facts, service_pool, problems, kind)
        for i, item in enumerate(items)
    ]
    if kind != BATCH:
        _judge_together(items, facts, problems)
    if any(version is None for version in versions):
        return None
    return tuple(version for version in versions if version is not None)


def _read_item(
    item: object, path: str, facts: Facts, service_pool: PoolChoice, problems: Problems, kind: str
) -> VersionConfig | None:
    if not isinstance(item, dict):
        problems.invalid(path, "is not an object", "Send model_id, weight, specification…")
        return None
    fields = Fields(item, path, problems)
    fields.only((*FIELDS, *_OTHER_KINDS), f"Known fields: {', '.join(fields_of(kind))}.")
    before = len(problems.found)
    model_id = _model_id(fields, facts, kind)
    weight: int | None = _WHOLE
    if kind != BATCH:
        weight = fields.integer("weight", low=0, high=100, required=True)
    own = read_pools(fields, facts.pools)
    check_usable(own, problems)
    choice = own if own.speaks else service_pool
    specification, custom_spec = read_specification(fields, choice)
    count = fields.integer("instance_count", low=1, high=facts.max_instances, required=True)
    envs = _envs(fields)
    timeout = fields.integer("deploy_timeout_in_seconds", low=180, high=7200)
    affinity = read_affinity(fields, choice)
    properties = read_properties(fields, choice, weight)
    job = _job(fields, facts) if kind == BATCH else None
    if len(problems.found) > before:
        return None
    assert model_id and specification and weight is not None and count is not None
    return VersionConfig(
        model_id=model_id,
        specification=specification,
        instance_count=count,
        weight=weight,
        envs=envs,
        custom_spec=custom_spec,
        deploy_timeout_s=timeout or facts.default_deploy_timeout_s,
        max_surge=1.0 if properties.max_surge is None else properties.max_surge,
        max_unavailable=properties.max_unavailable or 0.0,
        grace_s=facts.default_grace_s if properties.grace_s is None else properties.grace_s,
        additional_properties=properties.sent,
        shadow=properties.shadow or 0,
        pool=choice.pool.ref if choice.pool else None,
        cluster_id=own.cluster_id,
        pool_name=own.pool_name,
        persistent_volumes=properties.persistent_volumes,
        log_volumes=properties.log_volumes,
        affinity=affinity,
        batch=job,
    )


def fields_of(kind: str) -> tuple[str, ...]:
    """The members of a version that mean something for that ``infer_type``."""
    if kind != BATCH:
        return FIELDS
    return (*(key for key in FIELDS if key != "weight"), *BATCH_FIELDS)


def _job(fields: Fields, facts: Facts) -> BatchJob | None:
    named = fields.body.get("model_id")
    model = facts.models.get(named) if isinstance(named, str) else None
    assert facts.batch is not None, "who reads batch services says how"
    label, apis = (model.label, model.apis) if model else ("", None)
    return read_job(fields, label, apis, facts.batch)


def _model_id(fields: Fields, facts: Facts, kind: str) -> str | None:
    model_id = fields.text("model_id", required=True, remedy="Send the id of a published model.")
    if model_id is None:
        return None
    name = fields.name("model_id")
    model = facts.models.get(model_id)
    if model is None:
        fields.problems.unknown(
            name,
            f"model {model_id[:64]!r} does not exist",
            "List the models for valid ids.",
            "3507",
        )
        return None
    _judge_model(name, model, fields.problems, kind)
    return model_id


def _judge_model(name: str, model: ModelFacts, problems: Problems, kind: str) -> None:
    label = model.label
    if model.status != "published":
        problems.invalid(
            name, f"model {label} is {model.status}", "Use a model that is published.", "3515"
        )
    if kind not in model.install_type:
        allowed = ", ".join(model.install_type)
        problems.invalid(
            name,
            f"model {label} cannot be used for {kind} services",
            f"Its install_type is {allowed}; import it with {kind}.",
            "3589",
        )


def _envs(fields: Fields) -> dict[str, str]:
    envs = fields.mapping("envs") or {}
    name = fields.name("envs")
    good: dict[str, str] = {}
    for key, value in envs.items():
        if not key or "=" in key or "\0" in key:
            fields.problems.invalid(name, f"{key[:64]!r} is not a variable's name", "Rename it.")
        elif not isinstance(value, str) or "\0" in value:
            fields.problems.invalid(f"{name}.{key[:64]}", "is not a string", "Send a string.")
        else:
            good[key] = value
    return good


def _judge_together(items: list[object], facts: Facts, problems: Problems) -> None:
    """What only the versions together can break: the sum of weights, a version named twice."""
    objects = [item for item in items if isinstance(item, dict)]
    silent = Problems()
    weights = [Fields(item, "", silent).integer("weight", low=0, high=100) for item in objects]
    known = [weight for weight in weights if weight is not None]
    if len(known) == len(items) and sum(known) != 100:
        problems.invalid(
            "config[*].weight", f"the weights sum to {sum(known)}", "Make them sum to 100."
        )
    seen: set[object] = set()
    for index, item in enumerate(objects):
        model_id = item.get("model_id")
        if not isinstance(model_id, str) or model_id not in facts.models:
            continue
        model = facts.models[model_id]
        if (model.name, model.version) in seen:
            problems.invalid(
                f"config[{index}].model_id",
                f"[{model.name} {model.version}] is there twice",
                "Name each model version once.",
                "3516",
            )
        seen.add((model.name, model.version))
