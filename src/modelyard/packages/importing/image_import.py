"""The import of a custom image: found in the engine, held there, and how to run it (models.md §5).

Nothing is unpacked and nothing runs. With ``source_copy`` (the default) the model is the very
image that its address named at import; without, whatever the address names at each start.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.domain.service.container_image import ImageFacts
from modelyard.errors import Problem, Unavailable, refuse
from modelyard.packages.config.apis import JsonDict
from modelyard.packages.config.config_json import ModelConfig
from modelyard.packages.config.images import (
    CUSTOM,
    DEFAULT_PORT,
    IMAGE,
    PROBES,
    Images,
    image_fault,
    parse_wish,
)
from modelyard.packages.importing.published import Overrides


@dataclass(frozen=True, slots=True)
class ImportedImage:
    """``image``: what instances are started from; ``container``: how, as stored with the model
    (``address``, ``source_copy``, ``port``, ``protocol``, ``cmd``, ``probes``). ``size`` in bytes.
    """

    image: str
    container: JsonDict
    health: JsonDict
    size: int
    warnings: tuple[str, ...] = ()


class NoEngine:
    """Satisfies ``Images`` where no container engine is wired."""

    async def find(self, address: str) -> ImageFacts:
        raise Unavailable(f"Image {address} cannot be looked up: no container engine is set up.")

    async def keep(self, image_id: str, model_id: str) -> None:
        raise Unavailable("No container engine is set up.")

    async def forget(self, model_id: str) -> None:
        return


def default_config() -> ModelConfig:
    """Of an image that comes without a config.json."""
    return ModelConfig(IMAGE, "", document={"model_type": IMAGE})


async def import_image(
    images: Images, model_id: str, address: str, config: ModelConfig, said: Overrides
) -> ImportedImage:
    """Find the image and hold it. ``address`` is the create call's; "" leaves it to config.json.

    The image of a package (``Custom``) is named by its runtime. Raises ``ModelyardError`` with the
    reason: no address, no engine, no such image.
    """
    unused: list[Problem] = []
    wish = parse_wish(said.container, "", "3037", unused).over(config.container)
    if config.model_type == CUSTOM:
        address = said.runtime or config.runtime
        problem = image_fault(address, "runtime")
        if problem:
            raise refuse([problem])
    address = address or wish.image
    if not address:
        reason, remedy = "is missing", "Name the image, or give its address as source_location."
        raise refuse([Problem("config.json.swr_location", reason, remedy, code="3015")])
    facts = await images.find(address)
    if said.source_copy:
        await images.keep(facts.image_id, model_id)
    port = wish.port or DEFAULT_PORT
    protocol = said.apis[0]["protocol"] if said.apis else config.apis[0].protocol
    probes: JsonDict = {
        key: wish.probes[key].document() if key in wish.probes else {} for key in PROBES
    }
    health = wish.probes.get("health")
    return ImportedImage(
        image=facts.image_id if said.source_copy else address,
        container={
            "address": address,
            "source_copy": said.source_copy,
            "port": port,
            "protocol": protocol,
            "cmd": wish.cmd,
            "probes": probes,
        },
        health=dict(health.document()) if health else {},
        size=facts.size,
        warnings=_doubts(facts, port),
    )


def _doubts(facts: ImageFacts, port: int) -> tuple[str, ...]:
    if not facts.ports or port in facts.ports:
        return ()
    opened = ", ".join(str(number) for number in facts.ports)
    return (
        f"the image says that it opens port {opened}, but the model is to answer on {port}; "
        "if that is wrong, import it again with its port",
    )
