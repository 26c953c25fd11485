"""The files between the control plane and the driver of a run: ``run.json``, ``endpoints.json``,
``progress.json``, ``result.json``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

import orjson

from modelyard.domain.batch.run import Address, Progress, Result, RunSpec
from modelyard.processes import write_private

FORM = "multipart/form-data"

RUN_FILE = "run.json"
ENDPOINTS_FILE = "endpoints.json"
PROGRESS_FILE = "progress.json"
RESULT_FILE = "result.json"
LOCK_FILE = "driver.lock"
JOURNAL_FILE = "journal.sqlite"
SPOOL_FOLDER = "spool"


class BadRun(ValueError):
    """A file of a run's folder that cannot be read; the message says which and why."""


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
    """Replace ``endpoints.json``: the instances that are ready."""
    content = {"endpoints": [asdict(address) for address in addresses]}
    write_private(folder / ENDPOINTS_FILE, orjson.dumps(content))


def read_endpoints(folder: Path) -> list[Address]:
    """The instances that are ready; empty while the file is missing. Raises ``BadRun``."""
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
    """What the driver reported last; None before its first report."""
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
