"""Packages that misbehave without pause while they are asked to, and what keeps them at it.

The first one does not: it uses its flavour as it may, for comparison.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from live import infer_url, path, wait_status
from stack import Stack

_PAUSE_S = 0.02

_SCRIPT = '''
"""Answers at once, and does what its kind is about when it is told ``now``."""
import os
import signal
import time
from model_service.model_service import SingleNodeService
{at_import}


class Misbehaves(SingleNodeService):
    def __init__(self, model_name="", model_path=""):
        super().__init__(model_name, model_path)
        self.kept = []

    def _preprocess(self, data):
        return data

    def _inference(self, data):
        if not data.get("now"):
            return "fine"
        {at_request}

    def _postprocess(self, data):
        return data
'''

_FORKS = """
        children = []
        for _ in range(1000):
            try:
                child = os.fork()
            except OSError:
                continue
            if child == 0:
                while True:
                    pass
            children.append(child)
        time.sleep(1)
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        return "stopped"
"""

_COMPUTES = """
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            sum(range(1000))
        return "computed"
"""

# Paced, so that it is the rate that is measured, however fast the reader.
_PRINTS = """
        megabyte, begun = (b"x" * 99 + b"\\n") * 10000, time.monotonic()
        for count in range(100):
            os.write(1, megabyte)
            time.sleep(max(0, begun + (count + 1) / 100 - time.monotonic()))
        return "printed"
"""

_LEAKS = """
        while True:
            self.kept.append(bytearray(4 << 20))
            time.sleep(0.01)
"""

# A package with a server of its own: the one way to answer with headers of one's own.
HEADER_SERVER = """
import socket
import threading

HEAD = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n"
LARGE = HEAD + b"X-Large: " + b"x" * (10 << 20) + b"\\r\\n\\r\\n{}"


def serve(connection):
    with connection:
        while data := connection.recv(65536):
            try:
                connection.sendall(LARGE if b'"now"' in data else HEAD + b"\\r\\n{}")
            except OSError:
                return


listener = socket.create_server(("0.0.0.0", 8080), backlog=64)
while True:
    threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()
"""

Driver = Callable[[Stack, str, threading.Event], None]


@dataclass(frozen=True)
class Kind:
    """``script`` of its package; ``drive`` keeps it at it until the event is set."""

    name: str
    script: str
    drive: Driver
    image: bool = False


def _script(at_request: str = "return None", at_import: str = "") -> str:
    return _SCRIPT.format(at_request=at_request, at_import=at_import)


def ask(stack: Stack, service_id: str, enough: threading.Event) -> None:
    """One request after the other, whatever they are answered."""
    headers = {"X-Auth-Token": str(stack.client.headers["X-Auth-Token"])}
    with httpx.Client(headers=headers, timeout=60, trust_env=False) as client:
        while not enough.is_set():
            client.post(infer_url(stack, service_id), json={"now": True})
            enough.wait(_PAUSE_S)


def replace(stack: Stack, service_id: str, enough: threading.Event) -> None:
    """Stop it and start it again: it does not go before it is killed."""
    headers = {"X-Auth-Token": str(stack.client.headers["X-Auth-Token"])}
    with httpx.Client(
        base_url=stack.address, headers=headers, timeout=60, trust_env=False
    ) as client:
        while not enough.is_set():
            for status in ("stopped", "running"):
                client.put(path(stack, service_id), json={"status": status})
                while client.get(path(stack, service_id)).json()["status"] != status:
                    time.sleep(0.1)


KINDS = (
    Kind("honest work", _script(_COMPUTES), ask),
    Kind("endless loop", _script("while True: pass"), ask),
    Kind("memory hog", _script("return len(bytearray(400 << 20))"), ask),
    Kind("leak", _script(_LEAKS), ask),
    Kind("fork bomb", _script(_FORKS), ask),
    Kind("100 MB/s of log", _script(_PRINTS), ask),
    Kind("10 MB header", "", ask, image=True),
    Kind(
        "ignores SIGTERM",
        _script(at_import="signal.signal(signal.SIGTERM, signal.SIG_IGN)"),
        replace,
    ),
)


@contextmanager
def misbehaving(kind: Kind, stack: Stack, service_id: str) -> Iterator[None]:
    """Within the block it does; afterwards it is as it was."""
    enough = threading.Event()
    thread = threading.Thread(target=kind.drive, args=(stack, service_id, enough), name=kind.name)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
        wait_status(stack, service_id, "running")
