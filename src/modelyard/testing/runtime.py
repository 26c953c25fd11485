"""A runtime without processes: instances do what the test sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from modelyard.domain.rollout.instance import InstanceReport, InstanceSpec, Phase
from modelyard.steps import Step, reached


@dataclass
class FakeRuntime:
    """Satisfies ``control.ports.Runtime``.

    ``broken``: models whose instances fail at start with that message, ``tails``: the end of what
    a model's instances write to their logs. ``losses``: how many workers an instance has lost, and
    why the last. ``ready_at_once``: started
    instances are ready at the next probe. ``drains_at_once``: a drained instance is gone at once.
    """

    broken: dict[str, str] = field(default_factory=dict)
    tails: dict[str, str] = field(default_factory=dict)
    ready_at_once: bool = True
    drains_at_once: bool = True
    specs: dict[str, InstanceSpec] = field(default_factory=dict)
    phases: dict[str, Phase] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    losses: dict[str, tuple[int, str]] = field(default_factory=dict)
    history: list[tuple[str, str]] = field(default_factory=list)
    _callbacks: list[Callable[[str], None]] = field(default_factory=list)

    async def start(self, spec: InstanceSpec) -> None:
        self.history.append(("start", spec.instance_id))
        self.specs[spec.instance_id] = spec
        if spec.model_id in self.broken:
            self.phases[spec.instance_id] = Phase.FAILED
            self.messages[spec.instance_id] = self.broken[spec.model_id]
        else:
            self.phases[spec.instance_id] = Phase.READY if self.ready_at_once else Phase.STARTING
        reached(Step.INSTANCE_START)

    async def probe(self, instance_id: str) -> InstanceReport | None:
        spec = self.specs.get(instance_id)
        if spec is None:
            return None
        losses, last_loss = self.losses.get(instance_id, (0, ""))
        number = list(self.specs).index(instance_id)
        return InstanceReport(
            instance_id=instance_id,
            service_id=spec.service_id,
            model_id=spec.model_id,
            phase=self.phases[instance_id],
            pid=10_000 + number,
            port=20_000 + number,
            message=self.messages.get(instance_id, ""),
            losses=losses,
            last_loss=last_loss,
        )

    async def drain(self, instance_id: str) -> None:
        self.history.append(("drain", instance_id))
        if instance_id in self.phases:
            self.phases[instance_id] = Phase.GONE if self.drains_at_once else Phase.DRAINING
            reached(Step.INSTANCE_DRAIN)

    async def stop(self, instance_id: str) -> None:
        self.history.append(("stop", instance_id))
        self.phases.pop(instance_id, None)
        if self.specs.pop(instance_id, None) is not None:
            reached(Step.INSTANCE_STOP)

    def log_tail(self, instance_id: str, lines: int = 20) -> str:
        spec = self.specs.get(instance_id)
        return self.tails.get(spec.model_id, "") if spec else ""

    def on_exit(self, callback: Callable[[str], None]) -> None:
        self._callbacks.append(callback)

    def kill(self, instance_id: str, message: str = "killed") -> None:
        """The instance's process ends by itself."""
        self.phases[instance_id] = Phase.GONE
        self.messages[instance_id] = message
        for callback in self._callbacks:
            callback(instance_id)

    def alive(self, model_id: str | None = None) -> list[str]:
        """Instances that are neither gone nor failed, of one model or of all."""
        return [
            instance_id
            for instance_id, phase in self.phases.items()
            if phase not in (Phase.GONE, Phase.FAILED)
            and model_id in (None, self.specs[instance_id].model_id)
        ]

    # Last, because its name hides the built-in one from the annotations below it.
    async def list(self) -> list[InstanceReport]:
        reports = [await self.probe(instance_id) for instance_id in tuple(self.specs)]
        return [report for report in reports if report is not None]
