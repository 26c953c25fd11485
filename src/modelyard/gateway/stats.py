"""Envoy's counters, read over its administration socket."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import httpx

from modelyard.gateway.config.resources import names

_LINE = re.compile(
    r"^cluster\.(?P<cluster>[^.]+/[^.]+)\.(?P<stat>upstream_rq_\w+): (?P<value>\d+)$"
)
_COUNTERS = "upstream_rq_(total|active|2xx|4xx|5xx|timeout|retry|pending_overflow)"
_LATENCY = re.compile(r"^cluster\.(?P<cluster>[^.]+/[^.]+)\.upstream_rq_time: (?P<quantiles>P.*)$")
_QUANTILE = re.compile(r"P(?P<percent>[\d.]+)\([^,]+,(?P<ms>[\d.]+)\)")


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


def parse(text: str) -> dict[str, ClusterStats]:
    """Envoy's plain ``/stats`` answer, by cluster."""
    found: dict[str, dict[str, int]] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match and match["stat"] in _FIELDS:
            found.setdefault(match["cluster"], {})[_FIELDS[match["stat"]]] = int(match["value"])
    return {cluster: ClusterStats(**values) for cluster, values in found.items()}


def parse_latencies(text: str) -> dict[str, dict[float, float]]:
    """Of the same answer: latency in ms by percent of the requests, by cluster."""
    found = {}
    for line in text.splitlines():
        if match := _LATENCY.match(line):
            found[match["cluster"]] = {
                float(one["percent"]): float(one["ms"])
                for one in _QUANTILE.finditer(match["quantiles"])
            }
    return found


class Admin:
    """Envoy's administration interface. Its calls raise ``httpx.HTTPError`` when it is away.

    Envoy looks through all its counters for every answer (0.2 s of its main thread, though not of
    its workers, with 2,000 clusters): ask now and then, not in a loop.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def _client(self) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(uds=str(self._socket), verify=False)
        return httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=5.0)

    async def get(self, path: str, **query: str) -> str:
        """The answer to a GET, as text."""
        async with self._client() as client:
            response = await client.get(path, params=query)
            return response.raise_for_status().text

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
        """Counters by cluster (``names.cluster_name``), of one service or of all."""
        which = f"{re.escape(service_id)}/" if service_id else "[^.]+/"
        text = await self.get("/stats", filter=rf"^cluster\.{which}[^.]+\.{_COUNTERS}$")
        return parse(text)

    async def shadow_latencies(self) -> dict[str, dict[float, float]]:
        """Latencies of all shadows since Envoy started, as ``parse_latencies`` gives them.

        Envoy sums them up once a minute.
        """
        which = rf"[^.]+/[^.]+@{names.SHADOW}[^.]*"
        return parse_latencies(
            await self.get("/stats", filter=rf"^cluster\.{which}\.upstream_rq_time$")
        )

    async def active_requests(self, clusters: Iterable[str]) -> int:
        """Requests under way to these clusters of one service or several."""
        wanted = set(clusters)
        pattern = "|".join(re.escape(name) for name in sorted(wanted))
        text = await self.get("/stats", filter=rf"^cluster\.({pattern})\.upstream_rq_active$")
        return sum(stats.active for name, stats in parse(text).items() if name in wanted)

    async def downstream_active(self) -> int:
        """Requests of clients under way on the public listener, open WebSockets not among them."""
        name = rf"^http\.{names.LISTENER}\.downstream_(rq|cx_upgrades)_active$"
        text = await self.get("/stats", filter=name)
        found = dict(line.rpartition(": ")[::2] for line in text.splitlines())
        every, upgraded = (
            int(found.get(f"http.{names.LISTENER}.downstream_{kind}_active", 0))
            for kind in ("rq", "cx_upgrades")
        )
        return every - upgraded
