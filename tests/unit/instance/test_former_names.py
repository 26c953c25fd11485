"""Modules that running instances of release 0.1 import late, after their code was replaced."""

from __future__ import annotations

import importlib
import importlib.util

import pytest

# By what that release imports inside its functions, and what it then uses.
USED = {
    "websocket": ("server.websocket", ["open_websocket"]),
    "view": ("sandbox.mount_view", ["show_only", "prctl"]),
    "namespaces": ("sandbox.namespaces", ["become", "set_user", "give_up_rights"]),
    "weights": ("inference.weights", ["load_estimator"]),
}


@pytest.mark.parametrize("former", USED)
def test_a_late_import_of_a_running_instance_finds_what_it_uses(former: str) -> None:
    now, names = USED[former]
    found = importlib.import_module(f"modelyard_instance.{former}")
    target = importlib.import_module(f"modelyard_instance.{now}")
    for name in names:
        assert getattr(found, name) is getattr(target, name)


def test_a_running_front_can_still_start_a_worker_by_its_module() -> None:
    assert importlib.util.find_spec("modelyard_instance.worker.__main__") is not None
