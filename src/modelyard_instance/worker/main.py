"""``python -m modelyard_instance.worker``: the process that holds the model.

Loads the package, says ``ready`` or ``failed`` to the front, then answers one request after the
other until the front hangs up. Standard library only (and ``orjson`` where it can be imported).
The package is reached under ``spec.package_dir``, and under ``/home/mind`` where the machine allows
it (``home``).
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import socket
import sys
import traceback
from pathlib import Path

from modelyard_instance.environment import work_folder
from modelyard_instance.forks import die_with
from modelyard_instance.frames import Channel
from modelyard_instance.headers import Greeting
from modelyard_instance.inference import openinference
from modelyard_instance.spec import Spec, read_spec
from modelyard_instance.worker import shims
from modelyard_instance.worker.apis import read_config, response_type
from modelyard_instance.worker.batching import batcher_for
from modelyard_instance.worker.home import show_package_at_home
from modelyard_instance.worker.loader import explain, load
from modelyard_instance.worker.options import options_of
from modelyard_instance.worker.streams import answer_one_by_one


def main() -> int:
    """Exit status: 0 the front hung up, 1 the package could not be loaded."""
    parser = argparse.ArgumentParser(prog="modelyard_instance.worker")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--front", type=int, required=True)
    parser.add_argument("--number", type=int, default=0)
    arguments = parser.parse_args()
    spec = settle(arguments.dir, arguments.number, arguments.front)
    return serve(spec, socket.socket(fileno=arguments.channel))


def settle(folder: Path, number: int, parent: int) -> Spec:
    """Become the worker ``number`` of the instance in ``folder``, as far as it is ours alone.

    Already shut in, and with one thread. ``parent``: the process that must not be outlived.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    spec = read_spec(folder)
    show_package_at_home(spec)
    # After whatever changes our rights: the kernel forgets it then.
    die_with(parent)
    os.chdir(work_folder(folder, number))
    # ``-m`` put the current folder there; the package's files must not be shadowed by scratch ones.
    sys.path[:] = [one for one in sys.path if one not in ("", str(Path.cwd()))]
    sys.argv = ["modelyard_instance.worker"]
    return spec


def give_up(sock: socket.socket, message: str) -> int:
    """Tell the front why there will be no worker; the exit status."""
    Channel(sock).send(Greeting(ready=False, message=message).encode(), b"")
    return 1


def serve(spec: Spec, sock: socket.socket) -> int:
    """Load the package and answer until the front hangs up; the exit status (``main``)."""
    shims.install()
    try:
        service = load(spec)
        config = read_config(spec.model_dir)
        batcher = batcher_for(service, options_of(config))
    except BaseException as error:
        traceback.print_exc()
        return give_up(sock, explain(error, spec.model_dir))
    gc.collect()
    gc.freeze()
    size = 1 if batcher is None else batcher.size
    channel = Channel(sock)
    channel.send(Greeting(True, size, openinference.described(service)).encode(), b"")
    if batcher is None:
        answer_one_by_one(service, channel, response_type(config))
        return 0
    while frames := channel.receive_many(size):
        channel.send_many([(one.header(), one.body) for one in batcher.answer(frames)])
    return 0
