"""The runs of batch services."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from modelyard.store.tables.base import JsonArray, JsonObject, Millis, Table


class BatchRun(Table):
    """One run of a batch service over its input. Times in ms since 1970.

    ``revision``: the one it began with; ``retry_of``: the run whose failures it computes again.
    ``outcome`` is empty while it continues (``domain/batch/run.py``), ``code`` and ``reason`` are
    those of a failure. ``progress``: as its driver reported it last.

    ``driver_since``: when the driver that works on it was first seen; None: it has none.
    ``driver_losses``: how many exited without a result, one after the other; the next may start at
    ``driver_due``. ``closed_at``: when nothing of it ran any more. ``kept``: its checkpoints are
    still there, so that its failures can be computed again.
    """

    __tablename__ = "batch_run"
    __table_args__ = (Index("ix_batch_run_service_id_created_at", "service_id", "created_at"),)

    task_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    service_id: Mapped[str] = mapped_column(ForeignKey("service.id", ondelete="CASCADE"))
    revision: Mapped[int]
    retry_of: Mapped[str] = mapped_column(String(36), default="")
    created_at: Mapped[int] = mapped_column(Millis)
    started_at: Mapped[int | None] = mapped_column(Millis)
    finished_at: Mapped[int | None] = mapped_column(Millis)
    outcome: Mapped[str] = mapped_column(String(16), default="")
    code: Mapped[str] = mapped_column(String(16), default="")
    reason: Mapped[str] = mapped_column(Text, default="")
    progress: Mapped[JsonObject] = mapped_column(default=dict)
    manifests: Mapped[JsonArray] = mapped_column(default=list)
    quarantine: Mapped[str] = mapped_column(Text, default="")
    driver_since: Mapped[int | None] = mapped_column(Millis)
    driver_losses: Mapped[int] = mapped_column(default=0)
    driver_due: Mapped[int] = mapped_column(Millis, default=0)
    closed_at: Mapped[int | None] = mapped_column(Millis)
    kept: Mapped[bool] = mapped_column(default=True)
