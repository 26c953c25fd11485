"""Every persisted step has a name: in the source, and in the switch that dies after one."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelyard
from modelyard.steps import Step, listening, reached

SOURCE = Path(modelyard.__file__).parent
SHARED: frozenset[Step] = frozenset()
"""Steps that more than one place persists."""

OWN_TRANSACTIONS = ("store/database.py", "store/inline_sqlite.py", "store/migrat")
"""Behind ``Database.write``, and migrations, which no operation makes."""


@functools.cache
def expressions() -> dict[Path, list[ast.expr]]:
    """Every expression in the product, by file."""
    return {
        path: [
            node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.expr)
        ]
        for path in sorted(SOURCE.rglob("*.py"))
    }


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the product, with where it stands."""
    for path, nodes in expressions().items():
        for node in nodes:
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", node


def step_of(node: ast.expr) -> Step | None:
    """The member that ``Step.NAME`` names."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return Step.__members__.get(node.attr) if node.value.id == "Step" else None
    return None


def is_database_write(call: ast.Call) -> bool:
    """``….database.write(…)``, by whatever name the database goes."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "write":
        return False
    owner = call.func.value
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    return name.lstrip("_") in ("database", "db", "store")


def test_every_write_to_the_database_names_its_step() -> None:
    found = {where: call for where, call in calls() if is_database_write(call)}
    unnamed = [
        where
        for where, call in found.items()
        if len(call.args) != 1 or step_of(call.args[0]) in (None, Step.TEST)
    ]
    assert unnamed == []
    assert len(found) > 15, "the walk finds too little: is a database called something new?"


def test_nothing_else_commits() -> None:
    """A transaction that goes round ``Database.write`` would have no name."""
    around = [
        where
        for where, call in calls()
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in ("commit", "begin", "begin_nested")
        and not where.startswith(OWN_TRANSACTIONS)
    ]
    assert around == []


def test_every_step_is_persisted_in_one_place() -> None:
    used: Counter[Step] = Counter()
    for path, nodes in expressions().items():
        # Twins in memory stand for the world, and name what happens to it again.
        if "testing" in path.parts or path.name == "steps.py":
            continue
        used.update(step for node in nodes if (step := step_of(node)) is not None)
    assert sorted(set(Step) - set(used) - {Step.TEST}) == [], "declared, never persisted"
    assert Step.TEST not in used
    assert sorted(step for step, count in used.items() if count > 1 and step not in SHARED) == []


def test_names_are_distinct_and_told_apart_by_area() -> None:
    assert len({step.value for step in Step}) == len(Step)
    assert [s for s in Step if s is not Step.TEST and s.value.count(".") != 1] == []


def test_listeners_hear_of_each_step() -> None:
    heard: list[Step] = []
    with listening(heard.append):
        reached(Step.TEST)
    reached(Step.TEST)
    assert heard == [Step.TEST]


def died(value: str, *steps: Step) -> tuple[bool, int]:
    """Whether a process armed with ``value`` died on its way, and after how many steps."""
    script = "import sys\nfrom modelyard.steps import Step, reached\n" + "".join(
        f"reached(Step.{step.name})\nprint('on', flush=True)\n" for step in steps
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "MODELYARD_CRASH": value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -9), done.stderr
    assert ("crash point" in done.stderr) is (done.returncode == -9)
    return done.returncode == -9, done.stdout.count("on")


def test_an_armed_process_dies_after_its_step(tmp_path: Path) -> None:
    arm = tmp_path / "arm"
    arm.write_text("after:test:2\n")
    assert died("after:test", Step.TEST, Step.TEST) == (True, 0)
    assert died(f"file:{arm}", Step.TEST, Step.ADMIN, Step.TEST, Step.TEST) == (True, 2)


@pytest.mark.parametrize("value", ["", "after:test:9", "after:nothing", "file:/nonexistent"])
def test_an_unarmed_process_goes_on(value: str) -> None:
    assert died(value, Step.TEST, Step.ADMIN) == (False, 2)
