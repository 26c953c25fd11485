"""Envoy's counters, read over its administration socket."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from modelyard.gateway.config.resources import names

_COUNTERS = "upstream_rq_(total|active|2xx|4xx|5xx|timeout|retry|pending_overflow)"


@dataclass(frozen=True, slots=True)
class ClusterStats:
    """Requests of one model version since Envoy started; ``active`` are unanswered now.

    ``overflows`` were not sent because too many were under way; they count as server errors, too.
    """

    total: int = 0
    active: int = 0
    ok: int = 0
    client_errors: int = 0
    server_errors: int = 0
    timeouts: int = 0
    retries: int = 0
    overflows: int = 0


_FIELDS = {
    "upstream_rq_total": "total",
    "upstream_rq_active": "active",
    "upstream_rq_2xx": "ok",
    "upstream_rq_4xx": "client_errors",
    "upstream_rq_5xx": "server_errors",
    "upstream_rq_timeout": "timeouts",
    "upstream_rq_retry": "retries",
    "upstream_rq_pending_overflow": "overflows",
}


def parse(document: bytes) -> dict[str, ClusterStats]:
    """Read Envoy's ``/stats?format=json``, by cluster."""
    found: dict[str, dict[str, int]] = {}
    for cluster, name, value in _counters(document):
        if name in _FIELDS:
            found.setdefault(cluster, {})[_FIELDS[name]] = value
    return {cluster: ClusterStats(**values) for cluster, values in found.items()}


def parse_latencies(document: bytes) -> dict[str, dict[float, float]]:
    """Read the histograms of the same answer: ms by percent of the requests, by cluster.

    Envoy sums them up once a minute; a cluster without requests is left out.
    """
    found: dict[str, dict[float, float]] = {}
    for item in _stats(document):
        histograms = item.get("histograms", {})
        percents = histograms.get("supported_quantiles", ())
        for histogram in histograms.get("computed_quantiles", ()):
            cluster, _ = _split(histogram["name"])
            values = [value["cumulative"] for value in histogram["values"]]
            known = {
                float(percent): float(value)
                for percent, value in zip(percents, values, strict=True)
                if value is not None
            }
            if known:
                found[cluster] = known
    return found


def _counters(document: bytes) -> Iterable[tuple[str, str, int]]:
    """Cluster, short name and value of every counter and gauge."""
    return ((*_split(item["name"]), item["value"]) for item in _stats(document) if "name" in item)


def _stats(document: bytes) -> list[Mapping[str, Any]]:
    stats: list[Mapping[str, Any]] = orjson.loads(document)["stats"]
    return stats


def _split(name: str) -> tuple[str, str]:
    """Cluster and short name: neither a service's nor a model's id has a dot."""
    cluster, _, short = name.removeprefix("cluster.").rpartition(".")
    return cluster, short


class Admin:
    """Calls Envoy's administration interface. Raises ``httpx.HTTPError`` when it does not answer.

    Envoy looks through all its counters for every answer (0.2 s of its main thread, though not of
    its workers, with 2,000 clusters): ask now and then, not in a loop.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def _client(self) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(uds=str(self._socket), verify=False)
        return httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=5.0)

    async def get(self, path: str, **query: str) -> str:
        """Return the answer to a GET, as text."""
        return (await self._read(path, query)).decode()

    async def stats(self, pattern: str) -> bytes:
        """Return the statistics whose whole names match, as Envoy's JSON document."""
        return await self._read("/stats", {"filter": f"^{pattern}$", "format": "json"})

    async def _read(self, path: str, query: Mapping[str, str]) -> bytes:
        async with self._client() as client:
            response = await client.get(path, params=query)
            return response.raise_for_status().content

    async def post(self, path: str) -> None:
        async with self._client() as client:
            (await client.post(path)).raise_for_status()

    async def ready(self) -> bool:
        """Whether Envoy has had its whole first configuration."""
        try:
            return (await self.get("/ready")).strip() == "LIVE"
        except httpx.HTTPError:
            return False

    async def clusters(self, service_id: str | None = None) -> dict[str, ClusterStats]:
        """Return the counters by cluster (``names.cluster_name``), of one service or of all."""
        which = f"{re.escape(service_id)}/" if service_id else "[^.]+/"
        return parse(await self.stats(rf"cluster\.{which}[^.]+\.{_COUNTERS}"))

    async def shadow_latencies(self) -> dict[str, dict[float, float]]:
        """Return latencies of all shadows since Envoy started, as ``parse_latencies`` does."""
        which = rf"[^.]+/[^.]+@{names.SHADOW}[^.]*"
        return parse_latencies(await self.stats(rf"cluster\.{which}\.upstream_rq_time"))

    async def downstream_active(self) -> int:
        """Count requests of clients under way on the public listener, without open WebSockets."""
        listener = rf"http\.{names.LISTENER}"
        document = await self.stats(rf"{listener}\.downstream_(rq|cx_upgrades)_active")
        found = {name: value for _, name, value in _counters(document)}
        return found.get("downstream_rq_active", 0) - found.get("downstream_cx_upgrades_active", 0)
