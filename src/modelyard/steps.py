"""Names of every step that outlives a crash, and the switch that makes a process die after one.

``MODELYARD_CRASH=after:pass.record`` (or ``after:pass.record:3``, the third time) ends the process
by SIGKILL right after that step, as a power cut would. The crash tests walk the whole list, and
a write to the database cannot be made without naming its step.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from enum import StrEnum

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
    INSTANCE_START = "instance.start"
    INSTANCE_DRAIN = "instance.drain"
    INSTANCE_STOP = "instance.stop"
    GATEWAY_PUBLISH = "gateway.publish"
    GATEWAY_WITHDRAW = "gateway.withdraw"
    HEALTH_END = "health.end"
    REPORT = "report.close"
    COUNTERS = "counters.add"
    RETENTION = "retention.forget"
    LEASES_FREED = "start.leases-freed"
    ADMIN = "start.admin"
    MODEL_CREATE = "model.create"
    MODEL_DELETE = "model.delete"
    IMPORT_BEGIN = "import.begin"
    IMPORT_PUBLISH = "import.publish"
    IMPORT_FAIL = "import.fail"
    PROJECT_CREATE = "project.create"
    USER_CREATE = "user.create"
    ROLE_GRANT = "role.grant"
    ROLE_REVOKE = "role.revoke"
    TEST = "test"
    """Rows that tests and benchmarks put in place themselves."""


_reached: Counter[Step] = Counter()


def reached(step: Step) -> None:
    """Say that ``step`` is done and would survive; does nothing unless the step is armed."""
    _, _, armed = os.environ.get(VARIABLE, "").partition(":")
    name, _, nth = armed.partition(":")
    if name != step:
        return
    _reached[step] += 1
    if _reached[step] == int(nth or 1):
        os.kill(os.getpid(), signal.SIGKILL)
