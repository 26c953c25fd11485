"""What a home remembers of its last ``modelyard up`` until ``modelyard down``.

The file says two things: that the platform is *wanted* (a watcher starts a dead control plane only
while it is there), and with which settings, so that a second ``up`` and the other commands need no
flags.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelyard.client.failures import ClientError
from modelyard.processes import write_private
from modelyard.settings import Settings

_POLL_S = 0.1


# Always remembered, so that other commands find the platform; the rest only when it was set.
_ALWAYS = ("host", "port", "database_url", "object_store")
# The home is where the file lies, and a password is not to lie in one more file.
_NEVER = ("home", "admin_password")


@dataclass(frozen=True, slots=True)
class LifecycleTarget:
    """The settings of a started platform; all as text, as the environment carries them."""

    values: Mapping[str, str]

    @staticmethod
    def of(settings: Settings) -> LifecycleTarget:
        names = dict.fromkeys((*_ALWAYS, *sorted(settings.given)))
        values = {name: settings.as_text(name) for name in names if name not in _NEVER}
        store = values["object_store"]
        if store and "://" not in store:
            # The control plane has another working directory than the shell.
            values["object_store"] = str(Path(store).expanduser().absolute())
        return LifecycleTarget(values)

    def environment(self, home: Path) -> dict[str, str]:
        """``MODELYARD_*`` variables for the control plane."""
        return {
            "MODELYARD_HOME": str(home),
            **{f"MODELYARD_{name.upper()}": value for name, value in self.values.items()},
        }

    def difference(self, other: LifecycleTarget) -> str:
        """The first setting in which ``other`` differs, as ``name: mine, not theirs``; or ``""``.

        Database URLs are not shown: they may hold a password.
        """
        for name in sorted({*self.values, *other.values}):
            mine, theirs = self.values.get(name, "default"), other.values.get(name, "default")
            if mine != theirs:
                return name if name == "database_url" else f"{name}: {mine}, not {theirs}"
        return ""


def wanted_file(settings: Settings) -> Path:
    return settings.layout.run_dir / "up.json"


def read_wanted(settings: Settings) -> LifecycleTarget | None:
    """What is remembered, or None after a ``down`` or before any ``up``."""
    try:
        data = json.loads(wanted_file(settings).read_bytes())
        return LifecycleTarget({str(name): str(value) for name, value in data.items()})
    except (OSError, ValueError, AttributeError):
        return None


def write_wanted(settings: Settings, wanted: LifecycleTarget) -> None:
    write_private(wanted_file(settings), json.dumps(dict(wanted.values)).encode())


def forget_wanted(settings: Settings) -> None:
    wanted_file(settings).unlink(missing_ok=True)


def as_started(given: Mapping[str, object], settings: Settings) -> dict[str, object]:
    """``given`` flags, completed by what the home remembers where flag and variable are silent."""
    remembered = read_wanted(settings)
    values = dict(given)
    if remembered is None:
        return values
    for name, value in remembered.values.items():
        if name not in values and f"MODELYARD_{name.upper()}" not in os.environ and value:
            values[name] = value
    return values


@contextmanager
def exclusive(settings: Settings, timeout_s: float = 120.0) -> Iterator[None]:
    """Only one ``up`` or ``down`` works on a home at a time.

    Raises ``ClientError`` when another one holds the lock for longer than ``timeout_s``.
    """
    path = settings.layout.run_dir / "up.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, path, timeout_s)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise ClientError(
                    f"Another `modelyard up` or `down` has held {path} for {timeout_s:.0f} s.",
                    "Wait for it to end, or end it, and try again.",
                ) from None
            time.sleep(_POLL_S)
        else:
            return
