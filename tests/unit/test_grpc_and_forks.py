"""Children that other libraries fork must not run into gRPC's fork handlers."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, sys
import modelyard.composition
assert "grpc" in sys.modules
print(os.environ["GRPC_ENABLE_FORK_SUPPORT"])
"""


def test_the_control_plane_switches_them_off() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "0"
