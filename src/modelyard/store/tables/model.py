"""The model catalogue: versions of models and what happened to them (models.md §1, §7)."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from modelyard.store.tables.base import JsonArray, JsonObject, Millis, Table


class Model(Table):
    """One version of a model.

    ``status`` is one of models.md §1.2, ``failed_reason`` says why it has failed. ``requested``
    holds the body of the create call, for the importer; the other columns hold what is in force.
    ``size`` in bytes, ``version_order`` is the version as one sortable number, ``package_dir`` the
    folder that holds ``model/`` (empty until published). ``environment``: the digest of the
    environment it runs in, empty for the platform's own. ``findings``: what was found to differ
    from what the package asks for, or to need a fix. ``image`` and ``container``: the address of a
    custom image, and its port, protocol, command and probes (models.md §5).
    """

    __tablename__ = "model"
    __table_args__ = (UniqueConstraint("project_id", "name", "version"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64), index=True)
    name: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(8))
    version_order: Mapped[int]
    model_type: Mapped[str] = mapped_column(String(32))
    runtime: Mapped[str] = mapped_column(String(128), default="")
    description: Mapped[str] = mapped_column(String(100), default="")
    status: Mapped[str] = mapped_column(String(16), index=True)
    failed_reason: Mapped[str] = mapped_column(Text, default="")
    owner: Mapped[str] = mapped_column(String(64))
    tenant: Mapped[str] = mapped_column(String(64))
    workspace_id: Mapped[str] = mapped_column(String(64), default="0")

    source_location: Mapped[str] = mapped_column(Text)
    execution_code: Mapped[str] = mapped_column(Text, default="")
    source_job_id: Mapped[str] = mapped_column(String(128), default="")
    source_job_version: Mapped[str] = mapped_column(String(128), default="")
    source_type: Mapped[str] = mapped_column(String(16), default="")
    requested: Mapped[JsonObject]

    install_type: Mapped[JsonArray]
    config: Mapped[JsonObject] = mapped_column(default=dict)
    apis: Mapped[JsonArray] = mapped_column(default=list)
    input_params: Mapped[JsonArray] = mapped_column(default=list)
    output_params: Mapped[JsonArray] = mapped_column(default=list)
    dependencies: Mapped[JsonArray] = mapped_column(default=list)
    health: Mapped[JsonObject] = mapped_column(default=dict)
    model_algorithm: Mapped[str] = mapped_column(String(64), default="")
    model_metrics: Mapped[JsonObject] = mapped_column(default=dict)
    model_docs: Mapped[JsonArray] = mapped_column(default=list)

    package_dir: Mapped[str] = mapped_column(Text, default="")
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    environment: Mapped[str] = mapped_column(String(64), default="")
    findings: Mapped[JsonArray] = mapped_column(default=list)
    image: Mapped[str] = mapped_column(Text, default="")
    container: Mapped[JsonObject] = mapped_column(default=dict)
    created_at: Mapped[int] = mapped_column(Millis)


class ModelEvent(Table):
    """Something that happened to a model; ``event_type`` is ``normal`` or ``abnormal``."""

    __tablename__ = "model_event"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("model.id", ondelete="CASCADE"), index=True)
    event_type: Mapped[str] = mapped_column(String(16))
    event_info: Mapped[str] = mapped_column(Text)
    occur_time: Mapped[int] = mapped_column(Millis)
