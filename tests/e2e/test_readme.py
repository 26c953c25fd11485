"""Every command of the README runs, in its order, in one shell, as a reader would type it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from stack import Stack

ROOT = Path(__file__).parents[2]
# These start everything, or run this very test; the Makefile's targets must exist all the same.
NOT_HERE = ("make run", "make test")


def commands(text: str) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    found = commands((ROOT / "README.md").read_text())
    for command in NOT_HERE:
        assert command in found
        assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE)


def test_the_tour(fresh_stack: Stack) -> None:
    """``set -e`` and an echo of each line: the first failing command is the last one shown."""
    lines = [c for c in commands((ROOT / "README.md").read_text()) if c not in NOT_HERE]
    assert len(lines) > 10
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
    assert '"predict_result":"setosa"' in done.stdout.replace(" ", ""), story
