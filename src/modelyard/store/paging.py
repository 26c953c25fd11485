"""One page of a list."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """``offset`` counts records (services.md §12 row 22)."""

    offset: int
    limit: int
    sort_by: str
    descending: bool
