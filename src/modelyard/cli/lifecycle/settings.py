"""Read the settings that a command which works on the platform itself needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from modelyard.cli.lifecycle.wanted import as_started
from modelyard.client.failures import ClientError
from modelyard.settings import Settings, variable_of


def checked_settings(values: Mapping[str, object]) -> Settings:
    """Return the settings from flags over environment over defaults.

    Raises ``ClientError`` that names the first variable which is not valid.
    """
    try:
        return Settings(**dict(values))  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        variable = variable_of(first["loc"])
        flag = variable.removeprefix("MODELYARD_").lower().replace("_", "-")
        raise ClientError(
            f"The setting {variable} is not valid: {first['msg']}.",
            f"Correct the variable, or give another value with --{flag}.",
        ) from error


def started_settings(home: Path | None, **flags: object) -> Settings:
    """Return each setting from its flag, its variable, the running platform, or its default.

    The first of these that has a value wins. Raises ``ClientError`` as ``checked_settings``.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    if home is not None:
        given["home"] = home
    return checked_settings(as_started(given, checked_settings(given)))
