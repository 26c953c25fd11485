"""All groups of settings together, built from names without a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from modelyard.settings.group import SettingsGroup
from modelyard.settings.groups import (
    ApiSettings,
    BatchSettings,
    CapacitySettings,
    GatewaySettings,
    IamSettings,
    PackageSettings,
    PredictionSettings,
    RolloutSettings,
    RuntimeSettings,
    StoreSettings,
)
from modelyard.settings.home import HomeLayout
from modelyard.settings.pools import write_list


class Settings(BaseModel):
    """The settings of a platform: ``Settings(port=8701)`` over ``MODELYARD_*`` over defaults.

    An argument is a group, or a setting by its own name; unknown names are ignored, so that what a
    home of another build remembers can be read.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    layout: HomeLayout = Field(default_factory=HomeLayout)
    api: ApiSettings = Field(default_factory=ApiSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    iam: IamSettings = Field(default_factory=IamSettings)
    gateway: GatewaySettings = Field(default_factory=GatewaySettings)
    predictions: PredictionSettings = Field(default_factory=PredictionSettings)
    capacity: CapacitySettings = Field(default_factory=CapacitySettings)
    runtime: RuntimeSettings = Field(default_factory=RuntimeSettings)
    rollout: RolloutSettings = Field(default_factory=RolloutSettings)
    packages: PackageSettings = Field(default_factory=PackageSettings)
    batch: BatchSettings = Field(default_factory=BatchSettings)

    @model_validator(mode="before")
    @classmethod
    def _in_groups(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Move each setting into its group. Every group is built here, also one without values, so
        that the place of an error is always group and setting.
        """
        return {
            group: values.get(group, {name: values[name] for name in fields if name in values})
            for group, fields in _fields_of(cls).items()
        }

    @classmethod
    def fields(cls) -> dict[str, FieldInfo]:
        """Every setting by its own name, the groups in order."""
        return {name: info for fields in _fields_of(cls).values() for name, info in fields.items()}

    @property
    def given(self) -> set[str]:
        """The names of the settings that an argument or a variable gives."""
        return {name for group in self._groups() for name in group.model_fields_set}

    def as_text(self, name: str) -> str:
        """A setting as its variable would carry it."""
        if name == "pools":
            return write_list(self.capacity.pools)
        group = next(group for group in self._groups() if name in type(group).model_fields)
        return str(getattr(group, name))

    def _groups(self) -> list[SettingsGroup]:
        return [getattr(self, name) for name in type(self).model_fields]

    @property
    def home(self) -> Path:
        """The folder that holds everything of this platform."""
        return self.layout.home

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.store.database_url or f"sqlite+aiosqlite:///{self.home / 'modelyard.db'}"

    @property
    def objects(self) -> str:
        """Root of the object store: a folder's path or an ``s3://`` / ``http(s)://`` endpoint."""
        return self.store.object_store or str(self.home / "objects")


def variable_of(place: Sequence[int | str]) -> str:
    """The ``MODELYARD_*`` variable of an error's ``loc``, which begins with the group."""
    return "MODELYARD_" + "_".join(str(part) for part in place[1:]).upper()


def _fields_of(cls: type[Settings]) -> dict[str, dict[str, FieldInfo]]:
    groups = {name: info.annotation for name, info in cls.model_fields.items()}
    return {
        name: group.model_fields
        for name, group in groups.items()
        if isinstance(group, type) and issubclass(group, SettingsGroup)
    }
