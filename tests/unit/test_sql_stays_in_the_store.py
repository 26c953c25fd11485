"""Only the store writes rows and speaks SQL; the control plane calls its verbs."""

from __future__ import annotations

import ast
from pathlib import Path

import modelyard
from modelyard.store.tables import Table

CONTROL = Path(modelyard.__file__).parent / "control"
COLUMNS = frozenset(
    column.key for mapper in Table.registry.mappers for column in mapper.column_attrs
)


def row_writes(source: str) -> list[str]:
    """Assignments to what may be a column of a row, and every ``setattr``, as ``line: text``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setattr":
            found.append(f"{node.lineno}: {ast.unparse(node)}")
        flat = [one for target in targets for one in ast.walk(target)]
        found += [
            f"{one.lineno}: {ast.unparse(one)}"
            for one in flat
            if isinstance(one, ast.Attribute)
            and isinstance(one.ctx, ast.Store)
            and one.attr in COLUMNS
            and ast.unparse(one.value) != "self"
        ]
    return found


def session_uses(source: str) -> list[str]:
    """Members of a session that are reached for, as ``line: text``."""
    return [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "session"
    ]


def modules() -> dict[str, str]:
    return {
        str(path.relative_to(CONTROL)): path.read_text(encoding="utf-8")
        for path in sorted(CONTROL.rglob("*.py"))
    }


def test_control_writes_no_row() -> None:
    found = {name: row_writes(source) for name, source in modules().items()}
    wrong = {n: w for n, w in found.items() if w}
    assert wrong == {}


def test_control_only_hands_sessions_on() -> None:
    found = {name: session_uses(source) for name, source in modules().items()}
    wrong = {n: w for n, w in found.items() if w}
    assert wrong == {}


def test_every_form_of_a_row_write_is_found() -> None:
    written = (
        "service.status = after",
        "service.generation += 1",
        "log.result, log.closed_at = result, now",
        "service.kept_revision = service.kept_until = None",
        "run.kept: bool = True",
        "setattr(service, name, value)",
        "for one in rows:\n    if one:\n        one.failed = True",
    )
    for source in written:
        assert row_writes(source), source
    for source in ("self.progress = 1", "task.callback = 2", "status = service.status"):
        assert row_writes(source) == [], source


def test_a_use_of_a_session_is_found() -> None:
    assert session_uses("async def f(session):\n    await session.flush()") == ["2: session.flush"]
    assert session_uses("events.record(session, service_id, info, now)") == []


def test_the_walk_covers_the_control_plane() -> None:
    assert {"reconciler/reconcile.py", "maintenance/retention.py"} <= modules().keys()
    assert {"status", "generation", "lock_token", "closed_at", "kept"} <= COLUMNS
