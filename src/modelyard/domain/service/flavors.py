"""The deployment flavors: what ``specification`` may name (services.md §3.3, resources.md §1)."""

from __future__ import annotations

from dataclasses import dataclass

CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class Flavor:
    """``memory_gb`` per instance; ``is_open`` False: to be had on request only."""

    name: str
    category: str
    cpu: int
    memory_gb: int
    gpu: int = 0
    npu: int = 0
    is_open: bool = True
    aliases: tuple[str, ...] = ()


FLAVORS = (
    Flavor("modelarts.vm.cpu.2u", "CPU", cpu=2, memory_gb=8),
    Flavor(
        "modelarts.vm.gpu.p4",
        "GPU",
        cpu=8,
        memory_gb=32,
        gpu=1,
        is_open=False,
        aliases=("modelarts.vm.gpu.pnt004",),
    ),
    Flavor(
        "modelarts.vm.ai1.a310",
        "NPU",
        cpu=2,
        memory_gb=8,
        npu=1,
        is_open=False,
        # "modelsarts" is how the API's own reference prints it.
        aliases=("modelsarts.vm.ai1.a310", "modelarts.vm.ai1.snt3"),
    ),
)

_BY_NAME = {name: flavor for flavor in FLAVORS for name in (flavor.name, *flavor.aliases)}


def find_flavor(name: str) -> Flavor | None:
    """The flavor of that name or alias."""
    return _BY_NAME.get(name)
