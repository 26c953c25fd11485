"""Docker's or Podman's engine through its socket: the few calls that a runtime needs, awaitable.

Every fault of the engine is an ``EngineError``, an ``OSError``, whose text is the engine's own
reason. The engine must be this machine's: instances are reached on its loopback.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from modelyard.runtime.containers.container import (
    Container,
    EngineError,
    LostError,
    NoEngineError,
    Order,
)

if TYPE_CHECKING:
    from modelyard.runtime.containers.docker_api import DockerApi

T = TypeVar("T")
Json = dict[str, Any]

_CALLS_AT_ONCE = 16


def usual_sockets(environment: Mapping[str, str]) -> list[str]:
    """Where an engine's socket may be, the likeliest first."""
    own = environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    said = environment.get("DOCKER_HOST", "")
    places = ["/var/run/docker.sock", "/run/podman/podman.sock"]
    places += [f"{own}/docker.sock", f"{own}/podman/podman.sock"]
    found = [f"unix://{place}" for place in places]
    return [said, *found] if said.startswith("unix:///") else found


class ContainerEngine:
    """``host``: a ``unix://`` socket, or "" to search the usual places until one answers."""

    def __init__(self, host: str = "") -> None:
        self._host = host
        self._api: DockerApi | None = None
        self._lock = Lock()
        self._calls = ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="engine")

    def close(self) -> None:
        """Let go of the engine; what runs goes on."""
        self._calls.shutdown(wait=False, cancel_futures=True)
        if self._api is not None:
            self._api.close()

    async def image(self, address: str) -> Json | None:
        """The engine's document of a local image; None when there is none."""
        return await self._call(lambda api: api.image(address))

    async def pull(self, address: str) -> None:
        """Fetch an image from its registry."""
        await self._call(lambda api: api.pull(address))

    async def tag(self, image: str, repository: str, tag: str) -> None:
        """Give a local image one more name."""
        await self._call(lambda api: api.tag(image, repository, tag))

    async def untag(self, name: str) -> None:
        """Take a name away, and with its last one the image. One that is not there is ignored."""
        await self._call(lambda api: api.untag(name))

    async def create(self, order: Order) -> None:
        """Make the container unless there is one of that name. It does not run yet."""
        await self._call(lambda api: api.create(order))

    async def start(self, name: str) -> Container:
        """Run a container; gives how it is then."""
        return await self._call(lambda api: api.start(name))

    async def look(self, name: str) -> Container | None:
        """A container as it is now; None when there is none."""
        return await self._call(lambda api: api.look(name))

    async def labelled(self, label: str) -> list[Mapping[str, str]]:
        """The labels of every container with ``label`` (``name=value``), running or not."""
        return await self._call(lambda api: api.labelled(label))

    async def signal(self, name: str, number: str) -> None:
        """Send a signal to the first process; nothing happens to one that does not run."""
        await self._call(lambda api: api.signal(name, number))

    async def remove(self, name: str) -> None:
        """End a container at once and forget it, with its anonymous volumes."""
        await self._call(lambda api: api.remove(name))

    async def execute(self, name: str, words: Sequence[str]) -> tuple[int, str]:
        """Run a command inside; gives its exit code and the end of its output."""
        return await self._call(lambda api: api.execute(name, words))

    def output(
        self, name: str, since: int, *, follow: bool
    ) -> tuple[Iterator[bytes], Callable[[], None]]:
        """The output of a container from ``since`` (s since 1970) on, and with ``follow`` as it
        comes; and how to end that. Each line begins with its time. Blocks, here and between the
        pieces.

        Raises ``EngineError``.
        """
        return self._connected().output(name, since, follow)

    async def _call(self, what: Callable[[DockerApi], T]) -> T:
        def run() -> T:
            api = self._connected()
            try:
                return what(api)
            except LostError:
                # Engines that are started on demand end when nobody asks; every call may be made
                # twice.
                self._forget(api)
                return what(self._connected())

        return await asyncio.get_running_loop().run_in_executor(self._calls, run)

    def _connected(self) -> DockerApi:
        with self._lock:
            if self._api is None:
                self._api = self._connect()
            return self._api

    def _forget(self, api: DockerApi) -> None:
        with self._lock:
            if self._api is api:
                self._api = None

    def _connect(self) -> DockerApi:
        hosts = [self._host] if self._host else usual_sockets(os.environ)
        there = [host for host in hosts if Path(host.removeprefix("unix://")).exists()]
        faults = [] if there else [f"no socket at {', '.join(hosts)}"]
        for host in there:
            # Imported here: it takes long to load, and few homes have a container.
            from modelyard.runtime.containers.docker_api import DockerApi

            try:
                return DockerApi(host, _CALLS_AT_ONCE)
            except EngineError as error:
                faults.append(f"{host}: {error}")
        raise NoEngineError(
            f"no container engine answers on this machine ({'; '.join(faults)}). Start Docker or "
            "Podman (podman system service), or name its socket in MODELYARD_CONTAINER_HOST"
        )
