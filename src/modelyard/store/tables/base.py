"""What every table shares."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, MetaData
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, registry

# Named constraints let Alembic change them later on both databases.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

Document = JSON().with_variant(JSONB(), "postgresql")
"""A JSON document in a column of its own kind."""

Millis = BigInteger
"""Milliseconds since 1970-01-01T00:00:00Z."""

JsonObject = dict[str, Any]
JsonArray = list[Any]


class Table(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    registry = registry(type_annotation_map={JsonObject: Document, JsonArray: Document})
