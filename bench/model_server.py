"""What a model server costs beside its model: our instance, its peers, and the floor.

    python bench/model_server.py [--rounds 5] [--seconds 4] [--model iris|mlp]
                                 [--servers package default flask …]

The same model everywhere: a classifier of scikit-learn, or a small perceptron of torch, where that
is installed. Each server has one core, ``wrk`` another; they take
turns within each round, so that a noisy machine is noisy for all of them. The floor is the model's
``predict`` called in a loop by one process, without any server. Peers are installed at the first
run (``peers.py``); one that cannot be is named and left out.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import peers
import torch_peers
from drive import Result, console, median, show_table, wrk
from peers import PeerMissing
from serving import Server

from modelyard.runtime.local.sweep import end_all, marked
from ports import free_port

Servers = Mapping[str, Callable[[Path], Server]]

MARK = "MODELYARD_INSTANCE_ID"
OURS = ("package", "package-batching", "package-one-by-one", "default")
_START_LIMIT_S = 120.0
_IRIS = """
import joblib
model = joblib.load(sys.argv[1])
def predict():
    model.predict([[5.1, 3.5, 1.4, 0.2]])
"""
_FLOOR = """
end = time.perf_counter() + float(sys.argv[2]); done = 0; took = []; cpu = time.process_time()
while (now := time.perf_counter()) < end:
    predict(); done += 1; took.append(time.perf_counter() - now)
cpu = 1e6 * (time.process_time() - cpu) / done; took.sort()
middle, last = took[len(took) // 2] * 1e3, took[len(took) * 99 // 100] * 1e3
print(done / float(sys.argv[2]), middle, last, cpu)
"""


@dataclass(frozen=True, slots=True)
class Run:
    """``cpu_us``: CPU time of all of the server's processes per request, in microseconds."""

    result: Result
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers. ``cold_s``: from its start to its first answer, in seconds."""

    server: Server
    url: str
    body: Path
    mark: str
    cold_s: float


def cores() -> tuple[str, str]:
    """The server's core and the load's; one for both where there is no second."""
    found = sorted(os.sched_getaffinity(0))
    return str(found[0]), str(found[-1])


def cpu_seconds(mark: str) -> float:
    """User and system time of the living processes of the server."""
    ticks = 0
    for pid in marked(mark):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(mark: str) -> float:
    """Proportional set size of the server's processes: what is shared counts once."""
    total = 0
    for pid in marked(mark):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def _address(server: Server, port: int) -> str | None:
    if server.state is None:
        return f"http://127.0.0.1:{port}"
    try:
        return f"http://127.0.0.1:{json.loads(server.state.read_bytes())['port']}"
    except (OSError, ValueError):
        return None


def _first_answer(server: Server, port: int, child: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_LIMIT_S
    headers = {"content-type": "application/json"}
    while time.monotonic() < deadline and child.poll() is None:
        address = _address(server, port)
        if address is not None:
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.post(
                    address + server.path, content=server.body, headers=headers, trust_env=False
                )
                if answer.status_code == 200:
                    return address + server.path
        time.sleep(0.01)
    raise RuntimeError(f"{server.name} did not start: {log.read_text()[-800:]}")


@contextlib.contextmanager
def running(server: Server, folder: Path, mark: str) -> Iterator[Running]:
    """Start the server on its core; end it and all it started."""
    port, log, body = free_port(), folder / "server.log", folder / "body.json"
    body.write_text(server.body)
    environment: Mapping[str, str] = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        MARK: mark,
        **server.env,
    }
    begin = time.monotonic()
    with log.open("wb") as out:
        child = subprocess.Popen(
            ["taskset", "-c", cores()[0], *server.command(port)],
            env=dict(environment),
            cwd=server.folder,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    mark = environment[MARK]
    try:
        url = _first_answer(server, port, child, log)
        yield Running(server, url, body, mark, time.monotonic() - begin)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        end_all(mark)
        child.kill()
        child.wait()


def take_turn(target: Running, connections: int, seconds: float) -> Run:
    before = cpu_seconds(target.mark)
    os.sched_setaffinity(0, {int(cores()[1])})
    try:
        result = wrk(
            target.url, token="", body=target.body, connections=connections, seconds=seconds
        )
    finally:
        os.sched_setaffinity(0, ALL_CORES)
    spent = cpu_seconds(target.mark) - before
    return Run(result, 1e6 * spent / max(1.0, result.per_second * seconds))


def floor(model: Path, seconds: float) -> Run:
    """One process, no server: the model's prediction of one row, again and again."""
    code = "import sys, time\n" + (_IRIS if model.suffix == ".joblib" else torch_peers.FLOOR)
    done = subprocess.run(
        [
            "taskset",
            "-c",
            cores()[0],
            sys.executable,
            "-c",
            code + _FLOOR,
            str(model),
            str(seconds),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    per_second, p50, p99, cpu_us = map(float, done.stdout.split())
    return Run(Result(per_second, p50, p99, 0), cpu_us)


def start_all(
    servers: Servers, names: Sequence[str], root: Path, parts: contextlib.ExitStack
) -> dict[str, Running]:
    """Every server that can be had here, by the name it was asked for."""
    found = {}
    for name in names:
        folder = root / name
        folder.mkdir()
        try:
            server = servers[name](folder)
            found[name] = parts.enter_context(running(server, folder, f"bench-{name}"))
        except (PeerMissing, RuntimeError) as error:
            console.print(f"left out: {error}", style="yellow")
    return found


def measure(
    options: argparse.Namespace, found: dict[str, Running], model: Path
) -> dict[tuple[str, int], list[Run]]:
    """Runs by (server, connections), one per round; the floor under 0 connections."""
    runs: dict[tuple[str, int], list[Run]] = {}
    for number in range(-1, options.rounds):
        # The round before the first one only warms up.
        seconds = options.seconds if number >= 0 else 1
        if number >= 0:
            runs.setdefault(("floor", 0), []).append(floor(model, seconds))
        for connections in options.connections:
            for name, target in found.items():
                run = take_turn(target, connections, seconds)
                if number >= 0:
                    runs.setdefault((name, connections), []).append(run)
        console.print(f"round {number + 1} of {options.rounds}", style="dim")
    return runs


def rows_of(
    runs: dict[tuple[str, int], list[Run]], found: dict[str, Running], connections: int
) -> list[tuple[str, ...]]:
    """The table of one number of connections."""
    results = {
        name: median([run.result for run in own])
        for (name, count), own in runs.items()
        if count in (0, connections)
    }
    ceiling = results["floor"].per_second
    peers = [r for name, r in results.items() if name not in (*OURS, "floor")]
    best = max((r.per_second for r in peers), default=0.0)
    best_p99 = min((r.p99_ms for r in peers), default=0.0)
    rows = []
    for name, result in results.items():
        own = runs[name, 0 if name == "floor" else connections]
        rows.append(
            (
                "floor: predict in a loop" if name == "floor" else found[name].server.name,
                f"{result.per_second:,.0f}",
                f"{result.p50_ms:.2f}",
                f"{result.p99_ms:.2f}",
                f"{statistics.median(run.cpu_us for run in own):.0f}",
                f"{result.per_second / ceiling:.2f}",
                f"{result.per_second / best:.1f}" if best else "",
                f"{result.p99_ms / best_p99:.2f}" if best_p99 and name != "floor" else "",
                str(result.failed),
            )
        )
    return rows


ALL_CORES = os.sched_getaffinity(0)
_COLUMNS = (
    "server",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "µs CPU each",
    "of floor",
    "× best peer",
    "p99 of best",
    "failed",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--model", choices=["iris", "mlp"], default="iris")
    known = sorted({*peers.SERVERS, *torch_peers.SERVERS})
    parser.add_argument("--servers", nargs="+", choices=known, help="all of the model's")
    options = parser.parse_args()
    if options.model == "mlp" and importlib.util.find_spec("torch") is None:
        raise SystemExit("torch is not installed here: only --model iris can be measured")
    servers = peers.SERVERS if options.model == "iris" else torch_peers.SERVERS
    names = [one for one in options.servers or servers if one in servers]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, contextlib.ExitStack() as parts:
        found = start_all(servers, names, Path(folder), parts)
        model = Path(folder) / "iris.joblib"
        if options.model == "iris":
            peers.train(sys.executable, model)
        else:
            model = torch_peers.make(model.with_suffix(".pth"))
        runs = measure(options, found, model)
        memory = {name: memory_mb(target.mark) for name, target in found.items()}
    for connections in options.connections:
        show_table(
            f"{options.model}, {connections} connection{'s' * (connections > 1)}, one core, "
            f"median of {options.rounds} rounds of {options.seconds:g} s",
            _COLUMNS,
            rows_of(runs, found, connections),
        )
    show_table(
        "start to first answer, and memory after the load",
        ("server", "cold start s", "memory MB"),
        [
            (target.server.name, f"{target.cold_s:.2f}", f"{memory[name]:.0f}")
            for name, target in found.items()
        ],
    )


if __name__ == "__main__":
    main()
