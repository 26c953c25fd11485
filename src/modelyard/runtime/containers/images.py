"""The engine's images, as imports ask for them (satisfies ``packages.images.Images`` by shape).

An image that is not here is fetched only where the operator allows it, and only from registries
that he names: the address comes from whoever may create a model, and asking for it connects this
machine to the outside (quality.md S6).
"""

from __future__ import annotations

from collections.abc import Collection

import structlog

from modelyard.domain.service.container_image import ImageFacts, registry_of
from modelyard.errors import Problem, Unavailable, refuse
from modelyard.runtime.containers.container import EngineError, NoEngineError
from modelyard.runtime.containers.engine import ContainerEngine, Json

log = structlog.get_logger(__name__)

_REPOSITORY = "localhost/modelyard"


class EngineImages:
    """``pull``: whether missing images are fetched; ``registries``: from where they may be."""

    def __init__(
        self, engine: ContainerEngine, *, pull: bool = False, registries: Collection[str] = ()
    ) -> None:
        self._engine = engine
        self._pull = pull
        self._registries = frozenset(name.strip().lower() for name in registries if name.strip())

    async def find(self, address: str) -> ImageFacts:
        """The local image of that address, fetched first where that is allowed.

        Raises ``InvalidRequest`` and ``Unavailable`` with the reason and the remedy.
        """
        try:
            found = await self._engine.image(address)
            if found is None:
                self._may_fetch(address)
                await self._engine.pull(address)
                found = await self._engine.image(address)
        except NoEngineError as error:
            raise Unavailable(f"Image {address} cannot be served: {error}.") from error
        except EngineError as error:
            reason = f"image {address} cannot be had: {error}"
            raise refuse([_problem(reason, "Correct the address or the registry.")]) from error
        if found is None:
            raise refuse([_problem(f"image {address} is not there", "Build or load it first.")])
        return image_facts(found)

    async def keep(self, image_id: str, model_id: str) -> None:
        """Hold the image by a name of ours. Raises ``Unavailable``."""
        try:
            await self._engine.tag(image_id, _REPOSITORY, model_id)
        except EngineError as error:
            raise Unavailable(f"Image {image_id} cannot be held: {error}.") from error

    async def forget(self, model_id: str) -> None:
        """Take that name away; an engine that does not answer keeps it."""
        try:
            await self._engine.untag(f"{_REPOSITORY}:{model_id}")
        except NoEngineError:
            return
        except EngineError as error:
            log.warning("an image stays in the engine", model_id=model_id, reason=str(error))

    def _may_fetch(self, address: str) -> None:
        if not self._pull:
            remedy = (
                "Build, load or pull it there, or let it be fetched: MODELYARD_IMAGE_PULL=missing "
                "and MODELYARD_IMAGE_REGISTRIES."
            )
            raise refuse([_problem(f"image {address} is not on this machine", remedy)])
        registry = registry_of(address)
        if registry not in self._registries:
            whose = f"registry {registry}" if registry else "an address without a registry"
            reason = f"image {address} is not on this machine, and {whose} may not be asked"
            remedy = "Name its registry in MODELYARD_IMAGE_REGISTRIES, or load the image there."
            raise refuse([_problem(reason, remedy)])


def image_facts(document: Json) -> ImageFacts:
    """What an import needs of the engine's document of an image. Pure."""
    opened = (document.get("Config") or {}).get("ExposedPorts") or {}
    ports = sorted(int(name.partition("/")[0]) for name in opened if name.endswith("/tcp"))
    return ImageFacts(str(document["Id"]), int(document.get("Size") or 0), tuple(ports))


def _problem(reason: str, remedy: str) -> Problem:
    return Problem("source_location", reason, remedy, code="3551")
