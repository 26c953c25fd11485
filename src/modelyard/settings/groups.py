"""The groups of settings. Sizes are bytes, times are seconds unless the name says otherwise."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from modelyard.settings.group import SettingsGroup
from modelyard.settings.pools import PoolSettings, distinct, read_list


class ApiSettings(SettingsGroup):
    """How the control plane's API answers, and what the control plane logs."""

    log_level: str = "info"
    strict_same_status: bool = False
    bare_update_answer: bool = Field(
        default=False, description="answer every update with {} as the oldest clients expect"
    )


class StoreSettings(SettingsGroup):
    """Where rows and objects lie; empty: in the home."""

    database_url: str = ""
    object_store: str = ""


class IamSettings(SettingsGroup):
    """Users, tokens and the region of the catalogue."""

    region: str = "local"
    admin_password: SecretStr | None = None
    token_lifetime: int = Field(default=24 * 3600, ge=1, description="life of a token")


class GatewaySettings(SettingsGroup):
    """The public address and the process that serves it."""

    host: str = "127.0.0.1"
    port: int = Field(default=8700, ge=1, le=65535)
    public_url: str = Field(
        default="", description="address that clients see, when it is not http://HOST:PORT"
    )
    gateway_workers: int = Field(default=0, ge=0, description="Envoy threads; 0: one per core")
    request_log_mb: int = Field(
        default=64, ge=0, description="largest size of the log of predictions; 0: no log"
    )

    @field_validator("host")
    @classmethod
    def _host_is_given(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("MODELYARD_HOST must name an address, for example 127.0.0.1")
        return value

    @property
    def public_address(self) -> str:
        """The URL that the catalogue and ``access_address`` show; no trailing slash."""
        return self.public_url.rstrip("/") or self.address

    @property
    def address(self) -> str:
        """The URL by which this machine reaches the platform, without a trailing slash."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


class PredictionSettings(SettingsGroup):
    """The limits of one prediction."""

    prediction_timeout: float = Field(default=40.0, gt=0, description="longest prediction")
    prediction_body_limit: int = Field(default=12 * 1024 * 1024, ge=1)
    websocket_idle_timeout: float = Field(
        default=600.0, gt=0, description="how long a WebSocket may be silent before it is ended"
    )
    retry_resets: bool = Field(
        default=True,
        description="repeat a prediction whose instance vanished before it answered a byte",
    )


class CapacitySettings(SettingsGroup):
    """Resource pools and quotas."""

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

    @field_validator("pools")
    @classmethod
    def _pools_are_distinct(cls, value: tuple[PoolSettings, ...]) -> tuple[PoolSettings, ...]:
        distinct(value)
        return value


class RuntimeSettings(SettingsGroup):
    """How instances run on this machine."""

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
    warm_starts: bool = Field(
        default=True,
        description="fork instances from processes that have imported their engine",
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

    @property
    def uid_range(self) -> range:
        """The user ids that instances may have."""
        return read_uids(self.instance_uids)


class RolloutSettings(SettingsGroup):
    """How an update proceeds."""

    deploy_timeout: int = Field(default=1200, ge=1, description="longest start of an instance")
    drain_grace: float = Field(default=60.0, ge=0, description="longest drain of an instance")
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


class PackageSettings(SettingsGroup):
    """How the environments of packages are built and kept."""

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
        default=20480, ge=0, description="largest size of one environment; 0: no limit"
    )
    environments_limit_mb: int = Field(
        default=0, ge=0, description="largest size of all environments together; 0: no limit"
    )


class BatchSettings(SettingsGroup):
    """The limits of batch runs."""

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


def read_uids(text: str) -> range:
    """Read ``FIRST-LAST`` as a range; an empty text is an empty one. Raises ``ValueError``."""
    if not text.strip():
        return range(0)
    first, _, last = text.partition("-")
    if not (first.strip().isdigit() and last.strip().isdigit() and 0 < int(first) <= int(last)):
        raise ValueError(
            "MODELYARD_INSTANCE_UIDS must be FIRST-LAST, for example 60000-64999, or empty"
        )
    return range(int(first), int(last) + 1)
