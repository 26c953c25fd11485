"""Amounts of what instances are made of: cores, memory, accelerators; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Resources:
    """``cpu`` in cores, ``memory_mb`` in MB, ``gpu`` in cards (fractions too), ``npu`` in chips."""

    cpu: float = 0.0
    memory_mb: int = 0
    gpu: float = 0.0
    npu: int = 0

    def __add__(self, other: Self) -> Resources:
        # Two decimals are all there is: sums must not drift away from them.
        return Resources(
            round(self.cpu + other.cpu, 2),
            self.memory_mb + other.memory_mb,
            round(self.gpu + other.gpu, 2),
            self.npu + other.npu,
        )

    def __mul__(self, count: int) -> Resources:
        return Resources(
            round(self.cpu * count, 2),
            self.memory_mb * count,
            round(self.gpu * count, 2),
            self.npu * count,
        )

    def within(self, other: Self) -> bool:
        """Whether ``other`` has at least as much of everything."""
        return (
            self.cpu <= other.cpu
            and self.memory_mb <= other.memory_mb
            and self.gpu <= other.gpu
            and self.npu <= other.npu
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """How much there is, in the units of ``Resources``; None: without a limit."""

    cpu: float | None = None
    memory_mb: int | None = None
    gpu: float | None = None
    npu: int | None = None

    @property
    def any(self) -> bool:
        return any(x is not None for x in (self.cpu, self.memory_mb, self.gpu, self.npu))

    def less(self, used: Resources) -> Limits:
        """What is left beside ``used``; never below nothing."""
        return Limits(
            None if self.cpu is None else max(0.0, round(self.cpu - used.cpu, 2)),
            None if self.memory_mb is None else max(0, self.memory_mb - used.memory_mb),
            None if self.gpu is None else max(0.0, round(self.gpu - used.gpu, 2)),
            None if self.npu is None else max(0, self.npu - used.npu),
        )

    def missing(self, need: Resources) -> Resources:
        """By how much ``need`` exceeds this; nothing where it fits."""
        return Resources(
            0.0 if self.cpu is None else max(0.0, round(need.cpu - self.cpu, 2)),
            0 if self.memory_mb is None else max(0, need.memory_mb - self.memory_mb),
            0.0 if self.gpu is None else max(0.0, round(need.gpu - self.gpu, 2)),
            0 if self.npu is None else max(0, need.npu - self.npu),
        )
