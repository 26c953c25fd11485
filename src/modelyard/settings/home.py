"""The folders and files of a platform's home."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from modelyard.settings.group import SettingsGroup

# A Unix socket's path may have 107 bytes; the longest name we append is about 25.
_LONGEST_SOCKET_FOLDER = 80


def _expanded(value: Any) -> Any:
    return Path(value).expanduser().absolute() if isinstance(value, str | Path) else value


class HomeLayout(SettingsGroup):
    """Where everything of one platform lies."""

    home: Annotated[Path, BeforeValidator(_expanded)] = Field(
        default=Path("~/.modelyard"), validate_default=True
    )

    @property
    def credentials_file(self) -> Path:
        return self.home / "credentials.json"

    @property
    def keys_dir(self) -> Path:
        return self.home / "keys"

    @property
    def logs_dir(self) -> Path:
        return self.home / "logs"

    @property
    def packages_dir(self) -> Path:
        """Where imported model packages lie, ready for instances."""
        return self.home / "packages"

    @property
    def environments_dir(self) -> Path:
        """The environments of packages, each under its digest."""
        return self.home / "environments"

    def environment_python(self, digest: str) -> str:
        """The interpreter of an environment; empty for the platform's own."""
        return str(self.environments_dir / digest / "venv" / "bin" / "python") if digest else ""

    @property
    def environments_cache_dir(self) -> Path:
        """What uv has fetched; on one file system with the environments, so that it links files."""
        return self.environments_dir / ".cache"

    @property
    def checks_dir(self) -> Path:
        """The operator's scripts that a guarded rollout may name."""
        return self.home / "checks"

    @property
    def run_dir(self) -> Path:
        """Pid files and records of running processes."""
        return self.home / "run"

    @property
    def instances_dir(self) -> Path:
        return self.run_dir / "instances"

    @property
    def runs_dir(self) -> Path:
        """What the runs of batch services keep, each in a folder of its own."""
        return self.home / "batch"

    @property
    def containers_dir(self) -> Path:
        """Records of the containers that serve custom images."""
        return self.run_dir / "containers"

    @property
    def node_file(self) -> Path:
        """8 hex digits that name this home for as long as it exists."""
        return self.home / "node-id"

    @property
    def sockets_dir(self) -> Path:
        """Unix sockets; moved to the temporary folder when the home's path is too long for one."""
        inside = self.run_dir / "sockets"
        if len(os.fsencode(inside)) <= _LONGEST_SOCKET_FOLDER:
            return inside
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"modelyard-{os.getuid()}-{digest}"

    @property
    def api_socket(self) -> Path:
        """Where the control plane listens; Envoy is its only client."""
        return self.sockets_dir / "api.sock"

    @property
    def xds_socket(self) -> Path:
        return self.sockets_dir / "xds.sock"

    @property
    def request_log(self) -> Path:
        """The gateway's log of predictions; the file before it has ``.1`` behind the name."""
        return self.logs_dir / "requests.log"

    @property
    def gateway_admin_socket(self) -> Path:
        return self.sockets_dir / "gateway-admin.sock"

    def prepare_home(self) -> None:
        """Make the folders, readable by the owner only."""
        for folder in (
            self.home,
            self.keys_dir,
            self.logs_dir,
            self.packages_dir,
            self.environments_dir,
            self.checks_dir,
            self.run_dir,
            self.instances_dir,
            self.runs_dir,
            self.sockets_dir,
        ):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._own_sockets_dir()

    def _own_sockets_dir(self) -> None:
        """Refuse a socket folder that somebody else put in our way: in the temporary folder
        anyone may. Raises ``PermissionError``.
        """
        found = self.sockets_dir.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise PermissionError(
                f"{self.sockets_dir} belongs to somebody else. "
                "Choose a MODELYARD_HOME with a shorter path."
            )
        self.sockets_dir.chmod(0o700)

    def forget_sockets(self) -> None:
        """Remove the sockets of a platform that is down; inside the home the folder stays."""
        for socket in self.sockets_dir.glob("*.sock"):
            socket.unlink(missing_ok=True)
        if self.run_dir not in self.sockets_dir.parents and self.sockets_dir.is_dir():
            self.sockets_dir.rmdir()
