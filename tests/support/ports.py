"""Free loopback ports that parallel test workers do not take from each other."""

from __future__ import annotations

import os
import random
import socket

_FIRST = 20_000
_EACH = 500

# Below the kernel's range of ephemeral ports, so that no client connection takes one meanwhile.


def free_port() -> int:
    """A port of this worker's own range that can be bound now."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    base = _FIRST + _EACH * (int(worker) % 20 if worker.isdigit() else 0)
    for port in random.sample(range(base, base + _EACH), _EACH):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError(f"no free port from {base} to {base + _EACH}")
