"""Drivers of batch runs without processes: they do what the test sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from modelyard.domain.batch.run import Address, DriverReport, Progress, Result, RunSpec
from modelyard.steps import Step, reached


@dataclass
class FakeDrivers:
    """Satisfies ``control.ports.Drivers``.

    ``alive``: runs with a driver; ``stubborn``: runs whose driver does not end when it is asked to.
    ``refusals``: starts that fail with an ``OSError``.
    """

    specs: dict[str, RunSpec] = field(default_factory=dict)
    endpoints: dict[str, list[Address]] = field(default_factory=dict)
    alive: set[str] = field(default_factory=set)
    stubborn: set[str] = field(default_factory=set)
    progress: dict[str, Progress] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    refusals: int = 0
    history: list[tuple[str, str]] = field(default_factory=list)
    _callbacks: list[Callable[[str], None]] = field(default_factory=list)

    def on_exit(self, callback: Callable[[str], None]) -> None:
        self._callbacks.append(callback)

    def report(self, task_id: str) -> DriverReport:
        return DriverReport(
            task_id in self.alive, self.progress.get(task_id), self.results.get(task_id)
        )

    async def prepare(self, spec: RunSpec) -> None:
        if spec.task_id not in self.specs:
            self.specs[spec.task_id] = spec
            reached(Step.RUN_PREPARE)

    async def point(self, task_id: str, addresses: Sequence[Address]) -> None:
        if self.endpoints.get(task_id) != list(addresses):
            self.endpoints[task_id] = list(addresses)
            reached(Step.RUN_POINT)

    async def start(self, task_id: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise OSError("no more processes")
        self.history.append(("start", task_id))
        self.alive.add(task_id)
        reached(Step.RUN_START)

    async def end(self, task_id: str, *, at_once: bool = False) -> None:
        self.history.append(("kill" if at_once else "end", task_id))
        if at_once or task_id not in self.stubborn:
            self.alive.discard(task_id)
        reached(Step.RUN_END)

    async def remove(self, task_id: str) -> None:
        if self.specs.pop(task_id, None) is not None:
            for kept in (self.endpoints, self.progress, self.results):
                kept.pop(task_id, None)
            reached(Step.RUN_REMOVE)

    def known(self) -> list[str]:
        return sorted(self.specs)

    def log_tail(self, task_id: str) -> str:
        return ""

    def finish(self, task_id: str, result: Result | None = None) -> None:
        """The driver comes to its end."""
        done = Progress(phase="done", listed=True, files_total=1, files_done=1)
        self.results[task_id] = result or Result("finished", done)
        self.lose(task_id)

    def lose(self, task_id: str) -> None:
        """The driver ends; without a result that is a crash."""
        self.alive.discard(task_id)
        for callback in self._callbacks:
            callback(task_id)
