"""A change together with what it would lead to: what a preview is told from; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelyard.domain.preview.pool_usage import PoolUse
from modelyard.domain.preview.simulation import Trace
from modelyard.domain.preview.start_times import StartTime
from modelyard.domain.rollout.state import Desired, Observed
from modelyard.domain.service.revision import Change
from modelyard.domain.service.rollout_policy import Guard
from modelyard.errors import Problem


@dataclass(frozen=True, slots=True)
class ModelName:
    """How a model is called."""

    name: str
    version: str

    @property
    def label(self) -> str:
        """As events write it."""
        return f"[{self.name} {self.version}]"


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """``before`` and ``after``: the desired state without and with the change, at ``now`` (ms).

    ``status``: the service's; ``asked``: the status that is asked for, or empty. ``present``: the
    number of the revision asked for last; ``revision``: that of the new one, None when the
    configuration is left alone; ``stored``: it waits for the next start; ``origin``: the revision
    it brings back. ``under_way``: an update of the service runs. ``started_for``: the revision of
    each present instance. ``times``: how long starts take, by model. ``run``: what becomes of a
    batch service's run, in words; its instances have work instead of traffic.
    """

    before: Desired
    after: Desired
    observed: Observed
    now: int
    trace: Trace
    status: str
    asked: str = ""
    present: int = 0
    revision: int | None = None
    stored: bool = False
    origin: int | None = None
    under_way: bool = False
    guard: Guard | None = None
    changes: tuple[Change, ...] = ()
    uses: tuple[PoolUse, ...] = ()
    problems: tuple[Problem, ...] = ()
    started_for: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, ModelName] = field(default_factory=dict)
    times: Mapping[str, StartTime] = field(default_factory=dict)
    run: str = ""

    def label(self, model_id: str) -> str:
        """How a model is called in sentences."""
        name = self.names.get(model_id)
        return name.label if name else f"[{model_id}]"
