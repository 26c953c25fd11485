"""What callers ask for, after validation: frozen values without any wire detail."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelyard.domain.service.batch_job import REAL_TIME, ApiFacts, BatchRules
from modelyard.domain.service.config import Schedule, VersionConfig
from modelyard.domain.service.pools import Pool
from modelyard.domain.service.rollout_policy import Rollout
from modelyard.domain.service.traffic import LoadBalancerPolicy

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What validation needs to know of a model (models.md §1)."""

    model_id: str
    name: str
    version: str
    status: str
    install_type: tuple[str, ...]
    apis: tuple[ApiFacts, ...] = ()

    @property
    def label(self) -> str:
        """As messages name it."""
        return f"[{self.name} {self.version}]"


@dataclass(frozen=True, slots=True)
class Present:
    """What the service to be updated says of itself already."""

    cluster_id: str = ""
    pool_name: str = ""
    additional_properties: JsonObject | None = None
    infer_type: str = REAL_TIME


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret to be mounted into the instances (services.md §2.1)."""

    secret_id: str
    mount_path: str

    def to_json(self) -> JsonObject:
        """In the documented spelling."""
        return {"secretId": self.secret_id, "mouthPath": self.mount_path}


@dataclass(frozen=True, slots=True)
class Facts:
    """The state a request is judged against.

    ``models``: those of the caller's project, by id. ``pools``: the dedicated ones. ``present``:
    the service as it is (nothing at creation). ``checks``: names of the operator's check scripts.
    ``counted``: whether the gateway counts predictions, without which there is no guard.
    ``batch``: how paths and rules of batch services are read; None: there are none here.
    """

    models: Mapping[str, ModelFacts]
    pools: tuple[Pool, ...] = ()
    present: Present = field(default_factory=Present)
    checks: Collection[str] = ()
    counted: bool = True
    max_instances: int = 5
    default_deploy_timeout_s: int = 1200
    default_grace_s: int = 60
    batch: BatchRules | None = None


@dataclass(frozen=True, slots=True)
class ServiceCreate:
    """``POST /v1/{project_id}/services`` (services.md §2)."""

    name: str
    description: str
    workspace_id: str
    config: tuple[VersionConfig, ...]
    schedule: Schedule | None
    additional_properties: JsonObject | None
    policy: LoadBalancerPolicy
    rollout: Rollout = field(default_factory=Rollout)
    cluster_id: str = ""
    pool_name: str = ""
    priority: int = 1
    secrets: tuple[Secret, ...] = ()
    infer_type: str = REAL_TIME


@dataclass(frozen=True, slots=True)
class ServiceUpdate:
    """``PUT /v1/{project_id}/services/{service_id}`` (services.md §3); None: leave untouched.

    ``schedule`` is a tuple of none or one element: ``()`` switches auto stop off.
    ``config`` is None whenever ``status`` is given: status wins (services.md §3.1).
    ``additional_properties`` replaces the whole map, and ``rollout`` is what the map now says.
    ``secrets``: ``()`` takes all away.
    """

    description: str | None = None
    status: str | None = None
    config: tuple[VersionConfig, ...] | None = None
    schedule: tuple[Schedule, ...] | None = None
    additional_properties: JsonObject | None = None
    policy: LoadBalancerPolicy | None = None
    rollout: Rollout | None = None
    priority: int | None = None
    secrets: tuple[Secret, ...] | None = None

    @property
    def configures(self) -> bool:
        """Whether it asks for another revision (services.md §8)."""
        return self.config is not None or self.policy is not None

    @property
    def describes(self) -> bool:
        """Whether anything changes that no revision holds."""
        parts = (
            self.description,
            self.schedule,
            self.additional_properties,
            self.priority,
            self.secrets,
        )
        return any(part is not None for part in parts)
