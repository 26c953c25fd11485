"""The operator's check scripts: what they read, how they answer, and that none outlives its run."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.control.check_scripts import Answer, Checks, run_check
from modelyard.domain.canary.analysis import Decision

DEADLINE_S = 10


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str, str], Path]:
    """``script(name, body)``: an executable in the checks folder, which is ``tmp_path``."""

    def write(name: str, body: str) -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o700)
        return path

    return write


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A zombie that waits for its own reaper runs no more.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"


async def until_gone(pid_file: Path) -> None:
    async with asyncio.timeout(DEADLINE_S):
        pid = int(pid_file.read_text())
        while not gone(pid):
            await asyncio.sleep(0.02)


async def answer_of(checks: Checks, key: object = 1, name: str = "c") -> Answer:
    async with asyncio.timeout(DEADLINE_S):
        while (found := checks.ask("svc", key, name, {"step": 1})) is None:
            await asyncio.sleep(0.01)
    return found


@pytest.mark.parametrize(
    ("body", "decision", "reason"),
    [
        ("echo fine", Decision.CONTINUE, "check c agrees: fine"),
        ("exit 0", Decision.CONTINUE, "check c agrees"),
        ("echo later; exit 75", Decision.HOLD, "check c asks to wait: later"),
        ("echo first; echo '  last '; echo; exit 1", Decision.ROLL_BACK, "check c refuses: last"),
        ("echo worse >&2; exit 3", Decision.ROLL_BACK, "check c refuses: worse"),
        ("exit 9", Decision.ROLL_BACK, "check c refuses: exit status 9"),
        ("kill -SEGV $$", Decision.ROLL_BACK, ""),
        ("printf 'a\\0b'; exit 1", Decision.ROLL_BACK, "check c refuses: ab"),
    ],
)
async def test_the_exit_status_decides_and_the_last_line_says_why(
    script: Callable[[str, str], Path],
    tmp_path: Path,
    body: str,
    decision: Decision,
    reason: str,
) -> None:
    script("c", body)
    found = await run_check(tmp_path, "c", b"{}")
    assert found.decision is decision
    assert found.reason == reason or not reason


async def test_it_reads_one_document_and_gets_none_of_our_secrets(
    script: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELYARD_ADMIN_PASSWORD", "canary")
    script("c", "cat > read; env > environment; pwd")
    found = await run_check(tmp_path, "c", b'{"step": 1}')
    assert found.reason == f"check c agrees: {tmp_path}"
    assert (tmp_path / "read").read_text() == '{"step": 1}'
    assert "canary" not in (tmp_path / "environment").read_text()


async def test_a_large_document_may_go_unread_and_much_be_printed(
    script: Callable[[str, str], Path], tmp_path: Path
) -> None:
    script("c", "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end; exit 1")
    found = await run_check(tmp_path, "c", b"x" * 3_000_000)
    assert found == Answer(Decision.ROLL_BACK, "check c refuses: end")


async def test_what_a_script_leaves_behind_ends_with_it(
    script: Callable[[str, str], Path], tmp_path: Path
) -> None:
    script("c", "sleep 600 & echo $! > pid; echo done")
    async with asyncio.timeout(DEADLINE_S):
        found = await run_check(tmp_path, "c", b"{}")
    assert found == Answer(Decision.CONTINUE, "check c agrees: done")
    await until_gone(tmp_path / "pid")


async def test_one_that_takes_too_long_refuses_and_is_ended(
    script: Callable[[str, str], Path], tmp_path: Path
) -> None:
    script("c", "echo $$ > pid; echo waiting; sleep 600")
    found = await run_check(tmp_path, "c", b"{}", limit_s=0.3)
    assert found.decision is Decision.ROLL_BACK
    assert found.reason == "check c did not end within 0.3 s: waiting"
    await until_gone(tmp_path / "pid")


async def test_one_that_cannot_be_run_refuses(
    script: Callable[[str, str], Path], tmp_path: Path
) -> None:
    missing = await run_check(tmp_path, "c", b"{}")
    assert missing.reason == "check c is not in the checks folder any more"
    script("c", "").write_text("#!/no/such/interpreter\n")
    assert (await run_check(tmp_path, "c", b"{}")).decision is Decision.ROLL_BACK


async def test_asking_never_waits_and_an_answer_is_given_once(
    script: Callable[[str, str], Path], tmp_path: Path
) -> None:
    script("c", "echo x >> runs")
    told: list[str] = []
    checks = Checks(tmp_path, told.append)
    assert checks.ask("svc", 1, "c", {}) is None
    assert (await answer_of(checks)).decision is Decision.CONTINUE
    assert (await answer_of(checks)).decision is Decision.CONTINUE
    assert (tmp_path / "runs").read_text() == "x\nx\n"
    assert told == ["svc", "svc"]
    await checks.close()


@pytest.mark.parametrize(("pause_s", "runs"), [(600.0, "x\n"), (0.0, "x\nx\n")])
async def test_a_script_that_asks_to_wait_is_left_alone_for_a_while(
    script: Callable[[str, str], Path], tmp_path: Path, pause_s: float, runs: str
) -> None:
    script("c", "echo x >> runs; exit 75")
    checks = Checks(tmp_path, pause_s=pause_s)
    assert (await answer_of(checks)).decision is Decision.HOLD
    assert (await answer_of(checks)).decision is Decision.HOLD
    assert (tmp_path / "runs").read_text() == runs
    await checks.close()


async def test_another_question_ends_the_former_script(
    script: Callable[[str, str], Path], tmp_path: Path
) -> None:
    script("slow", "echo $$ > new && mv new pid; sleep 600")
    script("c", "exit 0")
    checks = Checks(tmp_path)
    assert checks.ask("svc", 1, "slow", {}) is None
    async with asyncio.timeout(DEADLINE_S):
        while not (tmp_path / "pid").exists():
            await asyncio.sleep(0.01)
    assert (await answer_of(checks, key=2)).decision is Decision.CONTINUE
    await until_gone(tmp_path / "pid")
    await checks.close()


async def test_closing_ends_what_runs(script: Callable[[str, str], Path], tmp_path: Path) -> None:
    script("slow", "echo $$ > new && mv new pid; sleep 600")
    checks = Checks(tmp_path)
    checks.ask("svc", 1, "slow", {})
    async with asyncio.timeout(DEADLINE_S):
        while not (tmp_path / "pid").exists():
            await asyncio.sleep(0.01)
    await checks.close()
    await until_gone(tmp_path / "pid")


def test_names_are_those_of_executables(script: Callable[[str, str], Path], tmp_path: Path) -> None:
    script("b", "")
    script("a.py", "")
    script(".hidden", "")
    script("no space", "")
    (tmp_path / "plain").write_text("")
    (tmp_path / "folder").mkdir()
    assert Checks(tmp_path).names() == ("a.py", "b")
    assert Checks(tmp_path / "none").names() == ()


@pytest.mark.parametrize(
    ("retried", "expected"), [(3, "check c agrees"), (30, "check c refuses: [m 2] needs a second")]
)
async def test_the_example_of_the_documentation_works(
    tmp_path: Path, retried: int, expected: str
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "rollouts.md").read_text()
    path = tmp_path / "c"
    path.write_text(page.partition("```python\n")[2].partition("```")[0])
    path.chmod(0o700)
    sides = {
        "candidate": {"requests": 100, "retried": retried},
        "stable": {"requests": 1_000, "retried": 20},
    }
    document = json.dumps({"versions": [{"name": "[m 2]", **sides}]}).encode()
    assert (await run_check(tmp_path, "c", document)).reason.startswith(expected)
