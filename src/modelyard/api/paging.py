"""Query parameters of lists: paging, sorting, filters, with errors that name the parameter."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from fastapi import Depends, Request

from modelyard.domain.body_reader import Fields, Problems
from modelyard.errors import refuse
from modelyard.store.events import EventFilter
from modelyard.store.paging import Page

LIMIT_DEFAULT = 1000
_NOT_IN_EVENT_INFO = "`(){}';,[]<>/?"


class Query:
    """Reads a request's query; problems are gathered and raised by ``check``."""

    def __init__(self, request: Request) -> None:
        self._problems = Problems()
        self._fields = Fields(dict(request.query_params), "", self._problems)

    def text(self, key: str, choices: Collection[str] = ()) -> str | None:
        """A filter; blank counts as absent."""
        return self._fields.text(key, choices=tuple(choices)) or None

    def text_without(self, key: str, forbidden: Collection[str]) -> str | None:
        """A filter that may not contain certain characters."""
        value = self.text(key)
        if value and (bad := sorted(set(value) & set(forbidden))):
            self._problems.invalid(key, f"contains {' '.join(bad)}", "Leave these out.")
        return value

    def integer(self, key: str, default: int | None = None, *, low: int = 0) -> int | None:
        value = self._fields.integer(key, low=low)
        return default if value is None else value

    def page(self, sort_keys: Collection[str], default_sort: str) -> Page:
        """``offset`` (records), ``limit``, ``sort_by`` and ``order`` (services.md §9.1, §12)."""
        sort_by = self.text("sort_by", sort_keys) or default_sort
        order = self.text("order", ("asc", "desc")) or "desc"
        limit = self.integer("limit", LIMIT_DEFAULT, low=1)
        offset = self.integer("offset", 0)
        return Page(offset or 0, min(limit or 1, LIMIT_DEFAULT), sort_by, order == "desc")

    def events(self) -> tuple[EventFilter, Page]:
        """Which events, and which of them (services.md §9.5)."""
        wanted = EventFilter(
            event_type=self.text("event_type", ("normal", "abnormal")),
            event_info=self.text_without("event_info", _NOT_IN_EVENT_INFO),
            start_time=self.integer("start_time"),
            end_time=self.integer("end_time"),
        )
        return wanted, self.page(("occur_time",), "occur_time")

    def check(self) -> None:
        """Raises ``InvalidRequest`` when a parameter was unusable."""
        if self._problems.found:
            raise refuse(self._problems.found)


async def read_query(request: Request) -> Query:
    """The query of a request, to be read by its route."""
    return Query(request)


QueryDep = Annotated[Query, Depends(read_query)]
"""A query; routes add the model of it (``contract/declare.py``)."""
