"""A container as it is ordered and as it is found, and the errors of an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


class EngineError(OSError):
    """The engine refused, failed or did not answer; the text says why."""


class LostError(EngineError):
    """The connection broke; the engine may have been started anew."""


class NoEngineError(EngineError):
    """No engine answers on this machine."""


@dataclass(frozen=True, slots=True)
class Order:
    """A container to make. ``port``: where it listens; ``cpu`` in cores; ``words``: what to start
    instead of the image's own entry point, if anything; ``volumes``: where each volume of the
    engine is mounted, by its name; ``folders``: of this machine, by where each is mounted, read
    only.
    """

    name: str
    image: str
    port: int
    labels: Mapping[str, str]
    envs: Mapping[str, str] = field(default_factory=dict)
    words: Sequence[str] = ()
    cpu: float = 1.0
    memory_mb: int = 2048
    volumes: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Container:
    """A container as it is now. ``host_port``: where its port is found on 127.0.0.1. ``pid``: of
    its first process, 0 when it does not run.
    """

    container_id: str
    name: str
    status: str
    pid: int
    host_port: int | None
    exit_code: int
    out_of_memory: bool

    @property
    def runs(self) -> bool:
        return self.status in ("running", "paused")
