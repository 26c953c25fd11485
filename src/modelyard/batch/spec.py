"""What a run is told, and what it tells: ``run.json``, ``progress.json``, ``result.json``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import orjson

from modelyard.processes import write_private

FILE_LIMIT = 12 * 1024 * 1024
MANIFEST = "ManifestFile"
FORM = "multipart/form-data"
JSON = "application/json"

RUN_FILE = "run.json"
ENDPOINTS_FILE = "endpoints.json"
PROGRESS_FILE = "progress.json"
RESULT_FILE = "result.json"
LOCK_FILE = "driver.lock"
JOURNAL_FILE = "journal.sqlite"
SPOOL_FOLDER = "spool"


class BadRun(ValueError):
    """A file of a run's folder that cannot be read; the message says which and why."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run, as the control plane wrote it down before the driver's first start.

    ``source``: ``obs://bucket/prefix/`` or, with ``source_type`` ``ManifestFile``, a manifest;
    ``destination``: ``obs://bucket/prefix/``. ``path``: the request's on the instance.
    ``field``: of the form, for ``mapping_type`` ``file``. ``file_limit``: bytes of one file;
    ``csv_limit``: bytes of one CSV, 0 for any. ``attempts``: how often one request may be lost
    with its connection before it has failed. ``manifest_lines``: of one output manifest.
    ``retry_of``: the run whose failures are computed again.
    """

    task_id: str
    service_id: str
    project_id: str
    model_id: str
    source: str
    destination: str
    mapping_type: str
    source_type: str = ""
    path: str = "/"
    content_type: str = JSON
    field: str = ""
    mapping_rule: object = None
    file_limit: int = FILE_LIMIT
    csv_limit: int = 0
    request_timeout_s: float = 40.0
    attempts: int = 3
    manifest_lines: int = 100_000
    retry_of: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. ``rate``: rows (or files) per second over the last seconds."""

    phase: str = "listing"
    listed: bool = False
    files_total: int = 0
    files_done: int = 0
    files_failed: int = 0
    rows_done: int = 0
    rows_failed: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    rate: float = 0.0
    seconds_left: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended: ``finished``, or ``failed`` with ``code`` and ``reason``."""

    outcome: str
    progress: Progress
    code: str = ""
    reason: str = ""
    manifests: tuple[str, ...] = ()
    quarantine: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """An instance that is ready now."""

    instance_id: str
    host: str
    port: int


def write_run(folder: Path, spec: RunSpec) -> None:
    """Leave ``run.json`` in a run's folder; atomic."""
    write_private(folder / RUN_FILE, orjson.dumps(asdict(spec)))


def read_run(folder: Path) -> RunSpec:
    """``run.json`` of a run's folder; keys that are not known are ignored. Raises ``BadRun``."""
    data = _read(folder / RUN_FILE)
    known = {field.name: field for field in fields(RunSpec)}
    try:
        return RunSpec(**{name: value for name, value in data.items() if name in known})  # type: ignore[arg-type]
    except TypeError as error:
        raise BadRun(f"{RUN_FILE}: {error}") from None


def write_endpoints(folder: Path, addresses: list[Address]) -> None:
    """Tell the driver which instances are ready."""
    content = {"endpoints": [asdict(address) for address in addresses]}
    write_private(folder / ENDPOINTS_FILE, orjson.dumps(content))


def read_endpoints(folder: Path) -> list[Address]:
    """The instances that are ready; empty where nobody has said so yet. Raises ``BadRun``."""
    if not (folder / ENDPOINTS_FILE).exists():
        return []
    found = _read(folder / ENDPOINTS_FILE).get("endpoints")
    if not isinstance(found, list):
        raise BadRun(f"{ENDPOINTS_FILE}: no list of endpoints")
    return [Address(str(one["instance_id"]), str(one["host"]), int(one["port"])) for one in found]


def write_progress(folder: Path, progress: Progress) -> None:
    """Replace ``progress.json``."""
    write_private(folder / PROGRESS_FILE, orjson.dumps(asdict(progress)))


def read_progress(folder: Path) -> Progress | None:
    """What the driver said last; None before its first word."""
    try:
        return _progress(_read(folder / PROGRESS_FILE))
    except BadRun:
        return None


def write_result(folder: Path, result: Result) -> None:
    """End a run: ``result.json`` survives a power cut once this returns."""
    path = folder / RESULT_FILE
    write_private(path, orjson.dumps(asdict(result)))
    for one, flags in ((path, os.O_RDONLY), (folder, os.O_RDONLY | os.O_DIRECTORY)):
        descriptor = os.open(one, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_result(folder: Path) -> Result | None:
    """How the run ended; None while it is not over."""
    try:
        data = _read(folder / RESULT_FILE)
    except BadRun:
        return None
    inner = data.get("progress")
    found = data.get("manifests")
    return Result(
        outcome=str(data.get("outcome", "")),
        progress=_progress(inner if isinstance(inner, dict) else {}),
        code=str(data.get("code", "")),
        reason=str(data.get("reason", "")),
        manifests=tuple(str(one) for one in found) if isinstance(found, list) else (),
        quarantine=str(data.get("quarantine", "")),
    )


def _progress(data: Mapping[str, object]) -> Progress:
    known = {field.name for field in fields(Progress)}
    return Progress(**{name: value for name, value in data.items() if name in known})  # type: ignore[arg-type]


def _read(path: Path) -> dict[str, object]:
    try:
        data = orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadRun(f"{path.name}: {error}") from None
    if not isinstance(data, dict):
        raise BadRun(f"{path.name}: not an object")
    return data
