"""One model instance, as runtimes are asked for it and as they report it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Phase(StrEnum):
    """What a runtime sees of an instance.

    ``GONE``: no process, and none will come unless it is started. ``FAILED``: the process is
    up, or was, and says that it cannot serve (``message`` has the cause).
    """

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """Everything needed to start one instance; the same value starts the same instance.

    ``package_dir`` holds the folder ``model/`` (models.md §2). ``cpu`` in cores, ``memory_mb`` in
    MB. Times in seconds. ``python``: the interpreter of the package's own environment, empty for
    the platform's. ``image`` and ``container``: of a custom image (models.md §5), empty for
    packages.
    """

    instance_id: str
    service_id: str
    project_id: str
    model_id: str
    model_name: str
    model_version: str
    model_type: str
    package_dir: str
    envs: Mapping[str, str] = field(default_factory=dict)
    cpu: float = 1.0
    memory_mb: int = 2048
    request_timeout_s: float = 40.0
    body_limit: int = 12 * 1024 * 1024
    drain_grace_s: float = 60.0
    python: str = ""
    image: str = ""
    container: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """What is true of one instance now. ``message`` says why, when it failed or is gone.

    ``losses``: how often the process that holds its model has died and was replaced in place,
    ``last_loss``: why it did the last time.
    """

    instance_id: str
    service_id: str
    model_id: str
    phase: Phase
    pid: int | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    message: str = ""
    losses: int = 0
    last_loss: str = ""
