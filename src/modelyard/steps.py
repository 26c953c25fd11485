"""Names of every step that outlives a crash, and the switch that makes a process die after one.

``MODELYARD_CRASH=after:pass.record`` (or ``after:pass.record:3``, the third time) ends the process
by SIGKILL right after that step, as a power cut would. ``MODELYARD_CRASH=file:/path`` reads that
text from a file at each step, so that a running process can be armed: a missing or empty file arms
nothing. The crash tests walk the whole list, and a write to the database cannot be made without
naming its step.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

VARIABLE = "MODELYARD_CRASH"


class Step(StrEnum):
    """What is persisted, in the database or in the world, by the name tests arm it with."""

    SERVICE_CREATE = "service.create"
    SERVICE_UPDATE = "service.update"
    SERVICE_DELETE = "service.delete"
    SERVICE_TAG = "service.tag"
    PASS_LEASE = "pass.lease"  # noqa: S105
    PASS_RECORD = "pass.record"  # noqa: S105
    PASS_START_FAILED = "pass.start-failed"  # noqa: S105
    PASS_SETTLE = "pass.settle"  # noqa: S105
    PASS_RELEASE = "pass.release"  # noqa: S105
    INSTANCE_FOLDER = "instance.folder"
    INSTANCE_LIMITS = "instance.limits"
    INSTANCE_START = "instance.start"
    INSTANCE_LAUNCHED = "instance.launched"
    INSTANCE_DRAIN = "instance.drain"
    INSTANCE_STOP = "instance.stop"
    INSTANCE_REMOVE = "instance.remove"
    CONTAINER_RECORD = "container.record"
    CONTAINER_START = "container.start"
    CONTAINER_LAUNCHED = "container.launched"
    CONTAINER_DRAIN = "container.drain"
    CONTAINER_STOP = "container.stop"
    CONTAINER_REMOVE = "container.remove"
    GATEWAY_TARGETS = "gateway.targets"
    GATEWAY_PUBLISH = "gateway.publish"
    GATEWAY_WITHDRAW = "gateway.withdraw"
    HEALTH_END = "health.end"
    HEALTH_LOSS = "health.loss"
    REPORT = "report.close"
    COUNTERS = "counters.add"
    RETENTION = "retention.forget"
    LEASES_FREED = "start.leases-freed"
    ADMIN = "start.admin"
    MODEL_CREATE = "model.create"
    MODEL_DELETE = "model.delete"
    IMPORT_BEGIN = "import.begin"
    IMPORT_BUILD = "import.build"
    IMPORT_PROGRESS = "import.progress"
    IMPORT_PUBLISH = "import.publish"
    IMPORT_FAIL = "import.fail"
    ENVIRONMENT_BUILT = "environment.built"
    ENVIRONMENT_RENEWED = "environment.renewed"
    ENVIRONMENT_REMOVED = "environment.removed"
    PROJECT_CREATE = "project.create"
    USER_CREATE = "user.create"
    ROLE_GRANT = "role.grant"
    ROLE_REVOKE = "role.revoke"
    RUN_PREPARE = "run.prepare"
    RUN_POINT = "run.point"
    RUN_RECORD = "run.record"
    RUN_START = "run.start"
    RUN_END = "run.end"
    RUN_REMOVE = "run.remove"
    RUN_FORGET = "run.forget"
    BATCH_LISTED = "batch.listed"
    BATCH_SPOOL = "batch.spool"
    BATCH_CHECKPOINT = "batch.checkpoint"
    BATCH_DELIVER = "batch.deliver"
    BATCH_DELIVERED = "batch.delivered"
    BATCH_MANIFEST = "batch.manifest"
    BATCH_QUARANTINE = "batch.quarantine"
    BATCH_RESULT = "batch.result"
    TEST = "test"
    """Rows that tests and benchmarks put in place themselves."""


_reached: Counter[Step] = Counter()
_listeners: list[Callable[[Step], None]] = []


@contextmanager
def listening(listener: Callable[[Step], None]) -> Iterator[None]:
    """Tell ``listener`` of every step that is reached within the block; it may raise."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def reached(step: Step) -> None:
    """Say that ``step`` is done and would survive; does nothing unless the step is armed."""
    for listener in _listeners:
        listener(step)
    name, _, nth = _armed().removeprefix("after:").partition(":")
    if name != step:
        return
    _reached[step] += 1
    if _reached[step] == int(nth or 1):
        os.write(2, f"crash point {step}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


def _armed() -> str:
    value = os.environ.get(VARIABLE, "")
    if not value.startswith("file:"):
        return value
    try:
        return Path(value.removeprefix("file:")).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
