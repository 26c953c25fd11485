"""The parts of a running platform, as their records tell, and whether it answers."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from modelyard.client.failures import ClientError
from modelyard.processes import ProcessIdentity, read_record
from modelyard.settings import Settings

_ANSWER_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Parts:
    """The living processes; None for one that does not run."""

    control_plane: ProcessIdentity | None
    gateway: ProcessIdentity | None


def control_plane_record(settings: Settings) -> Path:
    return settings.layout.run_dir / "control-plane.json"


def gateway_record(settings: Settings) -> Path:
    return settings.layout.run_dir / "gateway.json"


def control_plane_log(settings: Settings) -> Path:
    return settings.layout.logs_dir / "control-plane.log"


def find_parts(settings: Settings) -> Parts:
    """What runs now."""
    return Parts(read_record(control_plane_record(settings)), read_record(gateway_record(settings)))


def answers(settings: Settings) -> bool:
    """Whether the control plane answers through the public address."""
    # Asked many times while a busy machine starts: as light as can be.
    url = urlsplit(settings.gateway.address)
    connection = HTTPConnection(url.hostname or "", url.port, timeout=_ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status in (200, 300)
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def port_is_free(settings: Settings) -> bool:
    """Whether the public port can be bound; True also when the address cannot be judged here."""
    host, port = settings.gateway.host, settings.gateway.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise ClientError(
                f"Port {port} on {host} may not be opened: {error.strerror}.",
                "Choose a port above 1023 with --port or MODELYARD_PORT.",
            ) from error
        except socket.gaierror as error:
            raise ClientError(
                f"The host {host!r} is not an address of this machine: {error.strerror}.",
                "Give one with --host or MODELYARD_HOST, for example 127.0.0.1.",
            ) from error
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise ClientError(
                    f"{host} is not an address of this machine.",
                    "Give one with --host or MODELYARD_HOST, for example 127.0.0.1.",
                ) from error
            return False
    return True


def last_lines(path: Path, count: int = 12, since: int = 0) -> str:
    """The last lines of a log written behind byte ``since``; ``""`` when there are none."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(since, file.tell() - 64 * 1024))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-count:])
