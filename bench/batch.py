"""A batch run of many CSV rows: rows per second, and the memory of every process on the way.

    python bench/batch.py [--rows 1000000] [--instances 1] [--batching 0] [--yardstick 10]

The example's iris package of scikit-learn, its model asked once per row. Two yardsticks in the same
run: the model's own ``predict`` called row by row in one process, and the loop that people write
with ``requests`` against one instance of the same package. Driver and instances share the machine's
cores as they like. ``--batching 64`` lets the package compute as many of the requests that wait at
once (its ``config.json`` says so); the model still sees every row.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import peers
import requests
from drive import console, show_table
from model_server import floor

from modelyard.batch.spec import read_progress, read_result, write_endpoints, write_run
from modelyard.domain.batch.run import Address, Progress, RunSpec
from modelyard.runtime.local.sweep import end_all, marked

MARKS = (0.1, 0.5, 1.0)
_START_S = 60.0
_RULE = {
    "type": "object",
    "properties": {
        "data": {
            "type": "object",
            "properties": {
                "req_data": {
                    "type": "array",
                    "items": [
                        {
                            "type": "object",
                            "properties": {
                                name: {"type": "number", "index": index}
                                for index, name in enumerate(peers.ROW)
                            },
                        }
                    ],
                }
            },
        }
    },
}


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in MB."""

    name: str
    rss: float
    pss: float


@dataclass(frozen=True, slots=True)
class Instance:
    mark: str
    address: Address
    front: int


def memory_of(pid: int, name: str) -> Memory:
    """What ``/proc`` says of it now; zero when it is gone."""
    found = {"Rss": 0, "Pss": 0}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            key, _, value = line.partition(":")
            if key in found:
                found[key] = int(value.split()[0])
    return Memory(name, found["Rss"] / 1024, found["Pss"] / 1024)


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


@contextlib.contextmanager
def instance(folder: Path, batching: int = 0) -> Iterator[Instance]:
    """An instance of the example's package, which computes up to ``batching`` requests at once."""
    folder.mkdir()
    server = peers.package_instance(folder)
    if batching:
        config = folder / "package" / "model" / "config.json"
        said = json.loads(config.read_bytes())
        config.write_text(json.dumps({**said, "batching": {"max_size": batching}}))
    mark = server.env["MODELYARD_INSTANCE_ID"]
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **server.env}
    child = subprocess.Popen(server.command(0), env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + _START_S
        while (state := _state(server.state)).get("phase") != "ready":
            if time.monotonic() > deadline:
                raise RuntimeError("the instance did not start")
            time.sleep(0.05)
        yield Instance(mark, Address(mark, "127.0.0.1", int(str(state["port"]))), child.pid)
    finally:
        end_all(mark)
        child.kill()
        child.wait()


def _state(path: Path | None) -> dict[str, object]:
    try:
        found: dict[str, object] = json.loads(path.read_bytes()) if path else {}
    except OSError:
        return {}
    return found


def write_rows(path: Path, rows: int) -> None:
    """A CSV of ``rows`` flowers, all different."""
    with path.open("w") as out:
        for n in range(rows):
            a, b, c, d = 4 + n % 37 / 10, 2 + n % 23 / 10, 1 + n % 59 / 10, n % 25 / 10
            out.write(f"{a:.1f},{b:.1f},{c:.1f},{d:.1f}{n % 1000:03d}\n")


def naive(address: Address, rows: int) -> float:
    """Rows per second of the loop that people write: read a row, post it, keep the answer."""
    url = f"http://{address.host}:{address.port}/"
    begin = time.perf_counter()
    for _ in range(rows):
        requests.post(url, json={"data": {"req_data": [peers.ROW]}}, timeout=40).json()
    return rows / (time.perf_counter() - begin)


@contextlib.contextmanager
def driver(folder: Path, objects: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        "PATH": os.environ["PATH"],
        "MODELYARD_HOME": str(folder.parent),
        "MODELYARD_OBJECT_STORE": str(objects),
    }
    with (folder / "driver.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "modelyard.batch", "--run", str(folder)],
            env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGKILL)
        child.wait()


def watch(
    child: subprocess.Popen[bytes], folder: Path, rows: int, look: Callable[[], list[Memory]]
) -> dict[float, list[Memory]]:
    """The memory of every process each time that a mark is passed."""
    seen: dict[float, list[Memory]] = {}
    latest: list[Memory] = []
    while child.poll() is None:
        progress = read_progress(folder) or Progress()
        for mark in MARKS[:-1]:
            if mark not in seen and progress.rows_done >= mark * rows:
                seen[mark] = look()
        found = look()
        # The last moment at which all of them were there.
        latest = found if all(one.rss for one in found) else latest
        time.sleep(0.1)
    seen[MARKS[-1]] = latest
    return seen


def processes(found: list[Instance], child: int) -> list[tuple[str, int]]:
    """Name and pid of everything that works on the run."""
    named = [("driver", child)]
    for number, one in enumerate(found, 1):
        named.append((f"instance {number}, front", one.front))
        workers = [pid for pid in marked(one.mark) if pid != one.front]
        named += [(f"instance {number}, model", pid) for pid in workers]
    return named


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--instances", type=int, default=1)
    parser.add_argument("--batching", type=int, default=0, help="requests computed as one")
    parser.add_argument("--yardstick", type=float, default=10, help="seconds for each yardstick")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as text, contextlib.ExitStack() as parts:
        root = Path(text)
        found = [
            parts.enter_context(instance(root / f"instance-{n}", options.batching))
            for n in range(options.instances)
        ]
        model = root / "instance-0" / "package" / "model" / "iris.joblib"
        alone = floor(model, options.yardstick).result.per_second
        loop = naive(found[0].address, max(100, int(100 * options.yardstick)))
        rate, seen, spent = run(root, found, options.rows)
    show_rates(options, rate, alone, loop)
    show_processes(options.rows, seen, spent)


def run(
    root: Path, found: list[Instance], rows: int
) -> tuple[float, dict[float, list[Memory]], dict[str, float]]:
    """The batch run itself: rows per second, memory, CPU seconds by process."""
    source = root / "objects" / "inbox" / "in"
    source.mkdir(parents=True)
    write_rows(source / "flowers.csv", rows)
    folder = root / "batch" / "bench"
    folder.mkdir(parents=True)
    write_run(
        folder,
        RunSpec(
            *("bench", "bench", "bench", "bench", "obs://inbox/in/", "obs://outbox/res/", "csv"),
            mapping_rule=_RULE,
        ),
    )
    write_endpoints(folder, [one.address for one in found])
    begin = time.monotonic()
    with driver(folder, root / "objects") as child:
        named = processes(found, child.pid)
        before = {name: cpu_s(pid) for name, pid in named}
        spent: dict[str, float] = {}

        def look() -> list[Memory]:
            spent.update({name: cpu_s(pid) - before[name] for name, pid in named})
            return [memory_of(pid, name) for name, pid in named]

        seen = watch(child, folder, rows, look)
    seconds = time.monotonic() - begin
    result = read_result(folder)
    if result is None or result.progress.rows_done != rows or result.progress.rows_failed:
        raise SystemExit(f"the run failed: {result} {(folder / 'driver.log').read_text()}")
    return rows / seconds, seen, spent


def show_rates(options: argparse.Namespace, rate: float, alone: float, loop: float) -> None:
    count = options.instances
    show_table(
        f"{options.rows:,} rows of CSV, iris, {count} instance{'s' * (count > 1)}"
        + (f", batches of {options.batching}" if options.batching else ""),
        ("", "rows/s", "× predict in a loop", "× requests in a loop"),
        [
            ("batch run, start to result", f"{rate:,.0f}", f"{rate / alone:.2f}",
             f"{rate / loop:.1f}"),
            ("predict row by row, one process", f"{alone:,.0f}", "1.00", f"{alone / loop:.1f}"),
            ("requests in a loop, one instance", f"{loop:,.0f}", f"{loop / alone:.2f}", "1.0"),
        ],
    )  # fmt: skip


def show_processes(rows: int, seen: dict[float, list[Memory]], spent: dict[str, float]) -> None:
    names = [one.name for one in seen[MARKS[0]]]
    columns = [f"at {mark:.0%}" for mark in MARKS]
    at = {mark: {one.name: one for one in seen[mark]} for mark in MARKS}
    show_table(
        "memory in MB, resident / proportional; CPU per row",
        ("process", *columns, "µs CPU a row"),
        [
            (
                name,
                *(f"{at[mark][name].rss:.0f} / {at[mark][name].pss:.0f}" for mark in MARKS),
                f"{1e6 * spent[name] / rows:.0f}",
            )
            for name in names
        ],
    )
    console.print(
        "CPU: of the processes themselves, read at the latest 0.1 s before the end", style="dim"
    )


if __name__ == "__main__":
    main()
