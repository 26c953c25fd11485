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

from modelyard_instance.apis import BadConfig

MOST_WORKERS = 64
MOST_ROWS = 1024
_MOST_BY_DEFAULT = 4
# An interpreter with its engine, in MB; and a model while it is read from its files.
_EMPTY_MB = 256
_TIMES_ITS_FILES = 2


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


def options_of(config: Mapping[str, object]) -> Options:
    """The options in a parsed ``config.json``. Raises ``BadConfig``. Pure."""
    batching = config.get("batching")
    batch = 0
    if batching is not None:
        if not isinstance(batching, Mapping) or set(batching) != {"max_size"}:
            raise BadConfig('config.json: batching must look like {"max_size": 64}')
        batch = _whole("batching.max_size", batching["max_size"], MOST_ROWS)
    workers = config.get("workers")
    return Options(batch, 0 if workers is None else _whole("workers", workers, MOST_WORKERS))


def _whole(name: str, value: object, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise BadConfig(f"config.json: {name} must be a whole number from 1 to {most}")
    return value
