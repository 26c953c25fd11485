"""From "start" to "ready": an instance started anew, and one forked from a zygote.

The zygote is that of its engine, or for packages with an environment of their own that of this.

    python bench/warm_start.py [--rounds 10] [--engines Scikit_Learn PyTorch]

Measured as a control plane would: from the order to the runtime until the instance's ``/health``
says that it is ready, cold and warm in turns. "The model's own load" is what a process that has
everything imported takes to load the package; a warm start should cost little beside it. An engine
that is not installed is named and left out.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import shutil
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from dataclasses import replace
from pathlib import Path

from drive import ROOT, console, show_table
from peers import train

from modelyard.domain.rollout.instance import InstanceSpec, Phase
from modelyard.runtime.local.env_zygotes import EnvZygotes
from modelyard.runtime.local.local_runtime import LocalRuntime
from modelyard.runtime.local.zygotes import WarmStarts, end_all

_READY_WITHIN_S = 120.0
_NEEDS = {"Scikit_Learn": "sklearn", "PyTorch": "torch", "TensorFlow": "tensorflow"}
_TORCH = """
import torch
from model_service.pytorch_model_service import PTServingBaseService
class Mlp(PTServingBaseService):
    def __init__(self, model_name, model_path):
        layers = torch.nn.Linear(4, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3)
        self.model = torch.nn.Sequential(*layers)
        self.model.load_state_dict(torch.load(model_path))
        self.model.eval()
    def _preprocess(self, data):
        return {"y": torch.tensor(data["x"])}
    def _postprocess(self, data):
        return {"y": data["y"].tolist()}
"""
_TORCH_TRAIN = (
    "import torch, sys; torch.save(torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.ReLU(), "
    "torch.nn.Linear(64, 3)).state_dict(), sys.argv[1])"
)
_TENSORFLOW_TRAIN = """
import sys, tensorflow as tf
module = tf.Module()
module.weights = tf.Variable(tf.ones((4, 3)))
rows = tf.TensorSpec((None, 4), tf.float32, name="rows")
answer = tf.function(lambda rows: {"y": rows @ module.weights}).get_concrete_function(rows)
tf.saved_model.save(module, sys.argv[1], signatures=answer)
"""
_LOAD = """
import sys, time
from pathlib import Path
from modelyard_instance.zygotes import zygote
import importlib
ours = [f"modelyard_instance.{one}" for one in zygote.OURS]
for name in (*ours, *zygote.ENGINES[sys.argv[1].lower()]):
    importlib.import_module(name)
from modelyard_instance.worker.loader import load
from modelyard_instance.spec import Spec
begin = time.perf_counter()
load(Spec("i", "s", "p", "m", "m", "0.0.1", sys.argv[1], sys.argv[2]))
print(time.perf_counter() - begin)
"""


def package_of(engine: str, folder: Path) -> Path:
    """A package of ``engine`` with a trained model."""
    package = folder / engine
    if engine == "Scikit_Learn":
        shutil.copytree(ROOT / "examples" / "iris-1", package)
        train(sys.executable, package / "model" / "iris.joblib")
        return package
    model = package / "model"
    model.mkdir(parents=True)
    if engine == "TensorFlow":
        (model / "config.json").write_text('{"model_type": "TensorFlow"}')
        subprocess.run([sys.executable, "-c", _TENSORFLOW_TRAIN, str(model)], check=True)
        return package
    (model / "config.json").write_text('{"model_type": "PyTorch"}')
    (model / "customize_service.py").write_text(_TORCH)
    subprocess.run([sys.executable, "-c", _TORCH_TRAIN, str(model / "mlp.pth")], check=True)
    return package


def own_load_ms(engine: str, package: Path) -> float:
    """What loading the package takes where everything is imported already."""
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, engine, str(package)],
        check=True,
        capture_output=True,
        text=True,
        cwd=package,
    )
    return 1e3 * float(done.stdout.split()[-1])


async def start_ms(runtime: LocalRuntime, spec: InstanceSpec) -> float:
    """From the order to ready, in milliseconds. Raises ``RuntimeError``."""
    begin = time.perf_counter()
    await runtime.start(spec)
    while True:
        report = await runtime.probe(spec.instance_id)
        took = time.perf_counter() - begin
        if report is not None and report.phase is Phase.READY:
            await runtime.stop(spec.instance_id)
            return 1e3 * took
        if took > _READY_WITHIN_S or (report and report.phase in (Phase.FAILED, Phase.GONE)):
            raise RuntimeError(f"not ready: {report}")
        await asyncio.sleep(0.001)


def own_environment(folder: Path) -> str:
    """The interpreter of an environment with what is installed here."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "all.pth").write_text(sysconfig.get_path("purelib"))
    return str(folder / "bin" / "python")


async def prepare(warm: WarmStarts, instances_dir: Path, engine: str, python: str) -> None:
    """Have a zygote, and wait for it."""
    path = warm.socket_of(engine)
    warm.prepare("" if python else engine)
    if python:
        path = EnvZygotes(warm, instances_dir, None).lend(python, engine, "project") or path
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET if python else 1) as sock:
            if sock.connect_ex(str(path)) == 0:
                return
        await asyncio.sleep(0.05)


async def measure(
    engine: str, rounds: int, root: Path, python: str = ""
) -> tuple[list[float], list[float], float]:
    """Cold starts, warm starts and the model's own load, all in milliseconds."""
    package = root / engine if python else package_of(engine, root)
    sockets = root / ("own" if python else "s")
    sockets.mkdir(exist_ok=True)
    warm = WarmStarts(sockets, root / "logs")
    plain = LocalRuntime(root / "cold", root / "logs")
    forked = LocalRuntime(root / "warm", root / "logs", warm=warm)
    spec = InstanceSpec(
        "bench", "service", "project", "model", "bench", "0.0.1", engine, str(package)
    )
    spec = replace(spec, python=python)
    cold_ms: list[float] = []
    warm_ms: list[float] = []
    try:
        await prepare(warm, root / "warm", engine, python)
        for number in range(rounds + 1):
            cold = await start_ms(plain, replace(spec, instance_id=f"cold-{engine}-{number}"))
            fast = await start_ms(forked, replace(spec, instance_id=f"warm-{engine}-{number}"))
            # The first round only warms up.
            if number:
                cold_ms.append(cold)
                warm_ms.append(fast)
    finally:
        plain.close()
        forked.close()
        await end_all(sockets)
    own = statistics.median(own_load_ms(engine, package) for _ in range(3))
    return cold_ms, warm_ms, own


def row(what: str, cold: list[float], warm: list[float], own: float) -> tuple[str, ...]:
    """A row of the table."""
    middle = statistics.median
    numbers = (middle(cold), middle(warm), max(warm), own, middle(warm) - own)
    return (what, *(f"{one:.0f}" for one in numbers), f"{middle(cold) / middle(warm):.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--engines", nargs="+", choices=list(_NEEDS), default=list(_NEEDS))
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for engine in options.engines:
            if importlib.util.find_spec(_NEEDS[engine]) is None:
                console.print(f"left out: {engine}, {_NEEDS[engine]} is not installed")
                continue
            for python in ("", own_environment(Path(folder) / f"of-{engine}")):
                found = asyncio.run(measure(engine, options.rounds, Path(folder), python))
                rows.append(row(f"{engine}, own environment" if python else engine, *found))
    show_table(
        f"start to ready in ms, median of {options.rounds}",
        ("engine", "cold", "warm", "slowest warm", "model's own load", "beside it", "× faster"),
        rows,
    )


if __name__ == "__main__":
    main()
