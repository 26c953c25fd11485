"""Every command of docs/batch.md runs, in its order, in one shell, as a reader would type it."""

from __future__ import annotations

import subprocess

from test_readme import ROOT, commands

from stack import Stack


def test_the_five_minutes(fresh_stack: Stack) -> None:
    """``set -e`` and an echo of each line: the first failing command is the last one shown."""
    lines = commands((ROOT / "docs" / "batch.md").read_text())
    assert len(lines) > 8
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "set -v\n" + "\n".join(lines)],
        cwd=ROOT,
        env=fresh_stack.environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    story = f"{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, story
    assert "processed  6 rows" in done.stdout, story
    assert "quarantine.jsonl" in done.stdout, story
