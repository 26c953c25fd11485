"""``import log``: the logging module that inference scripts expect (models.md §4.1)."""

from __future__ import annotations

from logging import CRITICAL, DEBUG, ERROR, INFO, WARNING, Logger, getLogger

__all__ = ["CRITICAL", "DEBUG", "ERROR", "INFO", "WARNING", "Logger", "getLogger", "get_logger"]


def get_logger(name: str | None = None) -> Logger:
    """The logger called ``name``; lines reach the instance's log from WARNING upwards."""
    return getLogger(name)
