"""What an instance is asked to be: ``spec.json`` in its folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

# Goes into response headers and file names.
_PLAIN = re.compile(r"[\w.+-]{1,128}\Z", re.ASCII)


class BadSpec(ValueError):
    """``spec.json`` cannot be used; the message names the file and the key."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One instance, as the platform orders it.

    ``package_dir`` holds ``model/`` (models.md §2). ``cpu`` in cores, ``memory_mb`` in MB,
    ``*_s`` in seconds, ``body_limit`` in bytes. ``python``: the interpreter of the package's own
    environment, empty for ours. ``queue_limit``: predictions that may wait or run at one time.
    ``log_file``: empty means ``instance.log`` in the instance's folder.
    """

    instance_id: str
    service_id: str
    project_id: str
    model_id: str
    model_name: str
    model_version: str
    model_type: str
    package_dir: str
    envs: Mapping[str, str] = field(default_factory=dict)
    cpu: float = 1.0
    memory_mb: int = 2048
    request_timeout_s: float = 40.0
    body_limit: int = 12 * 1024 * 1024
    drain_grace_s: float = 60.0
    queue_limit: int = 256
    python: str = ""
    log_file: str = ""

    @property
    def model_dir(self) -> Path:
        """The package's fixed folder (models.md §2)."""
        return Path(self.package_dir) / "model"


def read_spec(folder: Path) -> Spec:
    """The spec in ``folder``. Raises ``BadSpec``; unknown keys are ignored."""
    path = folder / "spec.json"
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadSpec(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise BadSpec(f"{path}: not an object")
    known = {one.name for one in fields(Spec)}
    try:
        spec = Spec(**{key: value for key, value in data.items() if key in known})
    except TypeError as error:
        raise BadSpec(f"{path}: {error}") from error
    for name in ("instance_id", "model_version"):
        value = getattr(spec, name)
        if not isinstance(value, str) or not _PLAIN.match(value):
            raise BadSpec(f"{path}: {name} {value!r} is not a plain name")
    return spec
