"""What callers ask for, after validation: frozen values without any wire detail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelyard.domain.config import Schedule, VersionConfig
from modelyard.domain.rollout import Rollout
from modelyard.domain.traffic import LoadBalancerPolicy

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What validation needs to know of a model (models.md §1)."""

    model_id: str
    name: str
    version: str
    status: str
    install_type: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """The state a request is judged against. ``models``: those of the caller's project, by id."""

    models: Mapping[str, ModelFacts]
    max_instances: int = 5
    default_deploy_timeout_s: int = 1200
    default_grace_s: int = 60


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


@dataclass(frozen=True, slots=True)
class ServiceUpdate:
    """``PUT /v1/{project_id}/services/{service_id}`` (services.md §3); None: leave untouched.

    ``schedule`` is a tuple of none or one element: ``()`` switches auto stop off.
    ``config`` is None whenever ``status`` is given: status wins (services.md §3.1).
    """

    description: str | None = None
    status: str | None = None
    config: tuple[VersionConfig, ...] | None = None
    schedule: tuple[Schedule, ...] | None = None
    additional_properties: JsonObject | None = None
    policy: LoadBalancerPolicy | None = None
    rollout: Rollout | None = None

    @property
    def configures(self) -> bool:
        """Whether it asks for another revision (services.md §8)."""
        return self.config is not None or self.policy is not None

    @property
    def describes(self) -> bool:
        """Whether anything changes that no revision holds."""
        parts = (self.description, self.schedule, self.additional_properties)
        return any(part is not None for part in parts)
