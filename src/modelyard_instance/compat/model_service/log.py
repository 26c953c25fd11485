"""``import model_service.log as log`` (models.md §4.1)."""

from modelyard_instance.compat.log import (
    CRITICAL,
    DEBUG,
    ERROR,
    INFO,
    WARNING,
    Logger,
    get_logger,
    getLogger,
)

__all__ = ["CRITICAL", "DEBUG", "ERROR", "INFO", "WARNING", "Logger", "getLogger", "get_logger"]
