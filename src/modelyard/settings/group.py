"""The common base of the groups of settings."""

from __future__ import annotations

from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsGroup(BaseSettings):
    """Reads its fields from ``MODELYARD_*`` variables where no argument gives them."""

    model_config = SettingsConfigDict(
        env_prefix="MODELYARD_", extra="forbid", frozen=True, env_file=None
    )
