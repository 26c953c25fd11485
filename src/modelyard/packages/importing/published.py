"""A create request and a package's config.json to what is in force (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from modelyard.errors import Problem
from modelyard.packages.catalogue import SERVED_BY
from modelyard.packages.config.apis import JsonDict, parse_apis
from modelyard.packages.config.config_json import ModelConfig
from modelyard.packages.config.images import CONTAINERS, CUSTOM
from modelyard.packages.config.requirements import POLICIES, Installation, parse_dependencies
from modelyard.packages.importing.creation import NewModel


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the create call said over the package; None and "" where it said nothing."""

    runtime: str = ""
    model_algorithm: str = ""
    apis: list[JsonDict] | None = None
    input_params: list[JsonDict] | None = None
    output_params: list[JsonDict] | None = None
    dependencies: list[JsonDict] | None = None
    dependency_policy: str = ""
    model_metrics: dict[str, float] | None = None
    initial_config: JsonDict | None = None
    container: JsonDict = field(default_factory=dict)
    source_copy: bool = True

    @classmethod
    def of(cls, new: NewModel) -> Overrides:
        """What ``new`` says."""
        return cls(
            runtime=new.runtime,
            model_algorithm=new.model_algorithm,
            apis=_documents(new.apis),
            input_params=None if new.input_params is None else list(new.input_params),
            output_params=None if new.output_params is None else list(new.output_params),
            dependencies=_documents(new.dependencies),
            dependency_policy=new.dependency_policy,
            model_metrics=new.model_metrics,
            initial_config=new.initial_config,
            container=new.container.document(),
            source_copy=new.source_copy,
        )

    @classmethod
    def load(cls, document: Mapping[str, object]) -> Overrides:
        """The inverse of ``document``."""
        return cls(**document)  # type: ignore[arg-type]

    def document(self) -> JsonDict:
        """As stored with the model until it is published."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class InForce:
    """What the published model says of itself, as JSON values."""

    runtime: str
    model_algorithm: str
    apis: list[JsonDict]
    input_params: list[JsonDict]
    output_params: list[JsonDict]
    dependencies: list[JsonDict]
    installations: tuple[Installation, ...]
    dependency_policy: str
    model_metrics: dict[str, float]
    health: JsonDict
    config: JsonDict


def in_force(config: ModelConfig, said: Overrides) -> InForce:
    """What the create call said wins over config.json (models.md §1.1)."""
    unused: list[Problem] = []
    image = config.model_type in CONTAINERS
    runtime = "" if image and config.model_type != CUSTOM else said.runtime or config.runtime
    apis = parse_apis(said.apis, "apis", unused, image=image) if said.apis else config.apis
    installations = (
        config.dependencies
        if said.dependencies is None
        else parse_dependencies(said.dependencies, "dependencies", unused)
    )
    inputs = [param for api in apis for param in api.input_params()]
    outputs = [param for api in apis for param in api.output_params()]
    health = config.container.probes.get("health")
    return InForce(
        runtime=runtime if image else runtime or SERVED_BY,
        model_algorithm=said.model_algorithm or config.model_algorithm,
        apis=[api.document() for api in apis],
        input_params=inputs if said.input_params is None else said.input_params,
        output_params=outputs if said.output_params is None else said.output_params,
        dependencies=[entry.document() for entry in installations],
        installations=installations,
        dependency_policy=said.dependency_policy or config.dependency_policy or POLICIES[0],
        model_metrics=config.metrics if said.model_metrics is None else said.model_metrics,
        health=dict(health.document()) if health else {},
        config=config.document,
    )


def _documents(parts: tuple[object, ...] | None) -> list[JsonDict] | None:
    return None if parts is None else [part.document() for part in parts]  # type: ignore[attr-defined]
