"""An environment that has been built: its folder, and what it says of itself.

::

    <environments_dir>/<digest>/
        environment.json   what was asked for, found and installed; there once all of it is there
        lock.txt           the distributions, as ``name==version``, ready for any installer
        venv/              the environment
        unused             when it was first seen without a model, in ms since 1970
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from modelyard.packages.environments.fallback_pins import Finding

MANIFEST = "environment.json"
LOCK = "lock.txt"
VENV = "venv"
UNUSED = "unused"


@dataclass(frozen=True, slots=True)
class Environment:
    """``python``: its version. ``wanted``: what was asked for, ``lock`` what is installed.

    ``seconds`` it took to build, ``size`` in bytes of all its files.
    """

    digest: str
    python: str
    policy: str
    wanted: tuple[str, ...] = ()
    lock: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0
    size: int = 0

    def write(self, folder: Path) -> None:
        """Leave word in ``folder``. Raises ``OSError``."""
        (folder / LOCK).write_text("".join(f"{line}\n" for line in self.lock), encoding="utf-8")
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")


def read_environment(environments_dir: Path, digest: str) -> Environment | None:
    """The environment of that digest, or None while there is none."""
    try:
        data = json.loads((environments_dir / digest / MANIFEST).read_bytes())
        return Environment(
            digest=str(data["digest"]),
            python=str(data["python"]),
            policy=str(data["policy"]),
            wanted=tuple(data["wanted"]),
            lock=tuple(data["lock"]),
            findings=tuple(Finding(**one) for one in data["findings"]),
            seconds=float(data["seconds"]),
            size=int(data.get("size", 0)),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_usable(environments_dir: Path, digest: str) -> bool:
    """Whether the environment is there, and the Python that it was made for still is."""
    folder = environments_dir / digest
    return (folder / MANIFEST).is_file() and (folder / VENV / "bin" / "python").exists()
