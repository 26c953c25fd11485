"""Find the user to act as, and the platform's address."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard.client.documents import Document
from modelyard.client.failures import ClientError


@dataclass(frozen=True, slots=True)
class Credentials:
    """Everything that a request for a project-scoped token needs (iam.md §1).

    ``auth_url`` ends with ``/v3``. ``source``: where the values come from, for error messages.
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


def find_credentials(home: Path | None) -> Credentials:
    """Read the home's credentials, or the ``OS_*`` variables of another user of this platform.

    Variables that name another cloud are used only if the home has no credentials. Raises
    ``ClientError`` when there are none.
    """
    path = credentials_file(home)
    if home is None and all(os.environ.get(f"OS_{key}") for key in _NEEDED):
        given = _from_environment(os.environ)
        if not path.exists() or given.address == read_credentials(path).address:
            return given
    return read_credentials(path)


def credentials_file(home: Path | None) -> Path:
    """Return the path of the file that the first start of a platform writes.

    Without ``home``, the folder is ``MODELYARD_HOME`` or ``~/.modelyard``.
    """
    folder = home or Path(os.environ.get("MODELYARD_HOME") or "~/.modelyard")
    return folder.expanduser().absolute() / "credentials.json"


def read_credentials(path: Path) -> Credentials:
    """Read the file that the platform's first start wrote.

    Raises ``ClientError`` when the file is missing or not readable.
    """
    try:
        document = Document(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise ClientError(
            f"There are no credentials at {path}.",
            "Start the platform with `modelyard up`, or name its folder with --home.",
        ) from None
    except (OSError, ValueError) as error:
        raise ClientError(
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
    """Return the ``OS_*`` variables with which OpenStack clients log in to the platform."""
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
    """Return ``export NAME=value`` lines for a POSIX shell, quoted.

    ``eval $(modelyard env)`` without double quotes joins the lines by blanks, so each ends with a
    semicolon.
    """
    return "\n".join(f"export {name}={shlex.quote(value)};" for name, value in variables.items())
