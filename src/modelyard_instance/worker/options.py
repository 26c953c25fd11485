"""What a package's ``config.json`` asks of its model server: ours, not the original's.

``"batching": {"max_size": 64}``
    Requests that queued while the last batch ran are computed as one: ``_preprocess`` is called for
    each, ``_inference`` once with their rows one behind the other, ``_postprocess`` for each with
    its rows of the result. What ``_preprocess`` gives must be a list, an array or a tensor whose
    first axis is rows, or a mapping of such; what ``_inference`` gives likewise. Nobody waits for a
    batch to fill.
``"workers": 2``
    That many processes hold the model and compute at the same time, the instance's cores shared out
    among them. Each costs the model's memory. Without it a package with a script gets one, since it
    may keep something from one request to the next; one without gets one per whole core, at most 4,
    and no more than its memory has room for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelyard_instance.worker.apis import BadConfig

MOST_WORKERS = 64
MOST_ROWS = 1024
_MOST_BY_DEFAULT = 4
# An interpreter with its engine, in MB; and a model while it is read from its files.
_EMPTY_MB = 256
_TIMES_ITS_FILES = 2

_SIZE = "max_size"
_BATCHING = 'Write "batching": {"max_size": 64}, or leave it out.'


@dataclass(frozen=True, slots=True)
class Options:
    """``batch``: requests computed as one, 0 when the package does not say. ``workers``: or 0."""

    batch: int = 0
    workers: int = 0

    def workers_for(
        self, cpu: float, *, script: bool, memory_mb: float, files_mb: float = 0.0
    ) -> int:
        """Processes that hold the model, in an instance of ``cpu`` cores and ``memory_mb``. Pure.

        ``script``: the package brings a class of its own. ``files_mb``: what its files are in MB.
        """
        if self.workers or script:
            return self.workers or 1
        room = memory_mb / (_EMPTY_MB + _TIMES_ITS_FILES * files_mb)
        return max(1, min(_MOST_BY_DEFAULT, int(cpu), int(room)))


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong: the ``field`` of config.json, the ``reason``, how to ``fix`` it."""

    field: str
    reason: str
    fix: str


def options_of(config: Mapping[str, object]) -> Options:
    """The options in a parsed ``config.json``. Raises ``BadConfig`` for its first fault. Pure."""
    options, faults = judged(config)
    for fault in faults:
        raise BadConfig(f"config.json: {fault.field} {fault.reason}. {fault.fix}")
    return options


def judged(config: Mapping[str, object]) -> tuple[Options, tuple[Fault, ...]]:
    """The options as far as they are good, and everything that is wrong with them. Pure."""
    faults: list[Fault] = []
    batch = _batch(config.get("batching"), faults)
    workers = _whole("workers", config.get("workers"), MOST_WORKERS, faults)
    return Options(batch, workers), tuple(faults)


def _batch(value: object, faults: list[Fault]) -> int:
    if value is None:
        return 0
    if not isinstance(value, Mapping):
        faults.append(Fault("batching", f"is {_kind(value)} and no object", _BATCHING))
        return 0
    for key in value:
        if key != _SIZE:
            faults.append(Fault(f"batching.{str(key)[:60]}", "is no option of batching", _BATCHING))
    if value.get(_SIZE) is None:
        faults.append(Fault(f"batching.{_SIZE}", "is missing", _BATCHING))
    return _whole(f"batching.{_SIZE}", value.get(_SIZE), MOST_ROWS, faults)


def _whole(field: str, value: object, most: int, faults: list[Fault]) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        fix = f"Write a whole number from 1 to {most}, without quotation marks, or leave it out."
        faults.append(Fault(field, f"is {_kind(value)} and no whole number", fix))
        return 0
    if not 1 <= value <= most:
        reason = f"must be a whole number from 1 to {most}"
        faults.append(Fault(field, reason, "Correct it, or leave it out."))
        return 0
    return value


def _kind(value: object) -> str:
    """How a person calls the type of a value of JSON."""
    kinds = {bool: "true or false", str: "text", list: "a list", dict: "an object"}
    return kinds.get(type(value), "a number")
