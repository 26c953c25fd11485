"""What is told of the limits in force, and which user ids the settings may name."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from modelyard.cli.lifecycle.status import PlatformStatus
from modelyard.runtime.limits.cgroups import Kind
from modelyard.runtime.limits.instance_limits import RECORD, InForce, read_in_force
from modelyard.settings import RuntimeSettings


def test_one_line_says_what_is_in_force() -> None:
    groups = InForce(Kind.V1, "60000-64999", ("/cg/cpu/m", "/cg/memory/m"))
    assert groups.sentence() == "cgroup v1 (cpu, memory, pids), users 60000-64999"
    assert InForce(Kind.RLIMITS).sentence() == "rlimits, the platform's own user"
    assert InForce().sentence() == "told when the platform runs"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"kind": 1, "users": "", "parents": 3}'])
def test_a_record_that_cannot_be_read_says_nothing(text: str, tmp_path: Path) -> None:
    assert read_in_force(tmp_path) == InForce()
    (tmp_path / RECORD).write_text(text)
    assert read_in_force(tmp_path) == InForce()


def test_status_has_them_with_their_warnings() -> None:
    limits = InForce(Kind.RLIMITS, warnings=("nothing holds the cores",))
    status = PlatformStatus("http://127.0.0.1:8700", None, None, False, (), limits)
    assert status.document()["limits"] == {
        "kind": "rlimits",
        "users": "",
        "warnings": ["nothing holds the cores"],
    }


def test_user_ids_are_a_range_or_none() -> None:
    assert RuntimeSettings(instance_uids="70000-70009").uid_range == range(70_000, 70_010)
    assert RuntimeSettings(instance_uids="").uid_range == range(0)
    for wrong in ("0-5", "9-3", "60000", "a-b", "-5"):
        with pytest.raises(ValidationError, match="FIRST-LAST"):
            RuntimeSettings(instance_uids=wrong)
