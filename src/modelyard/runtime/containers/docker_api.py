"""The calls of ``engine.py`` as the Docker SDK makes them, one method each; all of them block.

Podman's service speaks the same API. Every fault is raised as ``EngineError``.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import LogConfig, Mount, Ulimit
from requests import ConnectionError as Broken
from requests import RequestException

from modelyard.runtime.containers.container import Container, EngineError, LostError, Order

Json = dict[str, Any]

_TIMEOUT_S = 60
_PULL_TIMEOUT_S = 900
_PIDS = 1024
_FILES = 65_536
# Of one user on the whole machine, so that only the limit of processes above says much.
_USERS_PROCESSES = 16_384
# Kept by the engine until we have them in our own log; and for its own `logs` command.
_LOG_OPTIONS = {"max-size": "10m"}
# What a server on an unprivileged port has no use for. Those that are left are what ordinary
# images need to begin as root, own their files and change to another user.
_DROPPED = ["AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SYS_CHROOT"]
_GONE_OR_ENDED = (404, 409)


class DockerApi:
    """Connects to the engine at ``host``, for up to ``calls`` calls at a time.

    Raises ``EngineError`` when none answers.
    """

    def __init__(self, host: str, calls: int) -> None:
        self._host = host
        with _faults():
            self._client = docker.APIClient(
                host, version="auto", timeout=_TIMEOUT_S, num_pools=calls
            )

    def close(self) -> None:
        self._client.close()

    def image(self, address: str) -> Json | None:
        with _faults():
            try:
                return dict(self._client.inspect_image(address))  # type: ignore[no-untyped-call]
            except ImageNotFound:
                return None

    def pull(self, address: str) -> None:
        # A connection of its own: the engine may be silent for long while it unpacks.
        with _faults():
            client = docker.APIClient(self._host, version="auto", timeout=_PULL_TIMEOUT_S)
            try:
                for word in client.pull(address, stream=True, decode=True):
                    # What goes wrong on the way comes behind a status of 200.
                    if word.get("error"):
                        raise DockerException(word["error"])
            finally:
                client.close()

    def tag(self, image: str, repository: str, tag: str) -> None:
        with _faults():
            self._client.tag(image, repository, tag)

    def untag(self, name: str) -> None:
        with _faults():
            try:
                self._client.remove_image(name, noprune=True)
            except ImageNotFound:
                return

    def create(self, order: Order) -> None:
        with _faults():
            try:
                self._client.inspect_container(order.name)
            except NotFound:
                self._create(order)

    def _create(self, order: Order) -> None:
        for volume in order.volumes:
            # Without an effect on one that is there.
            self._client.create_volume(volume)
        limits = self._client.create_host_config(
            port_bindings={order.port: ("127.0.0.1", None)},
            mem_limit=f"{order.memory_mb}m",
            memswap_limit=f"{order.memory_mb}m",
            nano_cpus=round(order.cpu * 1e9),
            pids_limit=_PIDS,
            # Said, because some engines ask for more than a machine may grant them.
            ulimits=[
                _ulimit("nofile", resource.RLIMIT_NOFILE, _FILES),
                _ulimit("nproc", resource.RLIMIT_NPROC, _USERS_PROCESSES),
            ],
            security_opt=["no-new-privileges"],
            cap_drop=_DROPPED,
            log_config=LogConfig(type="json-file", config=_LOG_OPTIONS),
            mounts=[
                *(Mount(path, name) for name, path in order.volumes.items()),
                *(
                    Mount(path, folder, type="bind", read_only=True)
                    for path, folder in order.folders.items()
                ),
            ],
        )
        self._client.create_container(
            order.image,
            name=order.name,
            # With an entry point of ours, engines leave the image's own command out.
            entrypoint=list(order.words) or None,
            environment=dict(order.envs),
            labels=dict(order.labels),
            ports=[order.port],
            host_config=limits,
        )

    def start(self, name: str) -> Container:
        with _faults():
            self._client.start(name)
            return container_of(self._client.inspect_container(name))

    def look(self, name: str) -> Container | None:
        with _faults():
            try:
                return container_of(self._client.inspect_container(name))
            except NotFound:
                return None

    def labelled(self, label: str) -> list[Mapping[str, str]]:
        with _faults():
            found = self._client.containers(all=True, filters={"label": label})
            return [one.get("Labels") or {} for one in found]

    def signal(self, name: str, number: str) -> None:
        with _faults():
            try:
                self._client.kill(name, number)
            except APIError as error:
                if error.status_code not in _GONE_OR_ENDED:
                    raise

    def remove(self, name: str) -> None:
        with _faults():
            try:
                self._client.remove_container(name, force=True, v=True)
            except NotFound:
                return

    def execute(self, name: str, words: Sequence[str]) -> tuple[int, str]:
        with _faults():
            made = self._client.exec_create(name, list(words))
            output: bytes = self._client.exec_start(made["Id"])
            code = self._client.exec_inspect(made["Id"])["ExitCode"]
            return int(code or 0), output[-300:].decode("utf-8", "replace").strip()

    def output(
        self, name: str, since: int, follow: bool
    ) -> tuple[Iterator[bytes], Callable[[], None]]:
        with _faults():
            stream = self._client.logs(
                name, stream=True, follow=follow, timestamps=True, since=since or None
            )
        return iter(stream), stream.close


@contextmanager
def _faults() -> Iterator[None]:
    """The engine's own words, as our error."""
    try:
        yield
    except Broken as error:
        raise LostError(f"the container engine does not answer: {error}"[:1000]) from error
    except (DockerException, RequestException) as error:
        said = error.explanation if isinstance(error, APIError) else None
        raise EngineError(f"the container engine says: {said or error}"[:1000]) from error


def _ulimit(name: str, kind: int, enough: int) -> Ulimit:
    """``enough``, or our own hard limit where that is less."""
    _, hard = resource.getrlimit(kind)
    most = enough if hard == resource.RLIM_INFINITY else min(hard, enough)
    return Ulimit(name=name, soft=most, hard=most)


def container_of(document: Json) -> Container:
    """From the engine's document. Pure."""
    state, settings = document["State"], document.get("NetworkSettings") or {}
    ports = [
        int(binding["HostPort"])
        for bindings in (settings.get("Ports") or {}).values()
        for binding in bindings or ()
        if binding.get("HostPort")
    ]
    return Container(
        container_id=str(document["Id"]),
        name=str(document["Name"]).lstrip("/"),
        status=str(state.get("Status", "")),
        pid=int(state.get("Pid") or 0),
        host_port=ports[0] if ports else None,
        exit_code=int(state.get("ExitCode") or 0),
        out_of_memory=bool(state.get("OOMKilled")),
    )
