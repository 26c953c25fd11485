"""On which nodes of its pool a version's instances should run (services.md §5.3); pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from modelyard.domain.body_reader import Fields
from modelyard.domain.service.pools import Pool, PoolChoice

JsonObject = dict[str, Any]
MODES = ("required", "preferred")
_HINT = "Send node_affinity with mode and pool_infos."


@dataclass(frozen=True, slots=True)
class Affinity:
    """``mode``: ``required`` (nowhere else) or ``preferred``. ``pool``: the pool's id; ``nodes``
    are names of its nodes, all of them when empty.
    """

    mode: str
    pool: str
    nodes: tuple[str, ...] = ()

    def to_json(self) -> JsonObject:
        """As the API writes it."""
        info: JsonObject = {"pool_name": self.pool}
        if self.nodes:
            info["nodes"] = [{"name": name} for name in self.nodes]
        return {"node_affinity": {"mode": self.mode, "pool_infos": [info]}}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``."""
        node = body["node_affinity"]
        info = node["pool_infos"][0]
        names = tuple(item["name"] for item in info.get("nodes", ()))
        return cls(node["mode"], info["pool_name"], names)


def read_affinity(fields: Fields, choice: PoolChoice) -> Affinity | None:
    """``affinity`` of one version, whose pool is ``choice``; None when absent or unusable."""
    affinity = fields.nested("affinity")
    if affinity is None or not affinity.body:
        return None
    if not choice.speaks:
        fields.problems.invalid(
            fields.name("affinity"), "needs a dedicated resource pool", "Leave it out."
        )
        return None
    affinity.only(("node_affinity",), _HINT)
    node = affinity.nested("node_affinity", required=True)
    if node is None:
        return None
    node.only(("mode", "pool_infos"), _HINT)
    mode = node.text("mode", required=True, choices=MODES, remedy=f"Send {' or '.join(MODES)}.")
    infos = node.objects("pool_infos", "Send pool_name and nodes.", required=True)
    if len(infos) > 1:
        node.problems.invalid(
            node.name("pool_infos"), "names several pools", "A version runs in one pool: send one."
        )
        return None
    read = [_read_info(info, choice.pool) for info in infos]
    if mode is None or not read or read[0] is None or choice.pool is None:
        return None
    return Affinity(mode, choice.pool.ref.id, read[0])


def _read_info(info: Fields, pool: Pool | None) -> tuple[str, ...] | None:
    info.only(("pool_name", "nodes"), "Send pool_name and nodes.")
    before = len(info.problems.found)
    name = info.text("pool_name", required=True, remedy="Send the id of the version's pool.")
    if name is not None and pool is not None and name != pool.ref.id:
        info.problems.invalid(
            info.name("pool_name"),
            f"{name[:64]!r} is not the version's pool",
            f"Send {pool.ref.id}.",
        )
    nodes: list[str] = []
    for item in info.objects("nodes", "Send the node's name."):
        item.only(("name",), "Send the node's name.")
        node = item.text("name", required=True, remedy="Send the node's private address.")
        if node is None:
            continue
        _judge_node(item, node, nodes, pool)
        nodes.append(node)
    return tuple(nodes) if len(info.problems.found) == before else None


def _judge_node(item: Fields, node: str, earlier: list[str], pool: Pool | None) -> None:
    where = item.name("name")
    if node in earlier:
        item.problems.invalid(where, f"{node[:64]!r} is named twice", "Name each node once.")
    elif pool is not None and pool.nodes and node not in pool.nodes:
        listed = ", ".join(pool.nodes[:20])
        item.problems.invalid(
            where, f"{node[:64]!r} is no node of {pool.ref}", f"Its nodes are: {listed}."
        )
