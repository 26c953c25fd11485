"""The store's verbs for events and update logs, under the names that callers of old use."""

from __future__ import annotations

from modelyard.store.events import ABNORMAL, NORMAL
from modelyard.store.events import record as event
from modelyard.store.service.update_logs import (
    close_logs,
    finish_rollbacks,
    note_published,
    open_log,
    open_logs,
    overtake,
    succeed,
    update_runs,
)

__all__ = [
    "ABNORMAL",
    "NORMAL",
    "close_logs",
    "event",
    "finish_rollbacks",
    "note_published",
    "open_log",
    "open_logs",
    "overtake",
    "succeed",
    "update_runs",
]
