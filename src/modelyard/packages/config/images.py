"""Custom images: their address, and how a model says its container is to be run (models.md §5).

Pure. Where the specification is silent: ``port`` and ``cmd`` may stand in the create call and in
config.json; the protocol is that of the model's apis, or of config.json, where clients of the
engine ``Custom`` put it; ``cmd`` replaces the image's own start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from modelyard.domain.service.container_image import ImageFacts, address_fault, command_words
from modelyard.errors import Problem
from modelyard.packages.config.probes import Probe, parse_probe
from modelyard.packages.documents import wrong_type

IMAGE = "Image"
"""The ``model_type`` of custom images."""
CUSTOM = "Custom"
"""The ``model_type`` of a package that an image serves, which its ``runtime`` names (§6)."""
CONTAINERS = (IMAGE, CUSTOM)
PACKAGE_PLACE = "/home/mind/model"
"""Where the container of a ``Custom`` model finds its package."""

PROBES = ("health", "readiness_health", "startup_health")
DEFAULT_PORT = 8080

_LONGEST_COMMAND = 4096


class Images(Protocol):
    """The container engine, as an import needs it."""

    async def find(self, address: str) -> ImageFacts:
        """The image of that address. Raises ``ModelyardError`` with the reason and the remedy when
        there is none, or no engine.
        """
        ...

    async def keep(self, image_id: str, model_id: str) -> None:
        """Hold the image for a model: it stays whatever becomes of the name it came by."""
        ...

    async def forget(self, model_id: str) -> None:
        """The inverse of ``keep``; never fails."""
        ...


@dataclass(frozen=True, slots=True)
class ContainerWish:
    """What one document says of a container. ``None`` and empty where it says nothing."""

    image: str = ""
    port: int | None = None
    cmd: str = ""
    probes: Mapping[str, Probe] = field(default_factory=dict)
    protocol: str = ""

    def over(self, other: ContainerWish) -> ContainerWish:
        """Both together; what this one says wins."""
        return ContainerWish(
            self.image or other.image,
            self.port if self.port is not None else other.port,
            self.cmd or other.cmd,
            {**other.probes, **self.probes},
            self.protocol or other.protocol,
        )

    def document(self) -> dict[str, object]:
        """As JSON, which ``parse_wish`` reads."""
        said: dict[str, object] = {"swr_location": self.image, "port": self.port, "cmd": self.cmd}
        said["protocol"] = self.protocol
        said |= {key: probe.document() for key, probe in self.probes.items()}
        return {key: value for key, value in said.items() if value not in (None, "")}


def parse_wish(
    document: Mapping[str, object], prefix: str, code: str, problems: list[Problem]
) -> ContainerWish:
    """``swr_location``, ``port``, ``cmd``, ``protocol`` and the probes of a config.json or a create
    call.

    What is wrong goes to ``problems``: bad probes as 3592, the rest as ``code``.
    """
    probes = {
        key: probe
        for key in PROBES
        if (probe := parse_probe(document.get(key), f"{prefix}{key}", problems))
    }
    for key, probe in probes.items():
        if probe.check_method == "EXEC" and not command_words(probe.command):
            at, remedy = f"{prefix}{key}.command", "Close its quotation marks."
            problems.append(Problem(at, "is not a command line", remedy, code="3592"))
    image = document.get("swr_location") or ""
    if not isinstance(image, str):
        problems.append(wrong_type(f"{prefix}swr_location", "a string", image, code))
        image = ""
    elif image and (fault := address_fault(image)):
        problems.append(Problem(f"{prefix}swr_location", fault, _EXAMPLE, code=code))
    port = _port(document.get("port"), f"{prefix}port", code, problems)
    cmd = _cmd(document, prefix, code, problems)
    protocol = _protocol(document.get("protocol"), f"{prefix}protocol", code, problems)
    return ContainerWish(image, port, cmd, probes, protocol)


_EXAMPLE = "Write an address like registry.example.com/team/name:1.0."


def address_problem(address: str, where: str) -> Problem | None:
    """The problem of an address in the create call; None when it is good."""
    fault = address_fault(address)
    return Problem(where, fault, _EXAMPLE) if fault else None


def is_address(source: str) -> bool:
    """Whether a ``source_location`` is meant as an image's address, not as a folder of objects."""
    return not source.startswith("/") and "://" not in source


def image_fault(runtime: str, where: str, code: str = "3037") -> Problem | None:
    """What is wrong with the ``runtime`` of a ``Custom`` model, which names its image."""
    remedy = f"Name the image that serves the package, found at {PACKAGE_PLACE}. {_EXAMPLE}"
    if not runtime:
        return Problem(where, f"is required for the engine {CUSTOM}", remedy, code=code)
    fault = address_fault(runtime)
    return Problem(where, fault, remedy, code=code) if fault else None


def _protocol(value: object, where: str, code: str, problems: list[Problem]) -> str:
    if value in (None, ""):
        return ""
    if isinstance(value, str) and value.strip().lower() in ("http", "https"):
        return value.strip().lower()
    problems.append(Problem(where, "must be http or https", "Leave it out for http.", code=code))
    return ""


def _cmd(document: Mapping[str, object], prefix: str, code: str, problems: list[Problem]) -> str:
    value = document.get("cmd") or ""
    if not isinstance(value, str):
        problems.append(wrong_type(f"{prefix}cmd", "a string", value, code))
        return ""
    if len(value) > _LONGEST_COMMAND:
        reason = f"is longer than {_LONGEST_COMMAND} characters"
        problems.append(Problem(f"{prefix}cmd", reason, "Put it into a script.", code=code))
    elif value and not command_words(value):
        remedy = "Close its quotation marks."
        problems.append(Problem(f"{prefix}cmd", "is not a command line", remedy, code=code))
    return value


def _port(value: object, where: str, code: str, problems: list[Problem]) -> int | None:
    if value in (None, ""):
        return None
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value.strip()[:6])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    remedy = f"Leave it out for {DEFAULT_PORT}."
    problems.append(Problem(where, "must be a port from 1 to 65535", remedy, code=code))
    return None
