"""Who the command acts as, and at which address."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from modelyard.client.documents import Document
from modelyard.client.failures import CliError
from modelyard.settings import Settings, variable_of


@dataclass(frozen=True, slots=True)
class Credentials:
    """What it takes to get a project-scoped token (iam.md §1).

    ``auth_url`` ends with ``/v3``. ``source`` says where it came from, for error messages.
    """

    auth_url: str
    region: str
    domain_name: str
    user_name: str
    password: str
    project_name: str
    project_id: str
    source: str

    @property
    def address(self) -> str:
        """The platform's public address, without a trailing slash."""
        return self.auth_url.rstrip("/").removesuffix("/v3")


def settings_for(home: Path | None) -> Settings:
    """The settings as flags and environment give them.

    Raises ``CliError`` naming the variable that is not valid.
    """
    return checked_settings({} if home is None else {"home": home})


def checked_settings(values: Mapping[str, object]) -> Settings:
    """``Settings`` from flags over environment over defaults; errors as one line."""
    try:
        return Settings(**dict(values))  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        variable = variable_of(first["loc"])
        flag = variable.removeprefix("MODELYARD_").lower().replace("_", "-")
        raise CliError(
            f"The setting {variable} is not valid: {first['msg']}.",
            f"Correct the variable, or give another value with --{flag}.",
        ) from error


def find_credentials(home: Path | None) -> Credentials:
    """The home's own; or those of ``OS_*`` variables, for another user of the same platform.

    Variables that lead to another cloud count only where there is no platform here. Raises
    ``CliError`` when there are no credentials.
    """
    path = settings_for(home).layout.credentials_file
    if home is None and all(os.environ.get(f"OS_{key}") for key in _NEEDED):
        given = _from_environment(os.environ)
        if not path.exists() or given.address == read_credentials(path).address:
            return given
    return read_credentials(path)


def read_credentials(path: Path) -> Credentials:
    """What the platform's first start wrote.

    Raises ``CliError`` when the file is missing or not readable.
    """
    try:
        document = Document(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise CliError(
            f"There are no credentials at {path}.",
            "Start the platform with `modelyard up`, or name its folder with --home.",
        ) from None
    except (OSError, ValueError) as error:
        raise CliError(
            f"The credentials at {path} cannot be read: {error}.",
            "Restore the file, or move it away and run `modelyard up` again.",
        ) from error
    return Credentials(
        auth_url=document.text("auth_url"),
        region=document.text("region"),
        domain_name=document.text("domain_name"),
        user_name=document.text("user_name"),
        password=document.text("password"),
        project_name=document.text("project_name"),
        project_id=document.text("project_id"),
        source=str(path),
    )


_NEEDED = ("AUTH_URL", "USERNAME", "PASSWORD")


def _from_environment(environ: Mapping[str, str]) -> Credentials:
    def value(name: str, default: str = "") -> str:
        return environ.get(f"OS_{name}", default)

    url = value("AUTH_URL").rstrip("/")
    return Credentials(
        auth_url=url if url.endswith("/v3") else f"{url}/v3",
        region=value("REGION_NAME"),
        domain_name=value("USER_DOMAIN_NAME") or value("DOMAIN_NAME", "Default"),
        user_name=value("USERNAME"),
        password=value("PASSWORD"),
        project_name=value("PROJECT_NAME"),
        project_id=value("PROJECT_ID"),
        source="the OS_* environment variables",
    )


def exports(credentials: Credentials) -> dict[str, str]:
    """The ``OS_*`` variables by which OpenStack clients find and enter the platform."""
    return {
        "OS_AUTH_TYPE": "password",
        "OS_AUTH_URL": credentials.auth_url,
        "OS_IDENTITY_API_VERSION": "3",
        "OS_USERNAME": credentials.user_name,
        "OS_PASSWORD": credentials.password,
        "OS_USER_DOMAIN_NAME": credentials.domain_name,
        "OS_PROJECT_NAME": credentials.project_name,
        "OS_PROJECT_DOMAIN_NAME": credentials.domain_name,
        "OS_REGION_NAME": credentials.region,
        "OS_INTERFACE": "public",
    }


def export_lines(variables: Mapping[str, str]) -> str:
    """``export NAME=value`` lines for a POSIX shell, quoted.

    ``eval $(modelyard env)`` without double quotes joins the lines by blanks, so each ends with a
    semicolon.
    """
    return "\n".join(f"export {name}={shlex.quote(value)};" for name, value in variables.items())
