"""What is written down of each container, so that a later control plane knows it again.

``<containers_dir>/<instance_id>.json``, made before its container and removed after it. With it,
instances are reported as they were also while the engine does not answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from modelyard.domain.rollout.instance import InstanceSpec
from modelyard.processes import write_private
from modelyard.runtime.folders import is_plain


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """``name``: the container's in the engine; ``container``: of the model (models.md §5), with its
    probes. ``host_port`` and ``pid`` None until it was started. ``ready``: whether it was, when
    this was written. ``started_at`` in seconds since 1970.
    """

    instance_id: str
    service_id: str
    model_id: str
    name: str
    grace_s: float
    memory_mb: int
    container: Mapping[str, Any] = field(default_factory=dict)
    container_id: str = ""
    host_port: int | None = None
    pid: int | None = None
    started_at: float = 0.0
    ready: bool = False

    @property
    def tls(self) -> bool:
        return self.container.get("protocol") == "https"


def record_of(spec: InstanceSpec, name: str) -> ContainerRecord:
    """Of an instance that is about to get its container."""
    return ContainerRecord(
        instance_id=spec.instance_id,
        service_id=spec.service_id,
        model_id=spec.model_id,
        name=name,
        grace_s=spec.drain_grace_s,
        memory_mb=spec.memory_mb,
        container=dict(spec.container),
    )


class Records:
    """The records in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, record: ContainerRecord) -> None:
        """Raises ``OSError``, and ``ValueError`` for ids that cannot name a file."""
        for name in (record.instance_id, record.service_id):
            if not is_plain(name):
                raise ValueError(f"{name!r} cannot name a file")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self._path(record.instance_id), json.dumps(asdict(record)).encode())

    def remove(self, instance_id: str) -> None:
        self._path(instance_id).unlink(missing_ok=True)

    def scan(self) -> Iterator[ContainerRecord]:
        """Every record that can be read."""
        for path in sorted(self._folder.glob("*.json")):
            try:
                record = ContainerRecord(**json.loads(path.read_bytes()))
            except (OSError, ValueError, TypeError):
                continue
            if record.instance_id == path.stem:
                yield record

    def _path(self, instance_id: str) -> Path:
        return self._folder / f"{instance_id}.json"
