"""The logs of instances: where they lie, their last lines, and how many are kept."""

from __future__ import annotations

import contextlib
from pathlib import Path

KEPT_PER_SERVICE = 20
_TAIL_BYTES = 64 * 1024


def place(logs_dir: Path, service_id: str, instance_id: str) -> Path:
    """The log file of an instance."""
    return logs_dir / "instances" / service_id / f"{instance_id}.log"


def find(logs_dir: Path, instance_id: str) -> Path | None:
    """The log of an instance whose folder is gone, if it is still kept."""
    return next((logs_dir / "instances").glob(f"*/{instance_id}.log"), None)


def tail(path: Path, lines: int) -> str:
    """The last ``lines`` lines of ``path``; an empty string when there are none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            content = file.read()
    except OSError:
        return ""
    if lines <= 0:
        return ""
    return "\n".join(content.decode("utf-8", "replace").splitlines()[-lines:])


def prune(folder: Path, kept: int = KEPT_PER_SERVICE, spare: frozenset[str] = frozenset()) -> None:
    """Keep the newest ``kept`` instances' logs of a service, with their rotated parts.

    ``spare`` names instances whose logs are in use and stay whatever their age.
    """
    newest: dict[str, float] = {}
    parts: dict[str, list[Path]] = {}
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            instance_id = path.name.partition(".log")[0]
            with contextlib.suppress(OSError):
                newest[instance_id] = max(newest.get(instance_id, 0.0), path.stat().st_mtime)
                parts.setdefault(instance_id, []).append(path)
    for instance_id in sorted(newest, key=lambda one: newest[one], reverse=True)[kept:]:
        if instance_id in spare:
            continue
        for path in parts[instance_id]:
            path.unlink(missing_ok=True)
