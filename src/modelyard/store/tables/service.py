"""Services, their revisions, instances, update logs and events."""

from __future__ import annotations

from sqlalchemy import (
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, synonym

from modelyard.store.tables.base import JsonArray, JsonObject, Millis, Table


class Service(Table):
    """One service: its desired state, its observed state, and the lease.

    API requests write the desired state (``desired_status``, ``desired_revision``,
    ``desired_since``) and increment ``generation``; the reconciler, which holds the lease, writes
    the outcome (``status``, ``serving_revision``, ``live_revision``…), and only while
    ``generation`` is the one that it read.

    ``kept_revision`` stays loaded without traffic until ``kept_until``. ``rollout_step`` is the
    step of a guarded rollout that is in force since ``rollout_since`` (None: not yet begun), and
    ``rollout_rejected`` why its guard refused it.
    """

    __tablename__ = "service"
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        Index("ix_service_check_at", "check_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64), index=True)
    name: Mapped[str] = mapped_column(String(64))
    description: Mapped[str] = mapped_column(Text, default="")
    infer_type: Mapped[str] = mapped_column(String(16))
    workspace_id: Mapped[str] = mapped_column(String(64), default="0")
    owner: Mapped[str] = mapped_column(String(64))
    tenant: Mapped[str] = mapped_column(String(64))
    additional_properties: Mapped[JsonObject | None]
    cluster_id: Mapped[str] = mapped_column(String(64), default="", server_default="")
    pool_name: Mapped[str] = mapped_column(String(64), default="", server_default="")
    priority: Mapped[int] = mapped_column(default=1, server_default="1")
    secrets: Mapped[JsonArray] = mapped_column(default=list, server_default="[]")
    schedule: Mapped[JsonObject | None]
    due_time: Mapped[int | None] = mapped_column(Millis)

    desired_status: Mapped[str] = mapped_column(String(16))
    desired_revision: Mapped[int]
    desired_since: Mapped[int] = mapped_column(Millis)
    wanted: Mapped[str] = synonym("desired_status")
    wished_at: Mapped[int] = synonym("desired_since")
    given_up: Mapped[bool] = mapped_column(default=False)
    generation: Mapped[int] = mapped_column(default=1)

    serving_revision: Mapped[int | None]
    live_revision: Mapped[int | None]
    status: Mapped[str] = mapped_column(String(16), index=True)
    progress: Mapped[int] = mapped_column(default=0)
    error_msg: Mapped[str] = mapped_column(Text, default="")

    kept_revision: Mapped[int | None]
    kept_until: Mapped[int | None] = mapped_column(Millis)
    rollout_step: Mapped[int] = mapped_column(default=0, server_default="0")
    rollout_since: Mapped[int | None] = mapped_column(Millis)
    rollout_rejected: Mapped[str] = mapped_column(Text, default="", server_default="")

    publish_at: Mapped[int] = mapped_column(Millis)
    transition_at: Mapped[int] = mapped_column(Millis)
    operation_time: Mapped[int] = mapped_column(Millis)
    update_time: Mapped[int] = mapped_column(Millis)

    lock_token: Mapped[str | None] = mapped_column(String(36))
    lock_expires_at: Mapped[int | None] = mapped_column(Millis)
    check_at: Mapped[int | None] = mapped_column(Millis)


class Revision(Table):
    """A full configuration, written once and never changed; ``config`` in canonical form.

    ``policy`` is the load balancer's, ``rollout`` how it is to be reached
    (``domain/service/rollout_policy.py``), ``origin`` the revision that it brings back, if it is a
    rollback.
    """

    __tablename__ = "revision"

    service_id: Mapped[str] = mapped_column(
        ForeignKey("service.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    config: Mapped[JsonArray]
    policy: Mapped[str] = mapped_column(String(32), server_default="ROUND_ROBIN")
    rollout: Mapped[JsonObject | None]
    origin: Mapped[int | None]
    created_at: Mapped[int] = mapped_column(Millis)
    created_by: Mapped[str] = mapped_column(String(64))


class RevisionModel(Table):
    """Which models a revision names: to find services by model, and models in use."""

    __tablename__ = "revision_model"
    __table_args__ = (
        ForeignKeyConstraint(
            ["service_id", "number"], ["revision.service_id", "revision.number"], ondelete="CASCADE"
        ),
        Index("ix_revision_model_model_id", "model_id"),
    )

    service_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[str] = mapped_column(String(36), primary_key=True)


class Instance(Table):
    """A model instance on record, written before its process exists.

    ``slot``: its place among the service's versions (``domain/service/slots.py``). ``ready_at``:
    when it first was ready. ``served_at``: since when it carries traffic
    (``domain/rollout/state.py``). ``ended_at`` set: it no longer exists, and ``failed`` is
    whether it was not asked to end.
    """

    __tablename__ = "instance"
    __table_args__ = (Index("ix_instance_service_id_ended_at", "service_id", "ended_at"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    service_id: Mapped[str] = mapped_column(ForeignKey("service.id", ondelete="CASCADE"))
    revision: Mapped[int]
    model_id: Mapped[str] = mapped_column(String(36))
    slot: Mapped[str] = mapped_column(String(64), server_default="")
    fingerprint: Mapped[str] = mapped_column(String(16))
    stage: Mapped[str] = mapped_column(String(16))
    host: Mapped[str] = mapped_column(String(64), default="")
    port: Mapped[int | None]
    pid: Mapped[int | None]
    created_at: Mapped[int] = mapped_column(Millis)
    since: Mapped[int] = mapped_column(Millis)
    grace_ms: Mapped[int]
    served_at: Mapped[int | None] = mapped_column(Millis)
    ready_at: Mapped[int | None] = mapped_column(Millis)
    ended_at: Mapped[int | None] = mapped_column(Millis)
    failed: Mapped[bool] = mapped_column(default=False)
    decisive: Mapped[bool] = mapped_column(default=False)
    message: Mapped[str] = mapped_column(Text, default="")


UNREPORTED = "report IS NULL AND (closed_at IS NULL OR closed_at > update_time)"
"""Updates that run, and those that have ended and have no report yet. What was only stored for a
later start, or overtaken at once, was closed when it was opened and gets none.
"""


class UpdateLog(Table):
    """One accepted configuration update and its result (services.md §9.4).

    ``published``: the routing versions that the gateway acknowledged meanwhile. ``report``: what
    clients noticed of it, once that is counted (``control/maintenance/reports.py``).
    """

    __tablename__ = "update_log"
    __table_args__ = (
        # Few rows at any time: the updates that run, and those whose report is still to come.
        Index(
            "ix_update_log_unreported",
            "closed_at",
            sqlite_where=text(UNREPORTED),
            postgresql_where=text(UNREPORTED),
        ),
    )

    service_id: Mapped[str] = mapped_column(
        ForeignKey("service.id", ondelete="CASCADE"), primary_key=True
    )
    update_time: Mapped[int] = mapped_column(Millis, primary_key=True)
    revision: Mapped[int]
    result: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text, default="")
    closed_at: Mapped[int | None] = mapped_column(Millis)
    published: Mapped[JsonArray] = mapped_column(default=list, server_default="[]")
    report: Mapped[JsonObject | None]


class ServingPeriod(Table):
    """Which revision answered from ``since`` (ms) on, until the next row; None: nothing did."""

    __tablename__ = "serving_period"

    service_id: Mapped[str] = mapped_column(
        ForeignKey("service.id", ondelete="CASCADE"), primary_key=True
    )
    since: Mapped[int] = mapped_column(Millis, primary_key=True)
    revision: Mapped[int | None]


class ServiceTag(Table):
    """One tag of a service (resources.md §7)."""

    __tablename__ = "service_tag"
    __table_args__ = (Index("ix_service_tag_key_value", "key", "value"),)

    service_id: Mapped[str] = mapped_column(
        ForeignKey("service.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    value: Mapped[str] = mapped_column(String(255), default="")


class IdempotentCall(Table):
    """The first answer to a call with an ``Idempotency-Key``; ``digest`` is of what was asked."""

    __tablename__ = "idempotent_call"

    project_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    answer: Mapped[JsonObject]
    created_at: Mapped[int] = mapped_column(Millis, index=True)


class Event(Table):
    """A sentence in a service's history (services.md §9.5)."""

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_service_id_occur_time", "service_id", "occur_time"),)

    # SQLite numbers rows by itself only for plain INTEGER keys.
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    service_id: Mapped[str] = mapped_column(ForeignKey("service.id", ondelete="CASCADE"))
    event_type: Mapped[str] = mapped_column(String(16))
    event_info: Mapped[str] = mapped_column(Text)
    occur_time: Mapped[int] = mapped_column(Millis, index=True)


class Counter(Table):
    """Predictions of one model since its service was created (services.md §9.3)."""

    __tablename__ = "counter"

    service_id: Mapped[str] = mapped_column(
        ForeignKey("service.id", ondelete="CASCADE"), primary_key=True
    )
    model_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    invocations: Mapped[int] = mapped_column(Millis, default=0)
    failures: Mapped[int] = mapped_column(Millis, default=0)
