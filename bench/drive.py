"""What the benchmarks share: a platform of their own, wrk, medians, tables."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = Path(__file__).with_name("post.lua")
# The benchmarks stand on the same platform in a box as the tests.
sys.path.insert(0, str(ROOT / "tests" / "support"))

# Wide enough for whole headings where the terminal does not say.
console = Console(width=None if sys.stdout.isatty() else 120)


@dataclass(frozen=True, slots=True)
class Result:
    """One run of wrk, or the median of several. ``failed``: answers that were not 2xx or 3xx."""

    per_second: float
    p50_ms: float
    p99_ms: float
    failed: int


def wrk(url: str, *, token: str, body: Path, connections: int, seconds: float) -> Result:
    """Load ``url`` from one thread. Raises ``RuntimeError`` when wrk is missing or fails."""
    program = shutil.which("wrk")
    if program is None:
        raise RuntimeError("wrk is not installed: apt-get install wrk")
    done = subprocess.run(
        [program, "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(SCRIPT), url],
        env={**os.environ, "BENCH_TOKEN": token, "BENCH_BODY": str(body)},
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return Result(**json.loads(line.removeprefix("RESULT ")))
    raise RuntimeError(f"wrk failed: {done.stdout[-300:]}{done.stderr[-300:]}")


def median(results: Sequence[Result]) -> Result:
    """Each figure's median over the rounds; failures are summed."""
    return Result(
        statistics.median(r.per_second for r in results),
        statistics.median(r.p50_ms for r in results),
        statistics.median(r.p99_ms for r in results),
        sum(r.failed for r in results),
    )


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first column is text, the others are numbers."""
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
