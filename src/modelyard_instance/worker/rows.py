"""Rows of several requests put one behind the other, and their results taken apart. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

# What flows through a script is the script's own business.
Data = Any

_EXACT = 1 << 53


class Unbatchable(Exception):
    """These rows, or this result, cannot be computed as one or taken apart."""


def number_width(rows: Data) -> int:
    """The width of rows that are lists of plain numbers; 0 for anything else.

    Only such rows mean the same beside others: a text among them would make texts of all, and a
    whole number beyond 2**53 would lose digits beside a fraction.
    """
    if type(rows) is not list or not rows or type(rows[0]) is not list:
        return 0
    width = len(rows[0])
    for row in rows:
        if type(row) is not list or len(row) != width:
            return 0
        for value in row:
            kind = type(value)
            if kind is not float and (kind is not int or not -_EXACT < value < _EXACT):
                return 0
    return width


def joined(values: Sequence[Data]) -> tuple[Data, list[int]]:
    """``values`` as one value, and how many rows each had. Raises ``Unbatchable``."""
    first = values[0]
    if isinstance(first, Mapping):
        keys = list(first)
        if any(not isinstance(one, Mapping) or list(one) != keys for one in values) or not keys:
            raise Unbatchable("requests with different names")
        whole: dict[Any, Data] = {}
        counts: list[int] = []
        for key in keys:
            whole[key], found = joined([one[key] for one in values])
            if counts and found != counts:
                raise Unbatchable("names with different numbers of rows")
            counts = found
        return whole, counts
    if any(type(one) is not type(first) for one in values):
        raise Unbatchable("requests of different types")
    counts = [_count(one) for one in values]
    if isinstance(first, list):
        widths = {number_width(one) for one in values}
        if len(widths) > 1:
            raise Unbatchable("rows of different kinds")
        return [row for one in values for row in one], counts
    if len({(str(one.dtype), tuple(one.shape[1:])) for one in values}) > 1:
        raise Unbatchable("arrays of different shapes or types")
    return _glue(values), counts


def parted(result: Data, counts: Sequence[int]) -> list[Data]:
    """Each request's part of ``result``. Raises ``Unbatchable`` when it is not rows."""
    total = sum(counts)
    if isinstance(result, Mapping):
        parts: list[Data] = [{} for _ in counts]
        for key, value in result.items():
            for part, piece in zip(parts, parted(value, counts), strict=True):
                part[key] = piece
        return parts
    if isinstance(result, str | bytes) or not hasattr(result, "__getitem__"):
        raise Unbatchable(f"a result of type {type(result).__name__} has no rows")
    if _count(result) != total:
        raise Unbatchable(f"{_count(result)} results for {total} rows")
    found, at = [], 0
    for count in counts:
        found.append(result[at : at + count])
        at += count
    return found


def _count(value: Data) -> int:
    shape = getattr(value, "shape", None)
    if shape is None and not isinstance(value, list | tuple):
        raise Unbatchable(f"a {type(value).__name__} has no rows")
    if shape is not None and len(shape) == 0:
        raise Unbatchable("a single number has no rows")
    size = len(value)
    if size == 0:
        raise Unbatchable("no rows")
    return size


def _glue(values: Sequence[Data]) -> Data:
    module = type(values[0]).__module__.partition(".")[0]
    if module == "numpy":
        return sys.modules["numpy"].concatenate(values)
    if module == "torch":
        return sys.modules["torch"].cat(list(values))
    raise Unbatchable(f"values of {module} cannot be put together")
