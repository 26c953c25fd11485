"""Reading ``config``: the model versions of a service (services.md §3.3, §3.4, §5.2); pure."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from modelyard.domain.config import CustomSpec, VersionConfig
from modelyard.domain.fields import Fields, JsonObject, Problems
from modelyard.domain.flavors import CUSTOM, FLAVORS, find_flavor
from modelyard.domain.requests import Facts, ModelFacts

# Keys of batch and edge services, void in a real-time one (services.md §3.3).
_OTHER_KINDS = (
    "src_path",
    "dest_path",
    "req_uri",
    "mapping_type",
    "mapping_rule",
    "src_type",
    "nodes",
)
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
_PROPERTIES = (
    "persistent_volumes",
    "log_volume",
    "max_surge",
    "max_unavailable",
    "termination_grace_period_seconds",
)
_MAX_GRACE_S = 3600
CONFIG_LIMIT = 100
"""Versions one service may have."""


def read_config(
    service: Fields, facts: Facts, *, required: bool
) -> tuple[VersionConfig, ...] | None:
    """The versions of a real-time service; None when absent or unusable (problems are noted)."""
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
    versions = [_read_item(item, i, facts, problems) for i, item in enumerate(items)]
    _judge_together(items, facts, problems)
    if any(version is None for version in versions):
        return None
    return tuple(version for version in versions if version is not None)


def _read_item(item: object, index: int, facts: Facts, problems: Problems) -> VersionConfig | None:
    path = f"config[{index}]"
    if not isinstance(item, dict):
        problems.invalid(path, "is not an object", "Send model_id, weight, specification…")
        return None
    fields = Fields(item, path, problems)
    fields.only((*FIELDS, *_OTHER_KINDS), f"Known fields: {', '.join(FIELDS)}.")
    before = len(problems.found)
    model_id = _model_id(fields, facts)
    weight = fields.integer("weight", low=0, high=100, required=True)
    specification = _specification(fields)
    count = fields.integer("instance_count", low=1, high=facts.max_instances, required=True)
    envs = _envs(fields)
    timeout = fields.integer("deploy_timeout_in_seconds", low=180, high=7200)
    _refuse_pool_fields(fields)
    properties, surge, unavailable, grace = _properties(fields)
    if len(problems.found) > before:
        return None
    assert model_id and specification and weight is not None and count is not None
    return VersionConfig(
        model_id=model_id,
        specification=specification,
        instance_count=count,
        weight=weight,
        envs=envs,
        custom_spec=_custom_spec(fields) if specification == CUSTOM else None,
        deploy_timeout_s=timeout or facts.default_deploy_timeout_s,
        max_surge=1.0 if surge is None else surge,
        max_unavailable=unavailable or 0.0,
        grace_s=facts.default_grace_s if grace is None else grace,
        additional_properties=properties,
    )


def _model_id(fields: Fields, facts: Facts) -> str | None:
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
    _judge_model(name, model, fields.problems)
    return model_id


def _judge_model(name: str, model: ModelFacts, problems: Problems) -> None:
    label = f"[{model.name} {model.version}]"
    if model.status != "published":
        problems.invalid(
            name, f"model {label} is {model.status}", "Use a model that is published.", "3515"
        )
    if "real-time" not in model.install_type:
        allowed = ", ".join(model.install_type)
        problems.invalid(
            name,
            f"model {label} cannot be used for real-time services",
            f"Its install_type is {allowed}; import it with real-time.",
            "3589",
        )


def _specification(fields: Fields) -> str | None:
    listed = ", ".join(flavor.name for flavor in FLAVORS if flavor.is_open)
    remedy = f"Send one of: {listed}."
    name = fields.text("specification", required=True, remedy=remedy)
    if name is None:
        return None
    where = fields.name("specification")
    if name == CUSTOM:
        _custom_spec(fields)
        fields.problems.invalid(where, "custom needs a dedicated resource pool", remedy)
        return None
    flavor = find_flavor(name)
    if flavor is None:
        fields.problems.invalid(where, f"{name[:64]!r} is not a known flavor", remedy)
        return None
    if not flavor.is_open:
        fields.problems.invalid(where, f"{name} must be applied for", remedy, "3518")
        return None
    return name


def _custom_spec(fields: Fields) -> CustomSpec | None:
    spec = fields.nested("custom_spec")
    if spec is None:
        if not fields.has("custom_spec"):
            fields.problems.missing(
                fields.name("custom_spec"), "Send cpu and memory with specification custom."
            )
        return None
    spec.only(("cpu", "memory", "gpu_p4", "ascend_a310", "ascend_a910"), "Send cpu and memory.")
    cpu = spec.number("cpu", low=0.01, required=True)
    memory = spec.integer("memory", low=1, required=True)
    gpu = spec.number("gpu_p4", low=0) or 0.0
    if gpu != round(gpu, 2):
        spec.problems.invalid(spec.name("gpu_p4"), "has more than two decimals", "Round it.")
    ascend = spec.integer("ascend_a310", low=0) or 0
    if gpu and ascend:
        spec.problems.invalid(
            spec.name("ascend_a310"), "comes together with gpu_p4", "Send one kind of accelerator."
        )
    if cpu is None or memory is None:
        return None
    cores = float(Decimal(str(cpu)).quantize(Decimal("0.01"), ROUND_HALF_UP))
    return CustomSpec(cores, memory, gpu, ascend)


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


def _refuse_pool_fields(fields: Fields) -> None:
    problems = fields.problems
    if cluster := fields.text("cluster_id"):
        problems.invalid(
            fields.name("cluster_id"),
            f"cluster {cluster[:64]!r} does not exist",
            "Leave it out to use the shared pool.",
            "3547",
        )
    if pool := fields.text("pool_name"):
        problems.invalid(
            fields.name("pool_name"),
            f"pool {pool[:64]!r} does not exist",
            "Leave it out to use the shared pool.",
            "50015001",
        )
    if fields.mapping("affinity"):
        problems.invalid(
            fields.name("affinity"), "needs a dedicated resource pool", "Leave it out."
        )


def _properties(
    fields: Fields,
) -> tuple[JsonObject | None, float | None, float | None, int | None]:
    """The map as sent, and the rollout limits in it; either flat or one level down (§5.2)."""
    whole = fields.mapping("additional_properties")
    if whole is None:
        return None, None, None, None
    path = fields.name("additional_properties")
    surge = unavailable = grace = None
    flat = {key: value for key, value in whole.items() if key in _PROPERTIES}
    groups = [Fields(flat, path, fields.problems)]
    for key, value in whole.items():
        if key in _PROPERTIES:
            continue
        if not isinstance(value, dict):
            fields.problems.invalid(
                f"{path}.{key[:64]}", "is not a known member", f"Send {', '.join(_PROPERTIES)}."
            )
            continue
        groups.append(Fields(value, f"{path}.{key[:64]}", fields.problems))
    for group in groups:
        group.only(_PROPERTIES, f"Send {', '.join(_PROPERTIES)}.")
        for volumes in ("persistent_volumes", "log_volume"):
            if group.array(volumes):
                group.problems.invalid(
                    group.name(volumes),
                    "takes effect only in a dedicated resource pool",
                    "Leave it out.",
                )
        surge = _above_zero(group, "max_surge") or surge
        if group.has("max_unavailable"):
            unavailable = group.number("max_unavailable", low=0)
        if group.has("termination_grace_period_seconds"):
            grace = group.integer("termination_grace_period_seconds", low=0, high=_MAX_GRACE_S)
    return whole, surge, unavailable, grace


def _above_zero(fields: Fields, key: str) -> float | None:
    value = fields.number(key, low=0)
    if value == 0:
        fields.problems.invalid(
            fields.name(key), "is 0", "Send a fraction below 1 or a count from 1 on."
        )
    return value


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
