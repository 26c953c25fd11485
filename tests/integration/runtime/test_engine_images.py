"""Images as imports ask for them: from the engine, and from a registry only by permission."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelyard.errors import InvalidRequest, Unavailable
from modelyard.runtime.containers.engine import ContainerEngine
from modelyard.runtime.containers.images import EngineImages
from podman_engine import Images, Podman
from ports import free_port


@pytest.fixture
async def engine(podman: Podman) -> AsyncIterator[ContainerEngine]:
    made = ContainerEngine(podman.socket)
    yield made
    made.close()


async def test_a_local_image_is_found_with_its_facts(
    engine: ContainerEngine, images: Images
) -> None:
    facts = await EngineImages(engine).find(images.make("1.0.0"))
    assert facts.size > 1_000_000
    assert facts.ports == (8080,)


async def test_it_is_kept_and_forgotten(
    engine: ContainerEngine, images: Images, podman: Podman
) -> None:
    kept = EngineImages(engine)
    facts = await kept.find(images.make("1.0.0"))
    await kept.keep(facts.image_id, "model-1")
    await kept.keep(facts.image_id, "model-1")
    assert (await kept.find("localhost/modelyard:model-1")).image_id == facts.image_id
    await kept.forget("model-1")
    await kept.forget("model-1")
    assert "model-1" not in podman.command("images", "--format", "{{.Tag}}").split()


async def test_nothing_is_fetched_by_default(engine: ContainerEngine) -> None:
    with pytest.raises(InvalidRequest, match=r"is not on this machine.*MODELYARD_IMAGE_PULL"):
        await EngineImages(engine).find("registry.example.com/a/b:1")


@pytest.mark.parametrize("address", ["registry.example.com/a/b:1", "a/b:1", "127.0.0.1:5000/a"])
async def test_only_named_registries_are_asked(engine: ContainerEngine, address: str) -> None:
    careful = EngineImages(engine, pull=True, registries=["other.example.com", ""])
    with pytest.raises(InvalidRequest, match=r"may not be asked.*MODELYARD_IMAGE_REGISTRIES"):
        await careful.find(address)


async def test_what_cannot_be_fetched_is_told_in_the_engines_words(
    engine: ContainerEngine,
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    open_minded = EngineImages(engine, pull=True, registries=[nobody])
    with pytest.raises(InvalidRequest, match=r"the container engine says: .*refused"):
        await open_minded.find(f"{nobody}/a/b:1")


async def test_without_an_engine_the_remedy_is_told(tmp_path: Path) -> None:
    nowhere = ContainerEngine(f"unix://{tmp_path}/none.sock")
    with pytest.raises(Unavailable, match=r"no container engine answers.*MODELYARD_CONTAINER_HOST"):
        await EngineImages(nowhere).find("a/b:1")
    await EngineImages(nowhere).forget("model-1")
    nowhere.close()


async def test_a_socket_that_nobody_serves(tmp_path: Path) -> None:
    (tmp_path / "dead.sock").touch()
    dead = ContainerEngine(f"unix://{tmp_path}/dead.sock")
    with pytest.raises(Unavailable, match=r"no container engine answers"):
        await EngineImages(dead).find("a/b:1")
    dead.close()
