"""``python -m modelyard_instance.zygotes.zygote``: imports everything once, and forks fronts.

From "start" to "ready" a Python package spends nearly all its time on imports. One zygote per
engine has them behind it; a front forked from it is listening in milliseconds and forks its workers
from a fork server of its own (``prefork.fork_server``). It has a single thread, holds nothing of
any
package, and
may end at any time: what it has forked goes on.

The protocol, one request per connection on a Unix socket: a JSON object with ``dir`` (the
instance's folder), ``instance_id``, ``environment`` and ``log`` in, the front's pid out.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path

from modelyard_instance import forks
from modelyard_instance.prefork import fork_server
from modelyard_instance.worker import shims

OURS = (
    *("server.front", "worker.main", "worker.batching", "worker.handler", "worker.loader"),
    *("worker.shims", "worker.home", "inference.base_services", "inference.weights"),
    *("inference.defaults", "sandbox.confine", "sandbox.mount_view", "prefork.remote_fork_server"),
)
ENGINES = {
    "scikit_learn": (
        *("numpy", "scipy.sparse", "joblib", "threadpoolctl", "sklearn"),
        *("sklearn.linear_model", "sklearn.ensemble", "sklearn.tree", "sklearn.svm"),
        *("sklearn.pipeline", "sklearn.preprocessing", "sklearn.compose", "sklearn.neighbors"),
        *("sklearn.naive_bayes", "sklearn.cluster", "sklearn.decomposition"),
        *("sklearn.feature_extraction.text", "sklearn.impute", "sklearn.neural_network"),
    ),
    "xgboost": ("numpy", "scipy.sparse", "joblib", "threadpoolctl", "sklearn", "xgboost"),
    "pytorch": ("numpy", "PIL.Image", "torch"),
    "tensorflow": ("numpy", "PIL.Image", "tensorflow"),
    "mindspore": ("numpy", "PIL.Image", "mindspore"),
}
"""What is imported for an engine, where it is installed; anything else only has ``OURS``."""

IDLE_S = 1800.0
UNFIT = 3
"""Exit status of one that must not fork: something it imported has started a thread."""
_ASKED_WITHIN_S = 5.0
_ROOM = 1 << 18


def main() -> int:
    """Exit status: 0 asked to end, or nobody has wanted anything for long; ``UNFIT``."""
    parser = argparse.ArgumentParser(prog="modelyard_instance.zygotes.zygote")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--engine", default="")
    arguments = parser.parse_args()
    here = str(Path.cwd())
    sys.path[:] = [one for one in sys.path if one not in ("", here)]
    for module in OURS:
        importlib.import_module(f"modelyard_instance.{module}")
    # They repair what is imported after them.
    shims.install()
    with forks.watched_environment():
        for module in ENGINES.get(arguments.engine, ()):
            with contextlib.suppress(Exception):
                importlib.import_module(module)
    if not forks.single_threaded():
        print(f"imports have started threads ({forks.threads()}): no warm starts", file=sys.stderr)
        return UNFIT
    gc.collect()
    gc.freeze()
    return _serve(arguments.socket)


def _serve(path: Path) -> int:
    # The kernel reaps what ends; whoever ordered it watches it himself.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(aside))
    listener.listen(64)
    # Under its name only now: whoever finds it is answered.
    aside.rename(path)
    listener.settimeout(IDLE_S)
    try:
        while True:
            caller, _ = listener.accept()
            with caller, contextlib.suppress(OSError, ValueError, KeyError):
                caller.settimeout(_ASKED_WITHIN_S)
                _answer(caller, listener)
    except TimeoutError:
        return 0
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def _answer(caller: socket.socket, listener: socket.socket) -> None:
    _, uid, _ = struct.unpack("3i", caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid != os.getuid():
        return
    order = json.loads(caller.recv(_ROOM))
    folder, instance_id = str(order["dir"]), str(order["instance_id"])
    log, environment = str(order["log"]), dict(order["environment"])
    pid = os.fork()
    if pid == 0:
        listener.close()
        caller.close()
        forks.run_and_end(lambda: _be_front(folder, instance_id, log, environment))
    caller.send(b"%d" % pid)


def _be_front(folder: str, instance_id: str, log: str, environment: dict[str, str]) -> int:
    from modelyard_instance.__main__ import main as front

    os.setsid()
    forks.set_output(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
    forks.close_all_but()
    forks.default_signals()
    forks.take_mark(instance_id)
    forks.set_environment(environment)
    os.chdir(folder)
    forks.reseed()
    sys.argv = ["modelyard_instance", "--dir", folder]
    fork_server.WARM = True
    return front()


if __name__ == "__main__":
    sys.exit(main())
