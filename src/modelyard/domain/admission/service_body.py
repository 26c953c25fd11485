"""Requests to create and update services: body + facts -> value or problems; pure.

All of a body is judged before anything changes, and every problem is reported (services.md §2,
§3, §10).
"""

from __future__ import annotations

import re
from typing import Any

from modelyard.domain.admission.requests import Facts, ServiceCreate, ServiceUpdate
from modelyard.domain.admission.service_properties import read_secrets, read_service_properties
from modelyard.domain.admission.version_body import read_config
from modelyard.domain.admission.websocket_upgrade import takes_websockets
from modelyard.domain.body_reader import Fields, Problems
from modelyard.domain.service.batch_job import BATCH, REAL_TIME
from modelyard.domain.service.config import Schedule, VersionConfig
from modelyard.domain.service.pools import check_present, check_usable, read_pools, remembered_pools
from modelyard.domain.service.rollout_policy import Rollout
from modelyard.domain.service.traffic import LoadBalancerPolicy
from modelyard.errors import Problem

DESCRIPTION_LIMIT = 100
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_FORBIDDEN_IN_DESCRIPTION = set("!<>+&\"'")
_INFER_TYPES = ("real-time", "batch", "edge")
_DURATION_LIMIT = 10_000
LOWEST_PRIORITY = 1

_SERVICE_FIELDS = (
    "description",
    "config",
    "schedule",
    "additional_properties",
    "load_balancer_policy",
    "service_secrets",
    "priority",
)
UPDATE_FIELDS = (*_SERVICE_FIELDS, "status")
CREATE_FIELDS = (
    *_SERVICE_FIELDS,
    "service_name",
    "infer_type",
    "workspace_id",
    "cluster_id",
    "pool_name",
    "vpc_id",
    "subnet_network_id",
    "security_group_id",
)
_NETWORK_FIELDS = ("vpc_id", "subnet_network_id", "security_group_id")
_FIXED_FIELDS = (
    *("service_name", "infer_type", "workspace_id", "cluster_id", "pool_name"),
    *_NETWORK_FIELDS,
)


def read_create(body: object, facts: Facts) -> tuple[ServiceCreate | None, list[Problem]]:
    """A valid request to deploy a service, or the problems (services.md §2.1)."""
    problems = Problems()
    fields = _root(body, problems)
    if fields is None:
        return None, problems.found
    fields.only(CREATE_FIELDS, f"Known fields: {', '.join(CREATE_FIELDS)}.")
    name = _service_name(fields)
    kind = _infer_type(fields, facts)
    description = _description(fields, forbid=True) or ""
    workspace = fields.text("workspace_id") or "0"
    if workspace != "0":
        problems.invalid("workspace_id", "does not exist", 'Use "0", the default.', "0102")
    pool = read_pools(fields, facts.pools)
    if _falls_back(fields):
        check_usable(pool, problems)
    config = read_config(fields, facts, pool, required=True, kind=kind)
    _network(fields, config)
    schedule = _schedule(fields) or ()
    _only_real_time(fields, kind)
    properties, rollout = read_service_properties(fields, facts)
    policy = _policy(fields) or LoadBalancerPolicy.ROUND_ROBIN
    priority = _priority(fields)
    secrets = read_secrets(fields)
    if problems.found or name is None or config is None:
        return None, problems.found
    return ServiceCreate(
        name=name,
        description=description,
        workspace_id=workspace,
        config=config,
        schedule=schedule[0] if schedule else None,
        additional_properties=properties,
        policy=policy,
        rollout=rollout or Rollout(),
        cluster_id=pool.cluster_id,
        pool_name=pool.pool_name,
        priority=priority or LOWEST_PRIORITY,
        secrets=secrets or (),
        infer_type=kind,
    ), []


def read_update(body: object, facts: Facts) -> tuple[ServiceUpdate | None, list[Problem]]:
    """A valid update, or the problems (services.md §3.1)."""
    problems = Problems()
    fields = _root(body, problems)
    if fields is None:
        return None, problems.found
    for key in _FIXED_FIELDS:
        if fields.has(key):
            problems.invalid(key, "cannot be changed after creation", "Leave it out.")
    known = (*UPDATE_FIELDS, *_FIXED_FIELDS)
    fields.only(known, f"Known fields: {', '.join(UPDATE_FIELDS)}.")
    description = _description(fields, forbid=False)
    status = fields.text("status", choices=("running", "stopped"))
    # Status wins over config, which is then neither judged nor kept (services.md §3.1).
    ignored = fields.has("status") or _says_nothing(fields.body.get("config"))
    config = None if ignored else _read_new_config(fields, facts)
    schedule = _schedule(fields)
    _only_real_time(fields, facts.present.infer_type)
    properties, rollout = read_service_properties(fields, facts)
    policy = _policy(fields)
    priority = _priority(fields)
    secrets = read_secrets(fields)
    if problems.found:
        return None, problems.found
    return ServiceUpdate(
        description, status, config, schedule, properties, policy, rollout, priority, secrets
    ), []


def _read_new_config(fields: Fields, facts: Facts) -> tuple[VersionConfig, ...] | None:
    pool = remembered_pools(facts.present.cluster_id, facts.present.pool_name, facts.pools)
    if _falls_back(fields):
        check_present(pool, fields.problems)
    return read_config(fields, facts, pool, required=False, kind=facts.present.infer_type)


def _falls_back(fields: Fields) -> bool:
    """Whether a version names no pool itself, so that the service's is in force."""
    config = fields.body.get("config")
    items = [item for item in config if isinstance(item, dict)] if isinstance(config, list) else []
    return any(not item.get("cluster_id") and not item.get("pool_name") for item in items)


def _root(body: object, problems: Problems) -> Fields | None:
    if not isinstance(body, dict):
        problems.invalid("body", "is not a JSON object", "Send an object of fields.", "4105")
        return None
    return Fields(body, "", problems)


def _says_nothing(config: object) -> bool:
    """OpenStack's client sends ``[{}]`` with every update that leaves the configuration alone."""
    return isinstance(config, list) and bool(config) and all(item == {} for item in config)


def _service_name(fields: Fields) -> str | None:
    remedy = "Send 1 to 64 letters, digits, '-' or '_', beginning with a letter."
    name = fields.text("service_name", required=True, remedy=remedy)
    if name is not None and not _NAME.fullmatch(name):
        fields.problems.invalid("service_name", f"{name[:80]!r} is not a valid name", remedy)
        return None
    return name


def _infer_type(fields: Fields, facts: Facts) -> str:
    """The kind of service; real-time where it is unusable, so that the rest can be judged."""
    remedy = "Send real-time or batch."
    kind = fields.text("infer_type", required=True, choices=_INFER_TYPES, remedy=remedy)
    known = (REAL_TIME, BATCH) if facts.batch else (REAL_TIME,)
    if kind is not None and kind in known:
        return kind
    if kind is not None:
        fields.problems.invalid(
            "infer_type", f"{kind} services are not supported here", remedy, "3518"
        )
    return REAL_TIME


def _only_real_time(fields: Fields, kind: str) -> None:
    """Refuse what would be without effect in a batch service (services.md §2.1, §6)."""
    if kind != BATCH:
        return
    properties = fields.body.get("additional_properties")
    known = properties if isinstance(properties, dict) else {}
    for name, given, why in (
        ("schedule", fields.body.get("schedule"), "a batch service ends when its run is over"),
        (
            "load_balancer_policy",
            fields.has("load_balancer_policy"),
            "nobody calls a batch one",
        ),
        (
            "additional_properties.rollout",
            known.get("rollout"),
            "a batch service has no traffic to move",
        ),
        (
            "additional_properties.websocket_upgrade",
            takes_websockets(known),
            "nobody calls a batch one",
        ),
    ):
        if given:
            reason = f"is of real-time services only: {why}"
            fields.problems.invalid(name, reason, "Leave it out.")


def _description(fields: Fields, *, forbid: bool) -> str | None:
    text = fields.text("description", limit=DESCRIPTION_LIMIT)
    if forbid and text and (bad := sorted(_FORBIDDEN_IN_DESCRIPTION & set(text))):
        listed = " ".join(bad)
        fields.problems.invalid("description", f"contains {listed}", "Leave these out.")
    return text


def _schedule(fields: Fields) -> tuple[Schedule, ...] | None:
    items = fields.array("schedule")
    if items is None:
        return None
    if len(items) > 1:
        fields.problems.invalid("schedule", "has several items", "Send one, or [] for none.")
        return None
    schedules = [_one_schedule(item, fields.problems) for item in items]
    return tuple(schedule for schedule in schedules if schedule is not None)


def _one_schedule(item: Any, problems: Problems) -> Schedule | None:
    if not isinstance(item, dict):
        problems.invalid("schedule[0]", "is not an object", "Send type, time_unit and duration.")
        return None
    fields = Fields(item, "schedule[0]", problems)
    fields.only(("type", "time_unit", "duration"), "Send type, time_unit and duration.")
    kind = fields.text("type", required=True, choices=("stop",), remedy="Send stop.")
    units = ("DAYS", "HOURS", "MINUTES")
    unit = fields.text("time_unit", required=True, choices=units, remedy="Send DAYS, HOURS…")
    duration = fields.integer("duration", low=1, high=_DURATION_LIMIT, required=True)
    if kind is None or unit is None or duration is None:
        return None
    return Schedule(unit, duration, kind)


def _policy(fields: Fields) -> LoadBalancerPolicy | None:
    choices = [policy.value for policy in LoadBalancerPolicy]
    name = fields.text("load_balancer_policy", choices=choices)
    return LoadBalancerPolicy(name) if name else None


def _priority(fields: Fields) -> int | None:
    return fields.integer("priority", low=LOWEST_PRIORITY, high=3)


def _network(fields: Fields, config: tuple[VersionConfig, ...] | None) -> None:
    """Own networks: void where every version runs in a dedicated pool, which has its own."""
    named = [key for key in _NETWORK_FIELDS if fields.text(key)]
    if config is not None and all(version.pool for version in config):
        return
    for key in named:
        fields.problems.invalid(key, "own networks are not supported here", "Leave it out.")
    if "vpc_id" in named and "subnet_network_id" not in named:
        fields.problems.missing("subnet_network_id", "It belongs to vpc_id; leave both out.")
