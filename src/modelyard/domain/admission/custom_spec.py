"""Reading ``specification`` and ``custom_spec`` (services.md §3.3, §3.4); pure."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from modelyard.domain.body_reader import Fields
from modelyard.domain.service.config import CustomSpec
from modelyard.domain.service.flavors import CUSTOM, FLAVORS, Flavor, find_flavor
from modelyard.domain.service.pools import Pool, PoolChoice

_OPEN = ", ".join(flavor.name for flavor in FLAVORS if flavor.is_open)
_REMEDY = f"Send one of: {_OPEN}."
_IN_POOL_REMEDY = f"Send custom with custom_spec, or one of: {_OPEN}."
_LARGEST_MEMORY_MB = 1_000_000_000


def read_specification(fields: Fields, choice: PoolChoice) -> tuple[str | None, CustomSpec | None]:
    """The flavor as it was sent, and the own resources if it is ``custom``; None: unusable.

    ``custom_spec`` beside another flavor is void (services.md §3.3).
    """
    remedy = _IN_POOL_REMEDY if choice.speaks else _REMEDY
    name = fields.text("specification", required=True, remedy=remedy)
    if name is None:
        return None, None
    where = fields.name("specification")
    if name == CUSTOM:
        spec = _custom_spec(fields, choice.pool)
        if not choice.speaks:
            fields.problems.invalid(where, "custom needs a dedicated resource pool", remedy)
        return name, spec
    flavor = find_flavor(name)
    if flavor is None:
        fields.problems.invalid(where, f"{name[:64]!r} is not a known flavor", remedy)
    else:
        _judge_flavor(fields, flavor, name, choice)
    return name, None


def _judge_flavor(fields: Fields, flavor: Flavor, name: str, choice: PoolChoice) -> None:
    """Accelerators: on request in the shared pool; elsewhere those of the pool."""
    where = fields.name("specification")
    if not choice.speaks:
        if not flavor.is_open:
            fields.problems.invalid(where, f"{name} must be applied for", _REMEDY, "3518")
        return
    pool = choice.pool
    if pool is None:
        return
    if flavor.gpu and not pool.capacity.gpu:
        fields.problems.invalid(where, f"{pool.ref} has no GPU", _IN_POOL_REMEDY)
    if flavor.npu and not pool.capacity.npu:
        fields.problems.invalid(where, f"{pool.ref} has no NPU", _IN_POOL_REMEDY)


def _custom_spec(fields: Fields, pool: Pool | None) -> CustomSpec | None:
    if not fields.has("custom_spec"):
        fields.problems.missing(
            fields.name("custom_spec"), "Send cpu and memory with specification custom."
        )
        return None
    spec = fields.nested("custom_spec")
    if spec is None:
        return None
    spec.only(("cpu", "memory", "gpu_p4", "ascend_a310", "ascend_a910"), "Send cpu and memory.")
    cpu = spec.number("cpu", low=0.01, required=True)
    memory = spec.integer("memory", low=1, high=_LARGEST_MEMORY_MB, required=True)
    gpu, ascend = _accelerators(spec, pool)
    if cpu is None or memory is None:
        return None
    cores = float(Decimal(str(cpu)).quantize(Decimal("0.01"), ROUND_HALF_UP))
    return CustomSpec(cores, memory, gpu, ascend)


def _accelerators(spec: Fields, pool: Pool | None) -> tuple[float, int]:
    """Cards and chips; an explicit 0 counts as not configured (services.md §3.4)."""
    gpu = spec.number("gpu_p4", low=0) or 0.0
    if gpu != round(gpu, 2):
        spec.problems.invalid(spec.name("gpu_p4"), "has more than two decimals", "Round it.")
    ascend = spec.integer("ascend_a310", low=0, high=1_000_000) or 0
    if spec.integer("ascend_a910", low=0):
        spec.problems.invalid(
            spec.name("ascend_a910"), "is not offered here", "Use ascend_a310 or gpu_p4."
        )
    if gpu and ascend:
        spec.problems.invalid(
            spec.name("ascend_a310"), "comes together with gpu_p4", "Send one kind of accelerator."
        )
    if pool is not None:
        if gpu and not pool.capacity.gpu:
            spec.problems.invalid(spec.name("gpu_p4"), f"{pool.ref} has no GPU", "Leave it out.")
        if ascend and not pool.capacity.npu:
            spec.problems.invalid(
                spec.name("ascend_a310"), f"{pool.ref} has no NPU", "Leave it out."
            )
    return gpu, ascend
