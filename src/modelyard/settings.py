"""The one typed settings object: flags and ``MODELYARD_*`` variables, sane defaults."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from modelyard.pool_settings import PoolSettings, distinct, read_list, write_list

# A Unix socket's path may have 107 bytes; the longest name we append is about 25.
_LONGEST_SOCKET_FOLDER = 80


def _expanded(value: Any) -> Any:
    return Path(value).expanduser().absolute() if isinstance(value, str | Path) else value


def read_uids(text: str) -> range:
    """``FIRST-LAST`` as a range; an empty text is an empty one. Raises ``ValueError``."""
    if not text.strip():
        return range(0)
    first, _, last = text.partition("-")
    if not (first.strip().isdigit() and last.strip().isdigit() and 0 < int(first) <= int(last)):
        raise ValueError(
            "MODELYARD_INSTANCE_UIDS must be FIRST-LAST, for example 60000-64999, or empty"
        )
    return range(int(first), int(last) + 1)


class Settings(BaseSettings):
    """Everything that can be set. Sizes are bytes, times are seconds unless the name says more."""

    model_config = SettingsConfigDict(
        env_prefix="MODELYARD_", extra="ignore", frozen=True, env_file=None
    )

    home: Annotated[Path, BeforeValidator(_expanded)] = Field(
        default=Path("~/.modelyard"), validate_default=True
    )
    host: str = "127.0.0.1"
    port: int = Field(default=8700, ge=1, le=65535)
    public_url: str = Field(
        default="", description="what clients are told, when it is not http://HOST:PORT"
    )
    database_url: str = ""
    object_store: str = ""
    region: str = "local"
    admin_password: SecretStr | None = None
    log_level: str = "info"

    token_lifetime: int = Field(default=24 * 3600, ge=1, description="life of a token")
    prediction_timeout: float = Field(default=40.0, gt=0, description="longest prediction")
    prediction_body_limit: int = Field(default=12 * 1024 * 1024, ge=1)
    websocket_idle_timeout: float = Field(
        default=600.0, gt=0, description="how long a WebSocket may be silent before it is ended"
    )
    retry_resets: bool = Field(
        default=True,
        description="repeat a prediction whose instance vanished before it answered a byte",
    )
    gateway_workers: int = Field(default=0, ge=0, description="Envoy threads; 0: one per core")
    request_log_mb: int = Field(
        default=64, ge=0, description="most that the log of predictions may take; 0: no log"
    )
    pools: Annotated[tuple[PoolSettings, ...], NoDecode, BeforeValidator(read_list)] = Field(
        default=(), description="dedicated resource pools, as a JSON list"
    )
    shared_cpu: float = Field(default=0, ge=0, description="cores of the shared pool; 0: no limit")
    shared_memory_mb: int = Field(
        default=0, ge=0, description="memory of the shared pool; 0: no limit"
    )
    max_instances_per_version: int = Field(default=5, ge=1, le=128)
    max_services: int = Field(default=0, ge=0, description="services of a project; 0: no limit")
    max_running_services: int = Field(default=0, ge=0)
    max_instances: int = Field(default=0, ge=0, description="instances of a project; 0: no limit")
    limits: Literal["auto", "off"] = Field(
        default="auto", description="hold instances to their flavour by what this machine has"
    )
    instance_pids: int = Field(
        default=512, ge=16, description="most processes and threads of an instance"
    )
    instance_uids: str = Field(
        default="60000-64999",
        description="user ids that instances run under where the platform is root; empty: its own",
    )
    deploy_timeout: int = Field(default=1200, ge=1, description="longest start of an instance")
    drain_grace: float = Field(default=60.0, ge=0, description="longest drain of an instance")
    warm_starts: bool = Field(
        default=True,
        description="fork instances from processes that have imported their engine",
    )
    probation: float = Field(
        default=2.0,
        ge=0,
        description="how long a new version carries traffic before the former one may go",
    )
    restart_budget: int = Field(
        default=20,
        ge=0,
        description="failures within an hour after which a service without any ready instance "
        "is given up; 0: never",
    )
    package_index: str = Field(
        default="",
        description="where dependencies come from: URLs of package indexes, the first that has one "
        "wins, or a folder of wheels; empty: what uv is set to",
    )
    source_builds: bool = Field(
        default=False,
        description="build dependencies that come without a wheel; runs their code on the platform",
    )
    environment_timeout: float = Field(
        default=1800.0, gt=0, description="longest building of a package's environment"
    )
    environment_grace: float = Field(
        default=86400.0, ge=0, description="how long an environment is kept without a model"
    )
    environment_limit_mb: int = Field(
        default=20480, ge=0, description="most that one environment may take; 0: no limit"
    )
    environments_limit_mb: int = Field(
        default=0,
        ge=0,
        description="most that all environments may take together; 0: no limit",
    )
    container_host: str = Field(
        default="",
        description="unix:// socket of Docker or Podman; empty: the usual places are searched",
    )
    image_pull: Literal["never", "missing"] = Field(
        default="never", description="whether images that are not on this machine are fetched"
    )
    image_registries: str = Field(
        default="", description="registries that images may be fetched from, as HOST[:PORT],…"
    )
    batch_file_limit: int = Field(
        default=12 * 1024 * 1024, ge=1, description="largest file of mapping_type file, bytes"
    )
    batch_csv_limit: int = Field(
        default=0, ge=0, description="largest CSV file of a batch service, bytes; 0: any"
    )
    batch_attempts: int = Field(
        default=3,
        ge=1,
        description="how often a batch request may be lost with its connection",
    )
    batch_manifest_lines: int = Field(
        default=100_000, ge=1, description="lines of one output manifest of a batch run"
    )
    batch_keep: float = Field(
        default=7 * 86400.0,
        ge=0,
        description="how long the checkpoints of a finished batch run are kept, for retry-failed",
    )
    strict_same_status: bool = False
    bare_update_answer: bool = Field(
        default=False, description="answer every update with {} as the oldest clients expect"
    )

    @field_validator("host")
    @classmethod
    def _host_is_given(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("MODELYARD_HOST must name an address, for example 127.0.0.1")
        return value

    @field_validator("container_host")
    @classmethod
    def _container_host_is_local(cls, value: str) -> str:
        if value and not value.startswith("unix:///"):
            raise ValueError("MODELYARD_CONTAINER_HOST must be a socket like unix:///run/x.sock")
        return value

    @field_validator("instance_uids")
    @classmethod
    def _uids_are_a_range(cls, value: str) -> str:
        read_uids(value)
        return value

    @field_validator("pools")
    @classmethod
    def _pools_are_distinct(cls, value: tuple[PoolSettings, ...]) -> tuple[PoolSettings, ...]:
        distinct(value)
        return value

    @property
    def uid_range(self) -> range:
        """The user ids that instances may have."""
        return read_uids(self.instance_uids)

    def as_text(self, name: str) -> str:
        """A setting as its variable would carry it."""
        return write_list(self.pools) if name == "pools" else str(getattr(self, name))

    @property
    def public_address(self) -> str:
        """What the catalogue and ``access_address`` tell clients; no trailing slash."""
        return self.public_url.rstrip("/") or self.address

    @property
    def address(self) -> str:
        """Where this machine reaches the platform, as a URL without a trailing slash."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.database_url or f"sqlite+aiosqlite:///{self.home / 'modelyard.db'}"

    @property
    def objects(self) -> str:
        """Root of the object store: a folder's path or an ``s3://`` / ``http(s)://`` endpoint."""
        return self.object_store or str(self.home / "objects")

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
