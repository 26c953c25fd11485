"""The weighted split over versions, exact instead of at random (inference.md §1.4).

Envoy's own weighted clusters draw lots. Here a small Lua program in the router does smooth
weighted round robin: with weights 70/20/10 any 100 consecutive requests of one worker thread go
70, 20 and 10, evenly interleaved. The order is worked out here once, so that a request costs one
table look-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

Weighted = Sequence[tuple[str, int]]


def smooth_order(weights: Sequence[int]) -> list[int]:
    """Indices into ``weights`` over one full period, each as often as its weight says.

    >>> smooth_order([2, 1])
    [0, 1, 0]
    """
    divisor = gcd(*weights) or 1
    shares = [weight // divisor for weight in weights]
    total = sum(shares)
    current = [0] * len(shares)
    order = []
    for _ in range(total):
        chosen, most = 0, -total
        for index, share in enumerate(shares):
            current[index] += share
            if current[index] > most:
                chosen, most = index, current[index]
        current[chosen] -= total
        order.append(chosen)
    return order


def lua_program(clusters: Weighted) -> str:
    """The program that names the cluster of each request; ``clusters`` are (name, weight > 0).

    Each worker thread starts at a place of its own in the order, lest short bursts over several
    threads all go to the heaviest version.
    """
    names = ", ".join(f'"{name}"' for name, _ in clusters)
    order = smooth_order([weight for _, weight in clusters])
    sequence = ", ".join(str(index + 1) for index in order)
    return (
        f"local names = {{{names}}}\n"
        f"local order = {{{sequence}}}\n"
        f"local size = {len(order)}\n"
        'local seed = tonumber(string.match(tostring({}), "0x(%x+)"), 16)\n'
        "local at = math.floor(seed / 64) % size\n"
        "function envoy_on_route(_)\n"
        "  at = at % size + 1\n"
        "  return names[order[at]]\n"
        "end\n"
    )


def program_clusters(program: str) -> list[str]:
    """The clusters that a program of ``lua_program`` may name."""
    return program.partition("\n")[0].split('"')[1::2]
