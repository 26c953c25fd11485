"""``python -m modelyard_instance.worker``: the process that holds the model.

Loads the package, says ``ready`` or ``failed`` to the front, then answers one request after the
other until the front hangs up. Standard library only (and ``orjson`` where it can be imported).
The package is reached under ``spec.package_dir``; a runtime that can give a process its own view
of the file system (containers, mount namespaces) may show it under ``/home/mind`` as well, where
some packages look (models.md §9).
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import socket
import sys
import traceback
from pathlib import Path

from modelyard_instance import openinference
from modelyard_instance.apis import read_config, response_type
from modelyard_instance.batching import batcher_for
from modelyard_instance.environment import work_folder
from modelyard_instance.forks import die_with
from modelyard_instance.frames import Channel
from modelyard_instance.handler import Answer, accepted, ask
from modelyard_instance.loader import explain, load
from modelyard_instance.options import options_of
from modelyard_instance.spec import read_spec
from modelyard_instance.streams import send as send_pieces
from modelyard_instance.streams import wants_events


def main() -> int:
    """Exit status: 0 the front hung up, 1 the package could not be loaded."""
    parser = argparse.ArgumentParser(prog="modelyard_instance.worker")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--front", type=int, required=True)
    parser.add_argument("--number", type=int, default=0)
    arguments = parser.parse_args()
    die_with(arguments.front)
    return run(arguments.dir, socket.socket(fileno=arguments.channel), arguments.number)


def run(folder: Path, sock: socket.socket, number: int) -> int:
    """Be the worker ``number`` of the instance in ``folder``; the exit status (``main``)."""
    channel = Channel(sock)
    spec = read_spec(folder)
    os.chdir(work_folder(folder, number))
    # ``-m`` put the current folder there; the package's files must not be shadowed by scratch ones.
    sys.path[:] = [one for one in sys.path if one not in ("", str(Path.cwd()))]
    sys.argv = ["modelyard_instance.worker"]
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        service = load(spec)
        config = read_config(spec.model_dir)
        batcher = batcher_for(service, options_of(config))
    except BaseException as error:
        traceback.print_exc()
        message = explain(error, spec.model_dir)
        channel.send(json.dumps({"event": "failed", "message": message}).encode(), b"")
        return 1
    gc.collect()
    gc.freeze()
    size = 1 if batcher is None else batcher.size
    ready = {"event": "ready", "batch": size, "v2": openinference.described(service)}
    channel.send(json.dumps(ready).encode(), b"")
    if batcher is None:
        declared = response_type(config)
        while (frame := channel.receive()) is not None:
            answer = ask(service, *frame)
            if isinstance(answer, Answer):
                channel.send(answer.header(), answer.body)
            else:
                events = wants_events(declared, accepted(frame[0]))
                send_pieces(channel, answer, events=events)
        return 0
    while frames := channel.receive_many(size):
        channel.send_many([(one.header(), one.body) for one in batcher.answer(frames)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
